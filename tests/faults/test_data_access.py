"""A run that its user has not trained on this machine reads no file but those that the command line names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.checkpoints import make, write_run
from support.command_line import called
from support.runs import train

from vaecli.models.load import load_run
from vaecli.runs import access as data_access
from vaecli.runs.access import identify, inside, is_own, state_file
from vaecli.utils.errors import UserError

READING = ["evaluate k=2", "encode", "reconstruct n=2", "fit index=1 restarts=1", "interpolate steps=3",
           "traverse steps=3 index=1"]  # fmt: skip
ONLY_SHOWING = ["sample n=4", "manifold n=3", "sample n=4 format=csv", "evaluate k=2 input=mine/t.csv"]
pytestmark = pytest.mark.usefixtures("without_hydra")
WORDS = ("dataset=arrays", "decoder=gaussian", "latent_dim=2", "architecture.hidden=[8]", "device=cpu", "epochs=1",
         "images.every_epochs=1")  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("mine").mkdir()
    rows = np.random.default_rng(0).normal(size=(40, 3)).round(3)
    Path("mine/t.csv").write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return tmp_path


@pytest.fixture
def theirs(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that another user has trained on a file of that path."""
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(here / "other"))
        train(*WORDS, "dataset.path=mine/t.csv", "output=theirs")
    return Path("theirs")


def test_a_run_of_ones_own_reads_its_data(here: Path) -> None:
    """Copied, too; and its list says neither what the run is called nor what it read."""
    train(*WORDS, "dataset.path=mine/t.csv", "output=run")
    shutil.copytree("run", "copy")
    for words in (("evaluate", "run=copy", "k=2"), ("train", "repeat=copy", "output=again"),
                  ("train", "resume=copy", "epochs=2"), ("evaluate", "run=again", "k=2")):  # fmt: skip
        done = called(*words, cwd=here)
        assert done.returncode == 0, done.stderr
    text, run_id = state_file().read_text(), json.loads(Path("run/summary.json").read_text())["id"]
    assert len(run_id) == 32
    assert run_id not in text
    assert "t.csv" not in text
    assert len(text.split()) == 2, "the copy went on under its own id"
    assert state_file().stat().st_mode & 0o077 == 0


def in_a_process(line: str, place: Path) -> int:
    """The exit code of a line in bash, where vae is the command line."""
    shell = f'vae() {{ "{sys.executable}" -m vaecli "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", shell], cwd=place, capture_output=True).returncode


def in_this_process(line: str, place: Path) -> int:
    """The exit code of what bash makes of a line, run here."""
    shell = f"vae() {{ printf '%s\\0' \"$@\"; }}; {line}"
    words = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
    return called(*words.split("\0")[:-1], cwd=place).returncode


@pytest.mark.parametrize("run_line", [in_this_process, pytest.param(in_a_process, marks=pytest.mark.faults)])
def test_a_strangers_run_reads_what_the_line_names(
    run_line: Callable[[str, Path], int], theirs: Path, here: Path
) -> None:
    """And the refusal prints that line, which works as it stands."""
    strange = Path("it's $HOME's")
    theirs.rename(strange)
    for words in READING:
        command, *rest = words.split()
        refused = called(command, *rest, f'run="{strange}"', cwd=here)
        assert refused.returncode == 1, words
        assert f"would read {here / 'mine/t.csv'} (dataset.path)" in refused.stderr
        assert len(refused.stderr.splitlines()) == 2
    line = refused.stderr.splitlines()[1].removeprefix("To allow it: ")
    assert line.startswith("vae traverse steps=3 ")
    assert run_line(line, here) == 0


@pytest.mark.faults
@pytest.mark.parametrize("words", READING)
def test_every_command_takes_the_datas_place(words: str, theirs: Path, here: Path) -> None:
    command, *rest = words.split()
    done = called(command, *rest, "run=theirs", "dataset.path=mine/t.csv", cwd=here)
    assert done.returncode == 0, done.stderr


def test_without_a_split_nothing_is_read(theirs: Path, here: Path) -> None:
    """Neither for the names of columns, nor for the range of values; its file may be a pipe."""
    shutil.copy("mine/t.csv", "kept.csv")
    for words in ONLY_SHOWING:
        words = words.replace("mine/t.csv", "kept.csv")
        Path("mine/t.csv").unlink()
        os.mkfifo("mine/t.csv")  # reading it would wait forever
        command, *rest = words.split()
        done = called(command, *rest, "run=theirs", cwd=here)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", ["resume=theirs", "repeat=theirs", "repeat=theirs/config.yaml"])
def test_training_asks_too(word: str, theirs: Path, here: Path) -> None:
    words = (word, "epochs=2", *(["output=new"] if "repeat" in word else []))
    refused = called("train", *words, cwd=here)
    assert refused.returncode == 1
    assert f"To allow it: vae train {' '.join(words)} dataset.path={here / 'mine/t.csv'}\n" in refused.stderr
    assert not Path("new").exists()
    shutil.move("mine/t.csv", "elsewhere.csv")
    done = called("train", *words, "dataset.path=elsewhere.csv", cwd=here)
    assert done.returncode == 0, done.stderr
    run = "new" if "repeat" in word else "theirs"
    assert called("evaluate", f"run={run}", "k=2", "checkpoint=last", cwd=here).returncode == 0, "now it is one's own"


def test_an_id_stands_for_its_paths_alone(here: Path) -> None:
    """A run that comes back from a stranger with other paths in it is a stranger's."""
    run_id, problem = identify(None, {"path": "/a"})
    assert problem is None
    assert is_own(run_id, {"path": "/a"})
    assert not is_own(run_id, {"path": "/a", "test_path": "/b"})
    assert not is_own(run_id, {"path": "/b"})
    for other in (None, 5, [run_id], "", "0" * 32):
        assert not is_own(other, {"path": "/a"})
    assert is_own(None, {"size": 10}), "made on the spot"
    again, _ = identify(run_id, {"path": "/a"})
    assert again == run_id
    other, _ = identify(run_id, {"path": "/b"})
    assert other != run_id


def test_a_state_folder_that_cannot_be_written(here: Path) -> None:
    (here / "state").write_text("a file")
    done = called("train", *WORDS, "dataset.path=mine/t.csv", "output=run", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "warning: cannot write" in done.stdout
    assert f"later commands need dataset.path={here / 'mine/t.csv'}" in " ".join(done.stdout.split())
    assert called("evaluate", "run=run", "k=2", cwd=here).returncode == 1


def test_inside_follows_links(here: Path) -> None:
    run = Path("run/data")
    run.mkdir(parents=True)
    (run / "x.npy").touch()
    assert inside(Path("run"), str(here / "run/data"))
    assert inside(Path("run"), "run/data/x.npy")
    for path in ("mine", "run/../mine", "/", "~nobody-of-this-name/x", "~"):
        assert not inside(Path("run"), path)
    (run / "link.png").symlink_to(here / "mine/t.csv")
    assert not inside(Path("run"), "run/data")
    (run / "link.png").unlink()
    (run / "folder").symlink_to(here / "mine")
    assert not inside(Path("run"), "run/data")
    (run / "folder").unlink()
    (run / "loop").symlink_to("loop")
    assert not inside(Path("run"), "run/data")


def test_data_in_a_strangers_own_folder_are_read(here: Path) -> None:
    pictures = here / "run/data"
    pictures.mkdir(parents=True)
    for i in range(10):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(pictures / f"{i}.png")
    state = make()
    state["config"]["dataset"] = {"_target_": "vaecli.datasets.images.Images", "name": "images", "colour": "grey",
                                  "path": str(pictures)}  # fmt: skip
    write_run(here / "run", state)
    assert len(load_run("run", device="cpu").dataset.load().test) == 1
    (pictures / "5.png").unlink()
    (pictures / "5.png").symlink_to(here / "mine/5.png")
    run = load_run("run", device="cpu")
    assert run.forbidden_paths == {"path": str(pictures)}
    with pytest.raises(UserError, match="no such folder"):
        run.dataset.load()


def test_all_that_is_named_is_asked_for(here: Path) -> None:
    state = make()
    state["config"]["dataset"] = {"_target_": "vaecli.datasets.arrays.Arrays", "name": "arrays", "path": "/a/x.npy",
                                  "val_path": "/b/y.npy", "test_path": None}  # fmt: skip
    write_run(here / "run", state)
    assert load_run("run", device="cpu", data={"path": "/a/x.npy"}).forbidden_paths == {"val_path": "/b/y.npy"}
    assert load_run("run", device="cpu", data={"path": "/c", "val_path": "/d"}).forbidden_paths == {}
    with pytest.raises(UserError, match=r"unknown key dataset\.root"):
        load_run("run", device="cpu", data={"root": "/c"})


def test_ids_cannot_be_guessed() -> None:
    ids = {identify(None, {})[0] for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(bytes.fromhex(one)) == 16 for one in ids)


@pytest.mark.parametrize(("chosen", "place"), [("/s", "/s/vaecli/runs"), ("s", "~"), ("", "~")])
def test_where_the_list_is(chosen: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", chosen)
    monkeypatch.setattr(data_access.sys, "platform", "linux")
    expected = Path("~/.local/state/vaecli/runs").expanduser() if place == "~" else Path(place)
    assert state_file() == expected
