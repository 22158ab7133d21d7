"""Programs in processes of their own, and a time limit."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.command_line import Copy, can_copy

from vaecli import __main__ as cli

LONG = ("dataset=digits", "dataset.limit=200", "architecture.hidden=[16]", "latent_dim=2", "epochs=100000",
        "images.every_epochs=100000", "validate.every_epochs=100", "checkpoint.every_epochs=1000")  # fmt: skip


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """`vae train ...` in a process of its own."""
    command = [sys.executable, "-u", "-m", "vaecli", "train", *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_copy(*words: str, cwd: Path) -> subprocess.Popen[str] | Copy:
    """The same in a copy of this process, seconds earlier, where it can be copied."""
    return Copy("train", *words, cwd=cwd) if can_copy("train") else start(*words, cwd=cwd)


def wait_for(what: str, process: subprocess.Popen[str] | Copy, path: Path) -> None:
    """Until a file below `path` matches."""
    give_up = time.monotonic() + 120
    while not list(path.glob(what)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.02)


def in_child(work: Callable[[], Any]) -> int:
    """The wait status of a child process that does some work."""
    importlib.import_module("torch._dynamo")  # torch's optimizers want it: here once, not in every child
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with open(os.devnull, "w") as nowhere:
                sys.stdout = sys.stderr = nowhere
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
                status = int(work() or 0)
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


SECONDS = 10  # for one file; the usual one takes hundredths


class Hang(BaseException):
    """Not an Exception, so that nothing takes it for damage."""


@contextmanager
def in_time() -> Iterator[None]:
    """Hang where it takes longer than one file may."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """`vae ...` in this process; SystemExit where it is refused."""
    monkeypatch.setattr(sys, "argv", ["vae", *words])
    cli.main()
