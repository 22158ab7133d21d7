"""Progress of long computations: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn, track

T = TypeVar("T")


def progress_bar(what: str, total: int) -> Callable[[Iterable[T]], Iterable[T]]:
    """A function that iterates over `total` items, in a terminal with a progress bar, which is removed at the end."""
    console = Console(stderr=True)
    return lambda items: track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


class Countdown(Progress):
    """Counts `total` units of work; call it with the number just done.

    every: seconds between lines where there is no terminal, and before the first one
    """

    def __init__(self, what: str, total: int, every: float = 10.0) -> None:
        self.what, self.total, self.every, self.done = what, total, every, 0
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(compact=True)
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.add_task(what, total=total)
        self.started = self.last = time.perf_counter()

    def __call__(self, count: int) -> None:
        self.done += count
        self.update(self.task, completed=self.done)
        now = time.perf_counter()
        if not self.disable or now - self.last < self.every or self.done >= self.total:
            return
        self.last = now
        left = (now - self.started) * (self.total - self.done) / self.done
        self.console.print(f"{self.what}: {self.done / self.total:.0%}, {duration(left)} left", highlight=False)


def duration(seconds: float) -> str:
    """Seconds as text: 8 s, 3:20 min, 2:05 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 100 else f"{minutes // 60}:{minutes % 60:02d} h"
