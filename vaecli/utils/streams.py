"""Standard output and error that may be closed, on a full disk, or a pipe whose reader has gone."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, Any, TextIO


def prepare() -> None:
    """Let the streams take any text: characters outside their encoding are escaped, as in \\udcff."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the program began, as by >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def ignore_write_errors() -> None:
    """From now on, discard output that cannot be written instead of ending the program."""
    sys.stdout, sys.stderr = Lossy(sys.stdout), Lossy(sys.stderr)


class Lossy:
    """A stream whose writes never fail: after the first error all output is discarded."""

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
    """Discard what a stream has buffered and everything written to it later."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(io.UnsupportedOperation):  # a stream in memory, as of a program that calls this one
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
