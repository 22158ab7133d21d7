"""How far a long computation is: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from vaecli.training.progress import duration


class Countdown(Progress):
    """Counts `total` units of work; call it with the number just done.

    every: seconds between lines where there is no terminal; none come before the first that many have passed
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
