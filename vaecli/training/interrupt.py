"""Stops training between two steps when a signal asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, ClassVar

from vaecli.utils.cluster import SWEEP_STOPS, warning_signal
from vaecli.utils.ranks import all_reduce_max, world

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGREE_EVERY = 8  # steps


class Interrupt:
    """While active, the first SIGINT or SIGTERM only sets `requested`; a second one ends the process.

    In a cluster's job, the signal that warns of the job's end also sets `requested`, as does the sweep of a job that
    runs beside others.

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
            numbers = (*SIGNALS, *(number for number in (warning_signal(), SWEEP_STOPS) if number is not None))
            self.previous = {number: signal.signal(number, self.handle) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        if Interrupt.current is self:
            Interrupt.current = None
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None and number in SIGNALS:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.requested = self.requested or number


def should_stop(interrupt: Interrupt, step: int) -> bool:
    """Whether to stop before a step; the processes of a run agree on it every AGREE_EVERY steps."""
    if world() == 1:
        return interrupt.requested is not None
    return step % AGREE_EVERY == 0 and agreed_signal(interrupt) is not None


def agreed_signal(interrupt: Interrupt) -> int | None:
    """The signal that any of the processes has received; from then on it stops all of them."""
    if world() > 1:
        interrupt.requested = all_reduce_max(interrupt.requested or 0) or interrupt.requested
    return interrupt.requested
