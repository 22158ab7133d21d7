"""Stops training between two steps when a signal asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, ClassVar

from vaecli.utils.ranks import highest, world

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGREE_EVERY = 8  # steps


class Interrupt:
    """While active, the first SIGINT or SIGTERM only sets `requested`; a second one ends the process.

    Inside another active Interrupt, `with` returns the outer one, so that all runs of a process see the same signal.
    """

    current: ClassVar[Interrupt | None] = None

    def __init__(self) -> None:
        self.requested: int | None = None  # the signal's number
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if Interrupt.current is not None:
            return Interrupt.current
        Interrupt.current = self
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self.handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        if Interrupt.current is self:
            Interrupt.current = None
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def agreed(self, step: int) -> bool:
        """Whether to stop before a step; the processes of a run ask each other now and then."""
        if world() == 1:
            return self.requested is not None
        return step % AGREE_EVERY == 0 and self.agree() is not None

    def agree(self) -> int | None:
        """The signal that stops any of the processes."""
        self.requested = highest(self.requested or 0) or self.requested
        return self.requested

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.requested = number
