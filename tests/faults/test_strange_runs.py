"""Runs from elsewhere with junk in their files: going on with one, or repeating it, ends in a message or trains."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.configurations import composed
from support.mutations import contents, mutated, saved
from support.processes import in_time
from support.runs import SMALL, at_step, train

from vaecli.runs import checkpoint
from vaecli.training.trainer import Trainer
from vaecli.utils.errors import UserError

KINDS = ("last.safetensors", "config.yaml", "summary.json", "metrics.jsonl", "repeat")


class Enough(BaseException):
    """It trains and trains."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("original")
    assert train(*SMALL, "ema.decay=0.9", "epochs=2", f"output={folder / 'whole'}") == 0
    return folder / "whole"


@pytest.fixture
def whole(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and nothing to be had from the network."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(original, "whole")
    monkeypatch.setenv("VAE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("urllib.request._opener", None)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return Path("whole")


def spoil(run: Path, kind: str, rng: random.Random) -> bool:
    """Put junk into one of a run's files; whether that could be done."""
    path = run / (
        "config.yaml" if kind == "repeat" else "checkpoints/last.safetensors" if kind == "last.safetensors" else kind
    )
    if kind == "last.safetensors":
        try:
            path.write_bytes(saved(contents(checkpoint.load(path), rng)))
        except ValueError:  # two tensors of one name, or a name that is not UTF-8
            return False
        return True
    if kind == "config.yaml":
        shutil.rmtree(run / "checkpoints")  # what is in last.safetensors would come first
    if kind == "metrics.jsonl":
        lines = [mutated(json.loads(line), rng) for line in path.read_text().splitlines()]
        text: str | None = "\n".join(line.replace("\n", "") for line in lines if line is not None)
    else:
        text = mutated(yaml.safe_load(path.read_text()), rng)
    if text is not None:
        path.write_text(text)
    return text is not None


def attempt(kind: str, seed: int) -> str:
    """What becomes of a run with junk in one file: a message, or training."""
    shutil.rmtree("run", ignore_errors=True)
    shutil.rmtree("outputs", ignore_errors=True)
    shutil.copytree("whole", "run")
    if not spoil(Path("run"), kind, random.Random(seed)):
        return "not written"
    message = ""
    try:
        with in_time():
            train("repeat=run/config.yaml" if kind == "repeat" else "resume=run", "epochs=3")
    except UserError as error:
        message = str(error)
    except Enough:
        pass
    assert len(message.splitlines()) <= 2, message
    assert message.replace("\n", "").isprintable()
    assert {path.name for path in Path().iterdir()} <= {"whole", "run", "outputs"}
    return "refused in a message" if message else "trained"


def trials(n: int) -> Counter[str]:
    with at_step(None, few_steps):
        return Counter(attempt(KINDS[seed % len(KINDS)], seed) for seed in range(n))


def few_steps(trainer: Trainer) -> None:
    if trainer.step > 100:
        raise Enough


def test_a_sample_of_strange_runs(whole: Path) -> None:
    counts = trials(15)
    assert counts["trained"] > 2
    assert counts["refused in a message"] > 2


@pytest.mark.faults
def test_strange_runs(whole: Path, measured: Callable[[str], None]) -> None:
    counts = trials(400)
    measured("400 runs with junk in one file: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", "[" * 200_000),
        ("summary.json", '{"seconds": 1' + "0" * 400 + "}"),
        ("metrics.jsonl", '{"epoch": 1, "split": "val", "elbo": 1' + "0" * 400 + "}\n"),
        ("config.yaml", "epochs: abc\ndataset: {}\n"),
        ("config.yaml", "ema: 5\ndataset: {}\n"),
    ],
)
def test_strange_files(name: str, content: str, whole: Path) -> None:
    if name == "config.yaml":
        shutil.rmtree(whole / "checkpoints")
        (whole / "summary.json").unlink()
    (whole / name).write_text(content)
    words = ["repeat=whole/config.yaml", "ema.decay=0.5"] if "ema" in content else ["resume=whole"]
    try:
        train(*words, "epochs=3")
    except UserError as error:
        assert len(str(error).splitlines()) <= 2  # noqa: PT017  (a message or none)


def changed(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """last.safetensors with something else in it, under a right hash."""
    path = run / "checkpoints/last.safetensors"
    state = checkpoint.load(path)
    change(state)
    path.write_bytes(saved(state))


def small_moments(state: dict[str, Any]) -> None:
    for values in state["optimizer"]["state"].values():
        values["exp_avg"] = torch.zeros(1)


def no_moments(state: dict[str, Any]) -> None:
    for values in state["optimizer"]["state"].values():
        del values["exp_avg"], values["exp_avg_sq"]


@pytest.mark.parametrize("change", [small_moments, no_moments])
def test_moments_that_do_not_fit_are_refused(change: Callable[[dict[str, Any]], None], whole: Path) -> None:
    """torch's fused steps would read beyond them."""
    changed(whole, change)
    with pytest.raises(UserError, match=r"does not fit its own configuration: .*the optimizer's"):
        train("resume=whole", "epochs=3", "optimizer.lr=0.002")


def test_a_period_that_is_zero_is_refused(whole: Path) -> None:
    assert train(*SMALL, "scheduler=cosine", "output=cosine", stop_at=3) == 130
    changed(Path("cosine"), lambda state: state["scheduler"].update(T_max=0))
    with pytest.raises(UserError, match="T_max is 0"):
        train("resume=cosine")


@pytest.mark.parametrize("name", ["summary.json", "train.log", "events.out.tfevents.1.a.1.0"])
def test_a_pipe_is_refused(name: str, whole: Path) -> None:
    (whole / name).unlink(missing_ok=True)
    os.mkfifo(whole / name)
    with in_time(), pytest.raises(UserError, match="neither a file nor a folder"):
        train("resume=whole", "epochs=3")


def test_no_download_goes_where_a_stranger_says(whole: Path) -> None:
    text = (whole / "config.yaml").read_text()
    config = yaml.safe_load(text)
    mnist = composed("dataset=mnist")["dataset"]
    config["dataset"] = {**mnist, "root": str(Path("elsewhere").absolute())}
    (whole / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError):
        train("repeat=whole")
    assert not Path("elsewhere").exists()


def test_git_runs_nothing_that_a_folder_names(whole: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    for key in ("core.fsmonitor", "filter.x.clean"):
        subprocess.run(["git", "config", key, "touch harm; false"], check=True)
    Path(".gitattributes").write_text("* filter=x\n")
    assert train("resume=whole", "epochs=3") == 0
    assert not Path("harm").exists()
