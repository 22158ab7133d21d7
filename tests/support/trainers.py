"""A plan, an observer and a progress bar for a trainer."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from vaecli.training.progress import TrainingProgress
from vaecli.training.together import Member, drive
from vaecli.training.trainer import Plan, TrainingGenerator


class Recorder:
    """Keeps what the trainer hands on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, int, dict[str, float], float]] = []
        self.saved: list[tuple[str, dict[str, Any]]] = []
        self.finished: list[int] = []

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        self.lines.append((split, epoch, step, means, lr))

    def checkpoint(self, which: str, state: dict[str, Any]) -> None:
        state["model"] = {key: value.clone() for key, value in state["model"].items()}
        self.saved.append((which, state))

    def epoch_done(self, epoch: int) -> None:
        self.finished.append(epoch)

    def last(self, which: str) -> dict[str, Any]:
        return next(state for name, state in reversed(self.saved) if name == which)

    def epochs(self, which: str) -> list[int]:
        return [state["epoch"] for name, state in self.saved if name == which]


def finish(generator: TrainingGenerator[Any]) -> Any:
    """Run a generator to its end; its result."""
    member = Member(generator)
    member.start()
    return drive([member])[0]


def plan(epochs: int = 3, batch_size: int = 4, **entries: Any) -> Plan:
    values = {"seed": 0, "validate_every": 1, "checkpoint_every": 1, "patience": None, **entries}
    return Plan(epochs=epochs, batch_size=batch_size, **values)


def quiet(n: int, epochs: int) -> TrainingProgress:
    return TrainingProgress(n, epochs, Console(file=io.StringIO()), lambda text: None)
