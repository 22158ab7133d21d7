"""Computes the steps of several runs that differ only in their seeds at once, on one stack of their weights."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from vaecli.training.fused_adam import DirectStep
from vaecli.training.graph import set_gradients
from vaecli.training.passes import Passes
from vaecli.training.state import after_one_step
from vaecli.training.step import LossModule
from vaecli.training.trainer import Trainer
from vaecli.training.vectorized import VectorizedGraph

STACK_BELOW = 1e8  # floating-point operations of one run's step from which stacking gains nothing
States = dict[str, Tensor]  # of the random number generators of a run


def against_stacking(trainer: Trainer) -> str | None:
    """Why such runs are not trained as a stack; None if that is faster, because a step is mostly overhead.

    Only for optimizers that treat every weight alike, and without checkpoint.every_seconds and accumulate.
    """
    update, plan = trainer.update, trainer.plan
    draws = plan.batch_size * update.objective.n_samples * update.objective.k
    operations = 6 * draws * sum(p.numel() for p in trainer.model.parameters())
    if type(update.passes) is not Passes:
        return "the batches of each are computed in parts (accumulate), or by a class of your own"
    if type(update.optimizer) not in (Adam, AdamW, SGD):
        return f"the optimizer {type(update.optimizer).__name__} does not train several at once"
    if plan.checkpoint_seconds is not None:
        return "checkpoint.every_seconds saves each at its own time"
    return "their steps are so large that several at once would not be faster" if operations >= STACK_BELOW else None


class Stack:
    """N trainers at the same step of the same epoch; their weights become views of stacked tensors (N, ...)."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = trainers
        self.first = trainers[0]
        self.graphs: dict[int, VectorizedGraph] = {}  # by the batch's size
        modules = [LossModule(t.model, t.update.objective) for t in trainers]
        self.values: list[Tensor] = []  # (N, ...), weights and buffers in the order of a StepGraph
        for group in zip(*(all_values(module) for module in modules), strict=True):
            stacked = torch.stack([value.detach() for value in group])
            for i, value in enumerate(group):
                value.data = stacked[i]
            self.values.append(stacked)
        trained = [i for i, value in enumerate(all_values(modules[0])) if value.requires_grad]
        self.parameters = [self.values[i].requires_grad_() for i in trained]
        self.own_parameters = [[p for p in t.model.parameters() if p.requires_grad] for t in trainers]
        self.optimizer = self.stacked_optimizer()
        self.take_step = DirectStep(self.optimizer)

    def is_of(self, trainers: Sequence[Trainer]) -> bool:
        """Whether these are its trainers."""
        return [*map(id, trainers)] == [*map(id, self.trainers)]

    def stacked_optimizer(self) -> Optimizer:
        """One optimizer for all trainers, which continues from the states of their own."""
        own = self.first.update.optimizer
        settings = {key: value for key, value in own.param_groups[0].items() if key != "params"}
        stacked = type(own)(self.parameters)  # type: ignore[call-arg]
        stacked.param_groups[0].update(settings)
        kinds = after_one_step(own)
        for j, parameter in enumerate(self.parameters):
            runs = zip(self.trainers, self.own_parameters, strict=True)
            states = [trainer.update.optimizer.state.get(theirs[j]) for trainer, theirs in runs]
            if all(states):
                stacked.state[parameter] = {
                    name: torch.stack([state[name] for state in states])  # type: ignore[index]
                    if isinstance(kind, Tensor) and kind.ndim
                    else copy.deepcopy(states[0][name])  # type: ignore[index]
                    for name, kind in kinds.items()
                }
        return stacked

    def train_epoch(self, states: Sequence[States]) -> float | None:
        """All trainers' steps to the end of the epoch; returns the seconds that count for each, or None if interrupted.

        states: of each run's random numbers, before and, changed in place, after
        """
        started, first = time.perf_counter(), self.first
        for trainer in self.trainers:
            trainer.progress.start_epoch()
        data, size = first.splits.train, first.plan.batch_size
        orders = torch.stack([t.order(t.epoch + 1) for t in self.trainers])
        kind = data.device.type
        generators = [generator(data.device, state[kind]) for state in states]
        rows: list[Tensor] = []
        counts: list[int] = []
        done = True
        with warnings.catch_warnings(action="ignore"):  # that the schedule's own optimizer takes no steps
            for index in orders.split(size, dim=1):
                if first.interrupt.requested:
                    done = False
                    break
                stored = data.raw(index.flatten()).unflatten(0, index.shape)
                x = data.observations(stored) if not data.redraw else torch.stack([
                    data.observations(one, g) for one, g in zip(stored, generators, strict=True)
                ])  # fmt: skip
                rows.append(self.step(x, generators))
                counts.append(index.shape[1])
        for state, g in zip(states, generators, strict=True):
            state[kind] = g.get_state()
        self.hand_back(rows, counts)
        return (time.perf_counter() - started) / len(self.trainers) if done else None

    def step(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """One update of all, from batches x (N, B, *x_shape); returns the sums of metrics and losses (N, M + 1)."""
        first, size = self.first, x.shape[1]
        at = first.update.step.fill_(first.step)
        if size not in self.graphs:
            self.graphs[size] = VectorizedGraph(first.update.loss, self.values, x, at)
        metrics, loss, gradients = self.graphs[size](self.values, x, at, generators)
        set_gradients(self.parameters, gradients)
        if first.update.clip_grad_norm is not None:
            clip_each(self.parameters, first.update.clip_grad_norm)
        self.take_step()
        first.update.scheduler.step()
        self.optimizer.param_groups[0]["lr"] = first.update.optimizer.param_groups[0]["lr"]
        for trainer in self.trainers:
            trainer.step += 1
            if trainer.update.average is not None:
                trainer.update.average.update_parameters(trainer.model)
        return torch.cat([metrics.sum(-1).t(), (loss * size).unsqueeze(1)], 1)

    def hand_back(self, rows: Sequence[Tensor], counts: Sequence[int]) -> None:
        """Return to each trainer its sums, its optimizer's state and its position in the schedule."""
        names = next(iter(self.graphs.values())).names if self.graphs else []
        schedule, lr = self.first.update.scheduler.state_dict(), self.first.update.optimizer.param_groups[0]["lr"]
        for i, trainer in enumerate(self.trainers):
            trainer.totals.names = [*names, "loss"]
            if rows:
                trainer.totals.extend(torch.stack([row[i] for row in rows]), counts)
            trainer.progress.done += sum(counts)
            optimizer = trainer.update.optimizer
            for parameter, own in zip(self.parameters, self.own_parameters[i], strict=True):
                optimizer.state[own] = {
                    name: value[i] if isinstance(value, Tensor) and value.ndim else copy.deepcopy(value)
                    for name, value in self.optimizer.state[parameter].items()
                }
            if trainer is not self.first:
                trainer.update.scheduler.load_state_dict(schedule)
                optimizer.param_groups[0]["lr"] = lr


def all_values(module: LossModule) -> list[Tensor]:
    """Weights, then buffers."""
    return [*module.parameters(), *module.buffers()]


def generator(device: torch.device, state: Tensor) -> torch.Generator:
    found = torch.Generator(device)
    found.set_state(state)
    return found


def clip_each(parameters: Sequence[Tensor], largest: float) -> None:
    """Scale the gradients of each run, the first dimension, to a common norm of at most `largest`."""
    gradients = [p.grad.flatten(1) for p in parameters if p.grad is not None]
    norm = torch.stack([gradient.norm(dim=1) for gradient in gradients]).norm(dim=0)  # (N,)
    factor = (largest / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1)
    for gradient in gradients:
        gradient.mul_(factor)
