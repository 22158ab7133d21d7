"""The training loop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from vaecli.datasets.split import Splits
from vaecli.errors import UserError
from vaecli.evaluation import Totals, mean_metrics
from vaecli.objectives.elbo import Objective
from vaecli.schedulers import Scheduler
from vaecli.training.interrupt import Interrupt
from vaecli.training.progress import TrainingProgress


@dataclass(frozen=True)
class Plan:
    """How long to train, and what happens in between."""

    epochs: int
    batch_size: int
    seed: int
    validate_every: int  # epochs
    checkpoint_every: int  # epochs
    patience: int | None  # validations without an improvement before training stops; None: never


class Observer(Protocol):
    """Takes what training produces; the trainer itself writes nothing."""

    def metrics(
        self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float
    ) -> None: ...
    def checkpoint(self, which: str, state: dict[str, Any]) -> None: ...
    def epoch_done(self, epoch: int) -> None: ...


@dataclass
class Trainer:
    """Minimises an objective over epochs of shuffled batches, validates, and keeps the best and the last state."""

    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler
    splits: Splits
    plan: Plan
    observer: Observer
    progress: TrainingProgress
    interrupt: Interrupt
    epoch: int = 0  # completed
    step: int = 0
    seconds: float = 0.0  # spent in training passes
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "bound": None, "elbo": None, "waited": 0})

    def fit(self) -> None:
        """Train to the last epoch, or until early stopping or an interrupt."""
        self.save("last")
        while self.epoch < self.plan.epochs and not self.exhausted():
            before = self.seconds
            train = self.train_epoch(self.epoch + 1)
            if train is None:
                return self.save_interrupted()
            self.epoch += 1
            final = self.epoch == self.plan.epochs
            val = self.validate() if final or self.epoch % self.plan.validate_every == 0 else None
            if self.splits.val is None or (val and self.improved(val)):
                self.best = {
                    "epoch": self.epoch,
                    "bound": (val or train)["bound"],
                    "elbo": (val or train)["elbo"],
                    "waited": 0,
                }
            self.keep(final)
            self.observer.epoch_done(self.epoch)
            self.progress.epoch(self.epoch, train, val, self.seconds - before)
        return None

    def train_epoch(self, epoch: int) -> dict[str, float] | None:
        """One pass over the training set; None if it was interrupted."""
        started, totals, train = time.perf_counter(), Totals(), self.splits.train
        self.progress.start_epoch()
        shuffle = torch.Generator().manual_seed((self.plan.seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(train), generator=shuffle).to(train.x.device)
        self.model.train()
        for index in order.split(self.plan.batch_size):
            estimate = self.objective(self.model, train.batch(index), self.step)  # type: ignore[arg-type]
            self.optimizer.zero_grad()
            estimate.loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.step += 1
            totals.add(estimate)
            self.progress.tick(epoch, len(index), totals.latest)
            if self.interrupt.requested:
                return None
        means = totals.means()  # waits for the device
        self.seconds += time.perf_counter() - started
        return self.report("train", epoch, means, started)

    def validate(self) -> dict[str, float] | None:
        """The validation split's figures; None where there is no such split."""
        if self.splits.val is None:
            return None
        started = time.perf_counter()
        val = mean_metrics(self.model, self.objective, self.splits.val, self.step)  # type: ignore[arg-type]
        return self.report("val", self.epoch, val, started)

    def improved(self, val: dict[str, float]) -> bool:
        """Whether a validation's bound is the best so far; counts the validations since it was."""
        better = self.best["bound"] is None or val["bound"] > self.best["bound"]
        self.best["waited"] += not better
        return better

    def keep(self, final: bool) -> None:
        """Save the best state when it is this epoch's, and the last one when it is due."""
        due = final or self.exhausted() or self.epoch % self.plan.checkpoint_every == 0
        if self.best["epoch"] == self.epoch and (due or self.splits.val is not None):
            self.save("best")
        if due:
            self.save("last")

    def exhausted(self) -> bool:
        """Whether early stopping has seen enough validations without an improvement."""
        return self.plan.patience is not None and self.best["waited"] >= self.plan.patience

    def report(self, split: str, epoch: int, means: dict[str, float], started: float) -> dict[str, float]:
        """Hand one pass's figures on; stop loudly where one is not finite."""
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise UserError(
                f"{', '.join(broken)} became non-finite in epoch {epoch} ({split}, step {self.step}): "
                "try a lower optimizer.lr, or another decoder for these data.\n"
                "The last checkpoint before it is kept."
            )
        lr = self.optimizer.param_groups[0]["lr"]
        self.observer.metrics(split, epoch, self.step, means, lr, time.perf_counter() - started)
        return means

    def save_interrupted(self) -> None:
        self.save("last")
        if self.splits.val is None and self.epoch:  # the best is the last
            self.save("best")

    def save(self, which: str) -> None:
        self.observer.checkpoint(which, self.state())

    def state(self) -> dict[str, Any]:
        """Everything that training goes on from, as plain containers and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
            "best": dict(self.best),
            "rng": random_states(next(self.model.parameters()).device),
        }


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states
