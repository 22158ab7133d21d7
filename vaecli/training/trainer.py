"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vaecli.datasets.split import Splits
from vaecli.objectives.base import Estimate, Objective
from vaecli.schedulers import Scheduler, advance
from vaecli.training.interrupt import Interrupt
from vaecli.training.nonfinite import broken_step, broken_term, broken_weights
from vaecli.training.progress import TrainingProgress
from vaecli.training.resume import check_like, check_moments
from vaecli.training.totals import Totals, mean_metrics
from vaecli.utils.random import random_states, set_random_states

WATCH = 50  # steps between looks at the loss on a device that computes while the program goes on


@dataclass(frozen=True)
class Plan:
    """How long to train, and what happens in between."""

    epochs: int
    batch_size: int
    seed: int
    validate_every: int  # epochs
    checkpoint_every: int  # epochs
    checkpoint_seconds: float | None = None  # between checkpoints within an epoch; None: none there
    patience: int | None = None  # validations without an improvement before training stops; None: never
    clip_grad_norm: float | None = None  # the largest norm of all gradients together; None: any


class Observer(Protocol):
    """Takes what training produces; the trainer itself writes nothing."""

    def metrics(
        self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float
    ) -> None: ...
    def checkpoint(self, which: str, state: dict[str, Any]) -> None: ...
    def epoch_done(self, epoch: int) -> None: ...


def no_best() -> dict[str, Any]:
    return {"epoch": 0, "bound": None, "elbo": None, "waited": 0}


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
    average: AveragedModel | None = None  # of the weights over the steps
    calibrate: Callable[[nn.Module], None] = lambda model: None  # sets what a model takes from all training data
    epoch: int = 0  # completed
    step: int = 0
    seconds: float = 0.0  # spent in training passes
    best: dict[str, Any] = field(default_factory=no_best)
    best_average: dict[str, Any] = field(default_factory=no_best)
    improved: list[str] = field(default_factory=list)  # which of the two the last validation has replaced
    totals: Totals = field(default_factory=Totals)  # of the epoch under way
    saved: float = field(default_factory=time.perf_counter)  # when last.pt was written

    def fit(self) -> None:
        """Train to the last epoch, or until early stopping or an interrupt."""
        if self.step == 0:
            self.save("last")
        while self.epoch < self.plan.epochs and not self.exhausted():
            before = self.seconds
            train = self.train_epoch(self.epoch + 1)
            if train is None:
                return self.save_interrupted()
            self.epoch += 1
            final = self.epoch == self.plan.epochs
            due = final or self.splits.val is None or self.epoch % self.plan.validate_every == 0
            if due or self.epoch % self.plan.checkpoint_every == 0:
                self.calibrate(self.model)
            val = self.validate(train) if due else None
            self.observer.epoch_done(self.epoch)
            self.keep(final)
            self.progress.epoch(self.epoch, train, val, self.seconds - before)
        return None

    def train_epoch(self, epoch: int) -> dict[str, float] | None:
        """One pass over the training set, or the rest of it; None if it was interrupted."""
        started, train = time.perf_counter(), self.splits.train
        self.progress.start_epoch()
        shuffle = torch.Generator().manual_seed((self.plan.seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(train), generator=shuffle).to(train.device)
        batches = order.split(self.plan.batch_size)
        self.model.train()
        for index in batches[self.step - self.epoch * len(batches) :]:
            if self.interrupt.requested:
                return None
            self.save_in_time()
            self.totals.add(self.train_step(train.batch(index)))
            self.progress.tick(epoch, len(index), self.totals.latest)
        means = self.totals.means()  # waits for the device
        self.check_weights(epoch)
        self.totals = Totals()
        self.seconds += time.perf_counter() - started
        self.report("train", epoch, means, started)
        return means

    def train_step(self, x: Tensor) -> Estimate:
        """One step on a batch x (B, *x_shape)."""
        estimate = self.objective(self.model, x, self.step)  # type: ignore[arg-type]
        self.check(estimate)
        self.optimizer.zero_grad()
        estimate.loss.backward()
        if self.plan.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.model)
        return estimate

    def check(self, estimate: Estimate) -> None:
        """Stop loudly at a loss that is not finite; looking at it makes the program wait for the device."""
        loss = estimate.loss
        if (loss.device.type == "cpu" or self.step % WATCH == 0) and not math.isfinite(loss.item()):
            self.totals.add(estimate)
            raise broken_step(self.model, self.totals, self.epoch + 1, self.step + 1)

    def check_weights(self, epoch: int) -> None:
        """Stop loudly at weights that are not finite: the next loss would tell, but no such state is to be kept."""
        broken = broken_weights(self.model, epoch, self.step)
        if broken:
            raise broken

    def validate(self, train: dict[str, float]) -> dict[str, float] | None:
        """The validation split's figures, None where there is no such split, and what they say of the best state.

        Without a split the latest state is the best, by the figures of `train`.
        """
        before = {"best": self.best, "ema": self.best_average}
        val = self.figures(self.model, "val")
        self.best = judged(self.best, self.epoch, train, val)
        if self.average is not None:
            self.calibrate(self.average.module)
            averaged = self.figures(self.average.module, "val_ema")
            self.best_average = judged(self.best_average, self.epoch, train, averaged)
        after = {"best": self.best, "ema": self.best_average}
        self.improved = [which for which in after if after[which] is not before[which] and not after[which]["waited"]]
        return val

    def figures(self, model: nn.Module, name: str) -> dict[str, float] | None:
        """A model's means over the validation split, reported under a name; None where there is no such split."""
        if self.splits.val is None:
            return None
        started = time.perf_counter()
        val = mean_metrics(model, self.objective, self.splits.val, self.step)  # type: ignore[arg-type]
        self.report(name, self.epoch, val, started)
        return val

    def keep(self, final: bool) -> None:
        """Save the best states when they are this epoch's, and the last one when it is due."""
        due = final or self.exhausted() or self.epoch % self.plan.checkpoint_every == 0
        for which, best in (("best", self.best), ("ema", self.best_average)):
            if which in self.improved and best["epoch"] == self.epoch and (due or self.splits.val is not None):
                self.save(which)
        if due:
            self.save("last")

    def exhausted(self) -> bool:
        """Whether early stopping has seen enough validations without an improvement."""
        return self.plan.patience is not None and self.best["waited"] >= self.plan.patience

    def report(self, split: str, epoch: int, means: dict[str, float], started: float) -> None:
        """Hand one pass's figures on; stop loudly where one is not finite."""
        broken = {name: value for name, value in means.items() if not math.isfinite(value)}
        if broken:
            raise broken_term(broken, f"epoch {epoch} ({split}, after step {self.step})")
        lr = self.optimizer.param_groups[0]["lr"]
        self.observer.metrics(split, epoch, self.step, means, lr, time.perf_counter() - started)

    def save_in_time(self) -> None:
        """Save the last state within an epoch when the plan's seconds have passed since it was saved."""
        every = self.plan.checkpoint_seconds
        if every is not None and time.perf_counter() - self.saved >= every:
            self.save("last")

    def save_interrupted(self) -> None:
        self.save("last")
        if self.splits.val is None and self.epoch:  # the best is the last
            self.calibrate(self.model)
            self.save("best")

    def save(self, which: str) -> None:
        """Hand a state on: `best` and `last` hold the model, `ema` the averaged weights in its place."""
        self.check_weights(min(self.epoch + 1, self.plan.epochs))
        state = self.state()
        if which == "last":
            state |= self.unfinished()
            self.saved = time.perf_counter()
        if which == "ema" and self.average is not None:
            state |= {"model": self.average.module.state_dict(), "best": dict(self.best_average)}
        self.observer.checkpoint(which, state)

    def state(self) -> dict[str, Any]:
        """What training goes on from at the end of an epoch, as plain containers and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
            "best": dict(self.best),
            "rng": random_states(next(self.model.parameters()).device),
        }

    def unfinished(self) -> dict[str, Any]:
        """What it needs besides: the sums of an epoch under way, and the averaged weights."""
        found: dict[str, Any] = {"partial": self.totals.state_dict()} if self.totals.rows else {}
        if self.average is not None:
            found["ema"] = {"model": self.average.state_dict(), "best": dict(self.best_average)}
        return found

    def forget_best(self) -> None:
        """Let the next validation choose the best state: bounds so far compare with none to come."""
        self.best, self.best_average = ({**best, "bound": None, "waited": 0} for best in (self.best, self.best_average))

    def restore(self, state: dict[str, Any], replanned: bool = False) -> None:
        """Go on where `last` was saved: from there on every number is what it would have been without a stop.

        replanned: the schedule or the optimizer's settings have changed; the new ones hold from here on
        """
        device = next(self.model.parameters()).device
        done = state["step"] - state["epoch"] * -(-len(self.splits.train) // self.plan.batch_size)
        if state["epoch"] < 0 or not 0 <= done * self.plan.batch_size < len(self.splits.train):
            raise ValueError(f"step {state['step']} is not in the epoch after epoch {state['epoch']}")
        own = self.state()
        for key in ("best",) if replanned else ("best", "scheduler"):
            check_like(key, own[key], state[key])
        if not replanned:
            check_like("optimizer", own["optimizer"]["param_groups"], state["optimizer"]["param_groups"])
            for key in PERIODS & own["scheduler"].keys():
                if own["scheduler"][key] != state["scheduler"][key]:
                    raise ValueError(f"scheduler.{key} is {state['scheduler'][key]}, not {own['scheduler'][key]}")
        self.model.load_state_dict(state["model"])
        if replanned:
            advance(self.scheduler, state["step"])
        settings = [{key: group[key] for key in group if key != "params"} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        check_moments(self.optimizer)
        if replanned:
            for group, new in zip(self.optimizer.param_groups, settings, strict=True):
                group.update(new)
        else:
            self.scheduler.load_state_dict(state["scheduler"])
        self.step, self.epoch, self.best = state["step"], state["epoch"], dict(state["best"])
        if "partial" in state:
            self.totals.load_state_dict(state["partial"], device)
        if self.average is not None:
            check_like("ema.best", own["best"], state["ema"]["best"])
            self.average.load_state_dict(state["ema"]["model"])
            if self.average.n_averaged != state["step"]:  # the ramp goes by it
                raise ValueError(f"the averaged weights are those of {int(self.average.n_averaged)} steps")
            self.best_average = dict(state["ema"]["best"])
        set_random_states(state["rng"], device)


PERIODS = {"T_max", "total_steps", "step_size"}  # of schedules, which follow from the configuration


def judged(best: dict[str, Any], epoch: int, train: dict[str, float], val: dict[str, float] | None) -> dict[str, Any]:
    """`best` after a validation: this epoch if its bound is the best so far, otherwise one validation more waited.

    An epoch up to the best one is one that a run which was stopped comes to again: it has waited for nothing.
    """
    if val is not None and best["bound"] is not None and not val["bound"] > best["bound"]:
        return best if epoch <= best["epoch"] else {**best, "waited": best["waited"] + 1}
    return {"epoch": epoch, "bound": (val or train)["bound"], "elbo": (val or train)["elbo"], "waited": 0}
