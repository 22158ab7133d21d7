"""A full disk, a limit on the size of files, a folder that cannot be written."""

from __future__ import annotations

import builtins
import json
import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_line import forked
from support.runs import SMALL, assert_same, lines, train
from support.small_runs import draw_pictures

from vaecli.runs import checkpoint
from vaecli.runs.logger import RunLogger
from vaecli.utils.errors import UserError
from vaecli.utils.files import AppendedFile, replace_bytes

pytestmark = pytest.mark.usefixtures("pictures")

OPTIONS = (*SMALL, "dataset.binarize=dynamic", "scheduler=constant")


def limited(*words: str, cwd: Path, largest: int) -> subprocess.CompletedProcess[str]:
    """The command line, no file of which may grow beyond so many bytes."""
    limits = (largest, resource.RLIM_INFINITY)
    return forked(*words, cwd=cwd, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))


def assert_refused(done: subprocess.CompletedProcess[str], name: str) -> None:
    """One error of at most two lines, which names the file."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: cannot write "), done.stderr
    assert re.search(name, done.stderr), done.stderr
    assert re.search(r"\(.*needed, .* free\)", done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that had room; its files say how much the others need."""
    folder = tmp_path_factory.mktemp("room")
    with pytest.MonkeyPatch.context() as patch:
        draw_pictures(patch)
        assert forked("train", *OPTIONS, "output=whole", cwd=folder).returncode == 0
    return folder / "whole"


@pytest.mark.faults
def test_no_room_for_a_checkpoint(whole: Path, tmp_path: Path) -> None:
    """Nor for the first one; the run goes on once there is room."""
    largest = (whole / "checkpoints/last.safetensors").stat().st_size - 1000
    started = limited("train", *OPTIONS, "output=run", cwd=tmp_path, largest=largest)
    if "last.safetensors" in started.stderr:
        assert_refused(started, r"last\.safetensors: File too large \(.* MB needed")
    else:  # the first one is smaller: no optimizer state yet
        assert_refused(started, r"(best|last)\.safetensors: File too large")
        assert checkpoint.load(tmp_path / "run/checkpoints/last.safetensors")["epoch"] == 0
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "failed"
    assert forked("train", "resume=run", cwd=tmp_path).returncode == 0
    assert_same(whole, tmp_path / "run")


@pytest.mark.faults
def test_no_room_for_events_and_pictures(whole: Path, tmp_path: Path) -> None:
    largest = max(path.stat().st_size for path in (whole / "images").glob("data.png")) - 100
    done = limited("train", *OPTIONS, "output=run", cwd=tmp_path, largest=largest)
    assert_refused(done, r"data\.png|events\.out")
    assert forked("train", "resume=run", cwd=tmp_path).returncode == 0
    assert_same(whole, tmp_path / "run")


@pytest.mark.faults
def test_no_room_for_the_event_file_later(whole: Path, tmp_path: Path) -> None:
    """Every other file is smaller than it."""
    sizes = sorted(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    done = limited("train", *OPTIONS, "output=run", cwd=tmp_path, largest=(sizes[-1] + sizes[-2]) // 2)
    assert_refused(done, r"events\.out")
    assert forked("train", "resume=run", cwd=tmp_path).returncode == 0
    assert_same(whole, tmp_path / "run")


@pytest.mark.faults
def test_no_room_for_a_line(whole: Path, tmp_path: Path) -> None:
    """/dev/full takes nothing."""
    assert forked("train", *OPTIONS, "epochs=2", "output=run", cwd=tmp_path).returncode == 0

    def full() -> None:
        opened = builtins.open
        builtins.open = lambda path, *rest, **more: opened(
            "/dev/full" if str(path).endswith("train.log") else path, *rest, **more
        )

    done = forked("train", "resume=run", "epochs=4", cwd=tmp_path, before=full)
    assert_refused(done, r"train.log: No space left on device")
    assert forked("train", "resume=run", "epochs=4", cwd=tmp_path).returncode == 0
    assert lines(tmp_path / "run") == lines(whole)


@pytest.mark.faults
def test_no_room_for_a_line_of_figures(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = RunLogger.metrics

    def full_in_epoch_3(self: RunLogger, split: str, epoch: int, *rest: Any) -> None:
        if epoch == 3:
            self.lines = AppendedFile(Path("/dev/full"))
        metrics(self, split, epoch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(RunLogger, "metrics", full_in_epoch_3)
        with pytest.raises(UserError, match=r"cannot write /dev/full: No space left on device \(.* bytes needed"):
            train(*OPTIONS, "output=run")
    assert json.loads(Path("run/summary.json").read_text())["status"] == "failed"
    assert train("resume=run") == 0
    assert_same(whole, Path("run"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no permission to mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.faults
def test_a_full_disk(whole: Path, small_disk: Path, tmp_path: Path) -> None:
    """Filled so far that a run begins and cannot end; then emptied."""
    filler = small_disk / "filler"
    used = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    room = 600 * 1024 - used * 2 // 3
    filler.write_bytes(bytes(max(room, 0)))
    done = forked("train", *OPTIONS, f"output={small_disk / 'run'}", cwd=tmp_path)
    assert_refused(done, "No space left on device")
    for path in (small_disk / "run").rglob("*.safetensors"):
        checkpoint.load(path)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    done = forked("train", f"resume={small_disk / 'run'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(whole, small_disk / "run")


def test_what_stood_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_bytes(path, b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*file: File too large \(1,000 bytes needed, .* free\)"):
            replace_bytes(path, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "place", [pytest.param(p, marks=pytest.mark.faults) for p in ("/proc/run", "/sys/run")] + ["/dev/null/run"]
)
def test_an_unwritable_folder_is_found_before_training(place: str, tmp_path: Path) -> None:
    done = forked("train", *OPTIONS, f"output={place}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "epoch" not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = forked("train", *OPTIONS, "output=run", cwd=tmp_path)
    assert done.returncode == 1
    assert "no permission to write" in done.stderr
