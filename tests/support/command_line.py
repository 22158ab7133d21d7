"""`vae ...` as a user types it: in a process of its own, or in a copy of this one."""

from __future__ import annotations

import functools
import importlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.plugins import Plugins
from PIL import Image
from support.configurations import without_hydra

from vaecli import __main__ as cli

WARM = (  # what commands import while they run, a second in all: here once, not in every copy
    "sklearn.datasets", "torch._dynamo", "torch.utils.tensorboard", "vaecli.config.compose", "vaecli.commands.train",
    "vaecli.optimizers", "vaecli.plots.curves", "vaecli.plots.images", "vaecli.plots.latents", "vaecli.plots.training",
)  # fmt: skip


Vae = Callable[..., subprocess.CompletedProcess[str]]


def vae(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command line in a process of its own, which takes seconds to import torch."""
    command = [sys.executable, "-m", "vaecli", *args]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=240)


def called(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in this process: for what it prints and writes, not for what becomes of its process.

    Hydra is asked only where `without_hydra` leaves the line to it.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    terminated = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), chdir(cwd), as_alone():
        patch.setattr(sys, "argv", ["vae", *args])
        patch.setattr("vaecli.config.compose.run", without_hydra)
        code = exit_code()
    signal.signal(signal.SIGTERM, terminated)
    texts = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(args, code, *texts)


@contextmanager
def as_alone() -> Iterator[None]:
    """Warnings go where those of a program go, and not to pytest."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = lambda text, kind, file, line, *_: print(
            warnings.formatwarning(text, kind, file, line), file=sys.stderr
        )
        yield


def forked(*args: str, cwd: Path, before: Callable[[], Any] | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a copy of this process, which has all modules already: the same code, seconds faster.

    before: called in the copy first
    """
    if before is None and not can_copy(args[0]):
        return vae(*args, cwd=cwd)
    copy = Copy(*args, cwd=cwd, before=before)
    out, err = copy.communicate()
    assert copy.returncode is not None
    return subprocess.CompletedProcess(args, copy.returncode, out, err)


def can_copy(command: str) -> bool:
    """Whether a copy of this process can run the command: it cannot differentiate once torch has started threads."""
    if command not in ("train", "fit", "fit_prior"):
        return True
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            torch.ones((), requires_grad=True).backward()  # type: ignore[no-untyped-call]
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def trained(folder: Path, *args: str) -> Path:
    """A run's folder, made by `vae train`."""
    done = called("train", *args, f"output={folder / 'run'}", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


class Copy:
    """A command line that runs in a copy of this process, to be asked what subprocess.Popen is asked."""

    def __init__(self, *args: str, cwd: Path, before: Callable[[], Any] | None = None) -> None:
        warm_up()
        if args[0] in cli.commands():
            importlib.import_module(f"vaecli.commands.{args[0]}")
        self.files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = _command_line(args, cwd, before, *(file.fileno() for file in self.files))
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Waits until it has ended: what it printed."""
        give_up = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < give_up
            time.sleep(0.002)
        texts = []
        for file in self.files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return texts[0], texts[1]

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


# for a test of what is printed, also with the noise that imports make: all of it in its own process under `slow`
in_both_ways = pytest.mark.parametrize(
    "vae", [pytest.param(forked, id="copy"), pytest.param(vae, id="process", marks=pytest.mark.slow)]
)


@functools.cache
def warm_up() -> None:
    for module in WARM:
        importlib.import_module(module)
    Image.preinit()
    Plugins.instance()  # Hydra's, which it imports when it first composes


def _command_line(args: tuple[str, ...], cwd: Path, before: Callable[[], Any] | None, out: int, err: int) -> int:
    """The exit code of the command line, its output sent to these files."""
    signal.alarm(240)
    os.chdir(cwd)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if before:
        before()
    sys.argv = ["vae", *args]
    code = exit_code()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def exit_code() -> int:
    """The exit code of the command line that sys.argv holds; a traceback on standard error where it crashes."""
    try:
        importlib.import_module("vaecli.__main__").main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
