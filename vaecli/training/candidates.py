"""The weights among which a run keeps the best: the model's own, and their average where there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import nn
from torch.optim.swa_utils import AveragedModel

from vaecli.training.state import OTHER_CANDIDATES, Best


@dataclass
class Candidate:
    """Weights that are validated and, where they are the best so far, saved."""

    name: str  # of its checkpoint, as in best.safetensors
    model: nn.Module  # has these weights
    source: nn.Module  # what training goes on from: the model itself, or the average with its count of steps
    suffix: str = ""  # of its splits' names, as in val and val_ema
    remark: str = ""  # behind those names where a user reads them
    best: Best = field(default_factory=Best)
    improved_in: int = 0  # the epoch whose validation has replaced `best` in this process; 0: none

    def update_best(self, epoch: int, train: dict[str, float], val: dict[str, float] | None) -> None:
        """Take note of an epoch's validation; without one (None) the latest epoch is the best, by its figures `train`.

        An epoch up to the best one is one that a run which was stopped comes to again: it is not counted as waiting.
        """
        figures = train if val is None else val
        if val is None or self.best.bound is None or val["bound"] > self.best.bound:
            self.best, self.improved_in = Best(epoch, figures["bound"], figures["elbo"]), epoch
        elif epoch > self.best.epoch:
            self.best = self.best._replace(validations_since_best=self.best.validations_since_best + 1)

    def forget_best(self) -> None:
        """Let the next validation choose the best: earlier bounds are not comparable with later ones."""
        self.best = self.best._replace(bound=None, validations_since_best=0)


def candidates(model: nn.Module, average: AveragedModel | None) -> list[Candidate]:
    """The model's own weights first, by which training stops early."""
    own = Candidate("best", model, model)
    if average is None:
        return [own]
    return [own, Candidate(*OTHER_CANDIDATES, average.module, average, "_ema", " (averaged weights)")]


def or_nan(figure: float | None) -> float:
    """A figure of the best epoch, or nan where there was none."""
    return math.nan if figure is None else float(figure)
