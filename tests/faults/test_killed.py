"""SIGKILL at random moments, inside writes too: nothing torn is read, and the run goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from PIL import Image
from support.processes import in_child
from support.runs import SMALL, assert_same, train

from vaecli.runs import checkpoint
from vaecli.utils import files

OPTIONS = ("dataset.binarize=dynamic", "scheduler=cosine", "ema.decay=0.9", "checkpoint.every_seconds=0.05", *SMALL)
MOMENTS = ("clock", "half of a file", "before a file is put in place", "after it", "half of a line")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted(call: Callable[..., Any], at: int, instead: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, but `instead` the `at`-th time."""
    count = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return (instead if count == at else call)(*args, **kwargs)

    return wrapped


def set_trap(moment: str, chance: random.Random, seconds: float) -> None:
    """Arrange for this process to be killed at some moment of a run that would take so long."""
    nth = chance.randint(1, 20)
    if moment == "clock":
        timer = threading.Timer(chance.uniform(0, seconds), kill)
        timer.daemon = True
        timer.start()
    elif moment == "half of a file":
        whole = files.replace_file

        def half(path: Path, write: Callable[[IO[bytes]], object], size: int | None = None) -> None:
            def write_half(file: IO[bytes]) -> None:
                write(file)
                file.truncate(file.tell() // 2)
                file.flush()
                kill()

            whole(path, write_half, size)

        files.replace_file = counted(whole, nth, half)
    elif moment == "half of a line":

        def cut(self: files.AppendedFile, line: bytes) -> None:
            self.file.write(line[: len(line) // 2])
            self.file.flush()
            kill()

        files.AppendedFile.write = counted(files.AppendedFile.write, nth, cut)  # type: ignore[method-assign]
    else:
        put = os.replace

        def replace(*args: Any) -> None:
            if moment == "after it":
                put(*args)
            kill()

        os.replace = counted(put, nth, replace)


def doomed(words: tuple[str, ...], moment: str, seed: int, seconds: float) -> bool:
    """Train in a child that is to be killed; whether it was."""

    def work() -> int:
        set_trap(moment, random.Random(seed), seconds)
        return train(*words)

    status = in_child(work)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def command_for(run: Path) -> tuple[str, ...]:
    """What goes on with a run that was killed: it may have been killed before it wrote anything."""
    return ("resume=run",) if (run / "config.yaml").exists() else (*OPTIONS, "output=run")


def assert_nothing_torn(run: Path) -> None:
    """Every file under its own name is whole; metrics.jsonl has neither gaps nor repeats, its last line may be half."""
    for path in run.rglob("*.safetensors"):
        checkpoint.load(path)
    for path in run.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
    for name, read in (("config.yaml", yaml.safe_load), ("summary.json", json.loads)):
        if (run / name).exists():
            assert isinstance(read((run / name).read_text()), dict)
    if (run / "metrics.jsonl").exists():
        *whole, _ = (run / "metrics.jsonl").read_text().split("\n")
        found = [(line["epoch"], line["split"]) for line in map(json.loads, whole)]
        every = [(epoch, split) for epoch in range(1, 5) for split in ("train", "val", "val_ema")]
        assert found == every[: len(found)]


def trials(kills: int, first: int, reference: Path, seconds: float) -> int:
    """How many runs it takes for so many kills; each is killed one to three times and then left to end.

    A moment that a run does not reach, such as its twentieth file, kills nothing.
    """
    killed, trial = 0, first
    while killed < kills:
        run, chance = Path("run"), random.Random(trial)
        for attempt in range(chance.randint(1, 3)):
            moment = MOMENTS[(trial + attempt) % len(MOMENTS)]
            killed += doomed(command_for(run), moment, 1000 * trial + attempt, seconds)
            assert_nothing_torn(run)
        assert in_child(lambda: train(*command_for(Path("run")))) == 0
        assert_same(reference, run)
        os.rename(run, f"done_{trial}")
        trial += 1
        assert trial - first < 2 * kills
    return trial - first


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, float]:
    """A run that is left alone, and the seconds it took."""
    monkeypatch.chdir(tmp_path)
    started = time.perf_counter()
    assert in_child(lambda: train(*OPTIONS, "output=whole")) == 0
    return Path("whole"), time.perf_counter() - started


def test_killed_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert in_child(lambda: train(*OPTIONS, "output=plain")) == 0
    assert trials(3, 0, Path("plain"), 0.5) >= 1


@pytest.mark.faults
def test_killed_at_a_hundred_random_moments(reference: tuple[Path, float], measured: Callable[[str], None]) -> None:
    runs = trials(100, 100, *reference)
    measured(f"{runs} runs were killed 100 times or more and ended as the one that was not")
