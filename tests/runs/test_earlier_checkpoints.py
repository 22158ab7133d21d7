"""A run of an earlier version, whose checkpoints were torch's archives: one line says who wrote them and what to do."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.processes import run_command
from support.runs import SMALL, lines, train
from support.thinned import every

import vaecli
from vaecli.utils.errors import UserError

COMMANDS = ("sample", "reconstruct", "evaluate", "encode", "manifold", "traverse", "interpolate", "fit", "export")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as version 0.0.9 left it, but for what is in its checkpoints."""
    run = tmp_path_factory.mktemp("earlier") / "old"
    assert train(*SMALL, "epochs=2", "ema.decay=0.9", f"output={run}") == 0
    for path in (run / "checkpoints").iterdir():
        torch.save({"format": 1}, path.with_suffix(".pt"))
        path.unlink()
    change_version(run, {"vaecli": "0.0.9"})
    return run


@pytest.fixture
def earlier(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "outputs/old")
    return Path("outputs/old")


def change_version(run: Path, versions: object) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"versions": versions}))


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a refused command prints."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as end:
        run_command(monkeypatch, *words)
    assert end.value.code == 1
    assert sorted(Path().rglob("*")) == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("words", every(2, zip([*((name, "run=outputs/old") for name in COMMANDS), ("sample",),
    ("sample", "run=outputs/old", "checkpoint=last"), ("sample", "checkpoint=ema"), ("reconstruct", "run=outputs"),
    ("train", "resume=outputs/old"), ("train", "resume=latest", "epochs=9")])), ids=" ".join)  # fmt: skip
def test_every_command_says_who_wrote_it(
    words: tuple[str, ...], earlier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, capsys, *words) == (
        "error: outputs/old/checkpoints/best.pt was written by vaecli 0.0.9 and cannot be read; "
        "to train it anew: vae-train repeat=outputs/old"
    )


@pytest.mark.parametrize(
    "versions", [{}, None, [], {"vaecli": 5}, {"vaecli": "1\x1b[31m"}, {"vaecli": "x" * 1000},
                 {"vaecli": vaecli.__version__}], ids=lambda versions: str(versions)[:20],
)  # fmt: skip
def test_a_version_that_is_not_known(versions: object, earlier: Path) -> None:
    change_version(earlier, versions)
    with pytest.raises(UserError, match=r"best\.pt was written by an earlier version and cannot"):
        vaecli.load(earlier)


def test_a_run_without_summary(earlier: Path) -> None:
    (earlier / "summary.json").unlink()
    with pytest.raises(UserError, match=r"best\.pt was written by an earlier version and cannot"):
        vaecli.load(earlier)


def test_the_command_trains_it_anew(earlier: Path) -> None:
    with pytest.raises(UserError) as refused:
        train(f"resume={earlier}")
    _, *words = shlex.split(str(refused.value).partition("to train it anew: ")[2])
    assert train(*words, "output=again") == 0
    assert lines(Path("again")) == lines(earlier)
    assert vaecli.load("again").latent_dim == 3


@pytest.mark.parametrize("find", [lambda: vaecli.load("latest"), lambda: train("resume=latest", "epochs=9")])
def test_the_newest_run_is_the_latest_whoever_wrote_it(find: Callable[[], object], earlier: Path) -> None:
    assert train(*SMALL, "epochs=1", "output=outputs/new") == 0
    for path in earlier.rglob("*"):
        os.utime(path, (1e9, 1e9))
    find()
    for path in Path("outputs/new").rglob("*"):
        os.utime(path, (1e8, 1e8))
    with pytest.raises(UserError, match=r"outputs/old/checkpoints/best\.pt was written by vaecli 0\.0\.9"):
        find()


def test_the_table_still_lists_it(earlier: Path) -> None:
    from vaecli.runs.table import table

    assert [row["status"] for row in table("outputs")] == ["completed"]
