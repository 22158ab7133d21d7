"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from vaecli.datasets.split import Splits
from vaecli.objectives.base import Estimate
from vaecli.training.candidates import Candidate, candidates
from vaecli.training.interrupt import Interrupt, should_stop
from vaecli.training.nonfinite import broken_step, broken_term, check_weights
from vaecli.training.parts import parts
from vaecli.training.plan import Observer, Plan
from vaecli.training.progress import TrainingProgress
from vaecli.training.state import (
    Best,
    CandidateState,
    TrainingState,
    check_position,
    restore_average,
    restore_moments,
    restore_schedule,
)
from vaecli.training.step import Update
from vaecli.training.totals import Totals, mean_metrics
from vaecli.utils.random import random_states, set_random_states
from vaecli.utils.ranks import all_reduce_max, sharing

FIRST_STEPS = 20  # in these steps the message about a loss that is not finite names a likely cause in the data
LOSS_CHECK_INTERVAL = 50  # steps between checks of the loss on a device that computes asynchronously

T = TypeVar("T")
# A generator: yields the trainer before each epoch, receives what `Trainer.train_epoch` returned, and returns a T.
TrainingGenerator = Generator["Trainer", dict[str, float] | None, T]


@dataclass
class Trainer:
    """Minimises an objective over epochs of shuffled batches, validates, and keeps the best and the last state."""

    update: Update
    splits: Splits
    plan: Plan
    observer: Observer
    progress: TrainingProgress
    interrupt: Interrupt
    calibrate: Callable[[nn.Module], None] = lambda model: None  # sets what a model takes from all training data
    epoch: int = 0  # completed
    step: int = 0
    seconds: float = 0.0  # spent in training passes
    totals: Totals = field(default_factory=Totals)  # of the unfinished epoch
    last_saved_at: float = field(default_factory=time.perf_counter)  # when last.safetensors was written
    pruned: bool = False  # a search has stopped it, because its bounds are hopeless
    candidates: list[Candidate] = field(init=False)

    def __post_init__(self) -> None:
        self.candidates = candidates(self.model, self.update.average)

    @property
    def model(self) -> nn.Module:
        return self.update.model

    @property
    def best(self) -> Best:
        """The best validation of the model's own weights."""
        return self.candidates[0].best

    def epochs(self) -> TrainingGenerator[None]:
        """Train to the last epoch, or until early stopping or an interrupt.

        `together.drive` runs each pass over the training set, and sends what `train_epoch` returns.
        """
        if self.step == 0:
            self.save_last()
        while self.epoch < self.plan.epochs and not self.stops_early():
            before = self.seconds
            train = yield self
            if train is None:
                return self.save_interrupted()
            self.epoch += 1
            val = None
            if self.validation_is_due():
                val = self.validate(train)
            elif self.checkpoint_is_due():
                self.calibrate(self.model)
            self.observer.epoch_done(self.epoch)
            self.save_due_checkpoints()
            self.progress.epoch(self.epoch, train, val, self.seconds - before)
        return None

    def train_epoch(self, epoch: int) -> dict[str, float] | None:
        """One pass over the training set, or the rest of it; None if it was interrupted."""
        started = time.perf_counter()
        self.progress.start_epoch()
        self.model.train()
        for part in parts(self.splits.train, self.order(epoch), self.plan.batch_size):
            if should_stop(self.interrupt, self.step):
                return None
            self.save_when_time_has_passed()
            with sharing(part.share):
                self.totals.add(self.train_step(part.observations()))
            self.progress.tick(epoch, part.total, self.totals.latest)
        return self.end_epoch(epoch, time.perf_counter() - started)

    def end_epoch(self, epoch: int, seconds: float) -> dict[str, float]:
        """The figures of a pass over the training set, which took `seconds` without waiting for the device."""
        waiting = time.perf_counter()
        means = self.totals.means()  # waits for the device
        check_weights(self.model, epoch, self.step)
        self.totals = Totals()
        seconds += time.perf_counter() - waiting
        self.seconds += seconds
        self.report("train", epoch, means, time.perf_counter() - seconds)
        return means

    def order(self, epoch: int) -> Tensor:
        """Indices of the observations that are left in this epoch, in its shuffled order."""
        n, size = len(self.splits.train), self.plan.batch_size
        shuffle = torch.Generator().manual_seed((self.plan.seed * 1_000_003 + epoch) % 2**63)
        done = self.step - self.epoch * -(-n // size)
        return torch.randperm(n, generator=shuffle)[done * size :].to(self.splits.train.device)

    def train_step(self, x: Tensor) -> Estimate:
        """One step on a batch x (B, *x_shape)."""
        estimate = self.update(x, self.step, self.raise_if_nonfinite)
        self.step += 1
        return estimate

    def raise_if_nonfinite(self, estimate: Estimate) -> None:
        """UserError for a loss that is not finite; reading it makes the program wait for the device."""
        loss = estimate.loss
        if (loss.device.type == "cpu" or self.step % LOSS_CHECK_INTERVAL == 0) and not math.isfinite(loss.item()):
            self.totals.add(estimate)
            hint = self.plan.hint if self.step < FIRST_STEPS else None
            raise broken_step(self.model, self.totals, self.epoch + 1, self.step + 1, hint)

    def validation_is_due(self) -> bool:
        """Whether to validate after this epoch; always without a validation split, where training figures are used."""
        last = self.epoch == self.plan.epochs
        return last or self.splits.val is None or self.epoch % self.plan.validate_every == 0

    def checkpoint_is_due(self) -> bool:
        """Whether to save after this epoch and its validation."""
        return self.epoch == self.plan.epochs or self.stops_early() or self.epoch % self.plan.checkpoint_every == 0

    def stops_early(self) -> bool:
        """Whether there were `patience` validations without an improvement, or the run is pruned."""
        patience = self.plan.patience
        return self.pruned or (patience is not None and self.best.validations_since_best >= patience)

    def validate(self, train: dict[str, float]) -> dict[str, float] | None:
        """The figures of the model's own weights over the validation split; None where there is no such split.

        Each candidate is compared with its best so far.
        """
        figures = [self.evaluate(candidate) for candidate in self.candidates]
        for candidate, val in zip(self.candidates, figures, strict=True):
            candidate.update_best(self.epoch, train, val)
        own = figures[0]
        if self.plan.prune is not None and self.epoch < self.plan.epochs:
            self.pruned = self.plan.prune(self.epoch, (train if own is None else own)["bound"])
        return own

    def evaluate(self, candidate: Candidate) -> dict[str, float] | None:
        """A candidate's means over the validation split, calibrated and reported; None where there is no such split."""
        self.calibrate(candidate.model)
        if self.splits.val is None:
            return None
        started = time.perf_counter()
        val = mean_metrics(candidate.model, self.update.objective, self.splits.val, self.step)  # type: ignore[arg-type]
        self.report(f"val{candidate.suffix}", self.epoch, val, started)
        return val

    def report(self, split: str, epoch: int, means: dict[str, float], started: float) -> None:
        """Pass the figures of one pass on to the observer; UserError if one is not finite."""
        broken = {name: value for name, value in means.items() if not math.isfinite(value)}
        if broken:
            raise broken_term(broken, f"epoch {epoch} ({split}, after step {self.step})")
        lr = self.update.optimizer.param_groups[0]["lr"]
        self.observer.metrics(split, epoch, self.step, means, lr, time.perf_counter() - started)

    def save_due_checkpoints(self) -> None:
        """Save the candidates that this epoch has improved, and the last state when it is due.

        Without a validation split each epoch improves them: they are saved with the last state.
        """
        due = self.checkpoint_is_due()
        for candidate in self.candidates:
            if candidate.improved_in == self.epoch and (due or self.splits.val is not None):
                self.save_best(candidate)
        if due:
            self.save_last()

    def save_when_time_has_passed(self) -> None:
        """Save the last state within an epoch if `checkpoint_seconds` have passed since the last save."""
        every = self.plan.checkpoint_seconds
        if every is not None and all_reduce_max(time.perf_counter() - self.last_saved_at >= every):
            self.save_last()

    def save_interrupted(self) -> None:
        self.save_last()
        if self.splits.val is None and self.epoch:  # the best is the last
            for candidate in self.candidates:
                self.calibrate(candidate.model)
                self.save_best(candidate)

    def save_best(self, candidate: Candidate) -> None:
        """Save a state with a candidate's weights instead of the model's; training is never resumed from it."""
        state = self.state()._replace(model=candidate.model.state_dict(), best=candidate.best, partial=None, others={})
        self.save(candidate.name, state)

    def save_last(self) -> None:
        state, self.last_saved_at = self.state(), time.perf_counter()
        self.save("last", state)

    def save(self, which: str, state: TrainingState) -> None:
        check_weights(self.model, min(self.epoch + 1, self.plan.epochs), self.step)
        self.observer.checkpoint(which, state.to_dict())

    def state(self) -> TrainingState:
        """The state to resume from, as plain containers and tensors."""
        return TrainingState(
            model=self.model.state_dict(),
            optimizer=self.update.optimizer.state_dict(),
            scheduler=self.update.scheduler.state_dict(),
            step=self.step,
            epoch=self.epoch,
            best=self.best,
            rng=random_states(next(self.model.parameters()).device),
            partial=self.totals.state_dict() if self.totals.counts else None,
            others={one.name: CandidateState(one.source.state_dict(), one.best) for one in self.candidates[1:]},
        )

    def restore(self, state: TrainingState, replanned: bool = False) -> None:
        """Restore the state of `last`: every later number is what it would have been without a stop.

        replanned: the schedule or the optimizer's settings have changed; the new ones apply from now on
        """
        check_position(state, len(self.splits.train), self.plan.batch_size)
        device = next(self.model.parameters()).device
        self.model.load_state_dict(state.model)
        restore_optimizer = restore_moments if replanned else restore_schedule
        restore_optimizer(self.update.optimizer, self.update.scheduler, state)
        self.step, self.epoch, self.candidates[0].best = state.step, state.epoch, state.best
        if state.partial is not None:
            self.totals.load_state_dict(state.partial, device)
        for other in self.candidates[1:]:
            restore_average(other.source, state.others[other.name].source, state.step)
            other.best = state.others[other.name].best
        set_random_states(state.rng, device)
