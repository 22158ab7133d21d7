"""What a user sees while a model trains: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vaecli.utils.progress import duration


class TrainingProgress(Progress):
    """Counts observations over all epochs; `say` gets a line for each epoch, at most one every `every` seconds.

    done: observations that a resumed run was trained on before
    """

    def __init__(
        self,
        n_train: int,
        epochs: int,
        console: Console,
        say: Callable[[str], None],
        every: float = 1.0,
        done: int = 0,
    ) -> None:
        self.n_train, self.epochs, self.say, self.every = n_train, epochs, say, every
        super().__init__(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task = self.add_task("", total=n_train * epochs, completed=done, epoch=0, text="")
        self.started = self.last_tick = time.perf_counter()
        self.last_line = 0.0
        self.mark = ""  # printed after the ELBO of training batches
        self.done = self.before = done
        self.epoch_started = (self.started, done)  # when, and after how many observations

    def seconds_left(self) -> float:
        """The time left at the pace so far, validation and pictures included."""
        pace = (time.perf_counter() - self.started) / max(self.done - self.before, 1)
        return (self.n_train * self.epochs - self.done) * pace

    def start_epoch(self) -> None:
        self.epoch_started = (time.perf_counter(), self.done)

    def tick(self, epoch: int, count: int, metrics: Callable[[], dict[str, float]]) -> None:
        """`count` more observations were trained on; `metrics` is called only when the bar is drawn."""
        self.done += count
        now = time.perf_counter()
        if self.disable or now - self.last_tick < 0.1:
            return
        self.last_tick = now
        started, before = self.epoch_started
        speed = (self.done - before) / max(now - started, 1e-9)
        self.update(self.task, completed=self.done, epoch=epoch, text=f"{terms(metrics(), self.mark)}  {speed:,.0f}/s")

    def epoch(self, epoch: int, train: dict[str, float], val: dict[str, float] | None, seconds: float) -> None:
        """An epoch's figures; its pass over the training data, or over what a resumed run had left, took `seconds`."""
        now = time.perf_counter()
        if now - self.last_line < self.every and 1 < epoch < self.epochs:
            return
        self.last_line = now
        against = f"  val {bounds(val)}" if val else ""
        self.say(
            f"epoch {epoch:{len(str(self.epochs))}d}/{self.epochs}  {terms(train, self.mark)}{against}"
            f"  {(self.done - self.epoch_started[1]) / seconds:,.0f}/s  {duration(self.seconds_left())} left"
        )


def terms(metrics: dict[str, float], mark: str = "") -> str:
    return f"{bounds(metrics, mark)}  log p(x|z) {metrics['log_px']:.2f}  KL {metrics['kl']:.2f}"


def bounds(metrics: dict[str, float], mark: str = "") -> str:
    """The ELBO and, where the objective has another bound (iwae and dreg), that one too."""
    elbo, bound = metrics["elbo"], metrics["bound"]
    return f"ELBO{mark} {elbo:.2f}" + (f"  bound{mark} {bound:.2f}" if bound != elbo else "")
