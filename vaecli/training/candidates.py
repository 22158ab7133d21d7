"""The candidates for the best checkpoint: the model's own weights and, with ema.decay, their average."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import nn
from torch.optim.swa_utils import AveragedModel

from vaecli.training.state import OTHER_CANDIDATES, Best


@dataclass
class Candidate:
    """Weights that are validated, and saved if they are the best so far."""

    name: str  # of its checkpoint, as in best.safetensors
    model: nn.Module  # has these weights
    source: nn.Module  # what is stored to resume from: the model itself, or the average with its count of steps
    suffix: str = ""  # of its splits' names: val or val_ema
    remark: str = ""  # after those names in messages
    best: Best = field(default_factory=Best)
    improved_in: int = 0  # the epoch whose validation has replaced `best` in this process; 0: none

    def update_best(self, epoch: int, train: dict[str, float], val: dict[str, float] | None) -> None:
        """Record an epoch's validation; without one (None) the latest epoch is the best, with its figures `train`.

        A resumed run may repeat epochs before the best one: they do not count towards early stopping.
        """
        figures = train if val is None else val
        if val is None or self.best.bound is None or val["bound"] > self.best.bound:
            self.best, self.improved_in = Best(epoch, figures["bound"], figures["elbo"]), epoch
        elif epoch > self.best.epoch:
            self.best = self.best._replace(validations_since_best=self.best.validations_since_best + 1)

    def forget_best(self) -> None:
        """Let the next validation be the best: earlier bounds are not comparable with later ones."""
        self.best = self.best._replace(bound=None, validations_since_best=0)


def candidates(model: nn.Module, average: AveragedModel | None) -> list[Candidate]:
    """All candidates; the first one is the model's own weights, which decide on early stopping."""
    own = Candidate("best", model, model)
    if average is None:
        return [own]
    return [own, Candidate(*OTHER_CANDIDATES, average.module, average, "_ema", " (averaged weights)")]


def or_nan(figure: float | None) -> float:
    """A figure of the best epoch, or nan where there was none."""
    return math.nan if figure is None else float(figure)
