"""How long to train, how often to validate and save, and what receives the results of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vaecli.utils.types import StateDict

Prune = Callable[[int, float], bool]  # of an epoch and its validation bound: whether the run is hopeless


@dataclass(frozen=True)
class Plan:
    """How long to train, and how often to validate and save."""

    epochs: int
    batch_size: int
    seed: int
    validate_every: int  # epochs
    checkpoint_every: int  # epochs
    checkpoint_seconds: float | None = None  # between checkpoints within an epoch; None: none there
    patience: int | None = None  # validations without an improvement before training stops; None: never
    hint: str | None = None  # advice to print if the loss is not finite in the first steps
    prune: Prune | None = None


class Observer(Protocol):
    """Receives what training produces; the trainer itself writes nothing."""

    def metrics(
        self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float
    ) -> None: ...
    def checkpoint(self, which: str, state: StateDict) -> None: ...
    def epoch_done(self, epoch: int) -> None: ...
