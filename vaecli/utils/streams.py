"""Standard output and error that may be closed, full, or read by a program that has had enough."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, Any, TextIO


def prepare() -> None:
    """Streams that take any text: characters that they have no code for are written out, as in \\udcff."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the program began, as by >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def ignore_write_errors() -> None:
    """Let what the program writes be lost from now on where nobody can take it, instead of ending the program."""
    sys.stdout, sys.stderr = Lossy(sys.stdout), Lossy(sys.stderr)


class Lossy:
    """A stream whose writes never fail: once one would have, everything goes nowhere."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError:
            discard_output(self.stream)
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            discard_output(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def discard_output(stream: IO[str] | TextIO) -> None:
    """Let what a stream still holds, and all that is to come, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(io.UnsupportedOperation):  # a stream in memory, of a program that calls this one
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
