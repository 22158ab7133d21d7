"""The state that training resumes from, as in last.safetensors, and checks that it fits the configuration."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vaecli.runs.records import Summary
from vaecli.schedulers import Scheduler, advance
from vaecli.utils.schema import is_number
from vaecli.utils.types import StateDict, Values

OTHER_CANDIDATES = ("ema",)  # the candidates there may be besides the model's own weights
PERIODS = {"T_max", "total_steps", "step_size"}  # entries of a schedule's state that the configuration determines


class Best(NamedTuple):
    """The best validation so far; bounds are higher where they are better."""

    epoch: int = 0  # 0: none yet
    bound: float | None = None  # None: none that is comparable with later ones
    elbo: float | None = None
    validations_since_best: int = 0

    def to_dict(self) -> StateDict:
        """As checkpoints hold it."""
        return {
            "epoch": self.epoch, "bound": self.bound, "elbo": self.elbo, "waited": self.validations_since_best,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Any) -> Best:
        """The inverse of `to_dict`; ValueError for anything else."""
        if not isinstance(stored, dict) or stored.keys() != cls().to_dict().keys():
            raise ValueError("its record of the best epoch has other entries than epoch, bound, elbo and waited")
        best = cls(stored["epoch"], stored["bound"], stored["elbo"], stored["waited"])
        counts = all(type(n) is int and n >= 0 for n in (best.epoch, best.validations_since_best))
        if not counts or not all(value is None or is_number(value) for value in (best.bound, best.elbo)):
            raise ValueError("its record of the best epoch is not made of numbers")
        return best


class CandidateState(NamedTuple):
    """The state of a candidate other than the model's own weights."""

    source: StateDict
    best: Best

    def to_dict(self) -> StateDict:
        """As last.safetensors holds it."""
        return {"model": self.source, "best": self.best.to_dict()}

    @classmethod
    def from_dict(cls, stored: Any) -> CandidateState:
        """The inverse of `to_dict`; ValueError for anything else."""
        if not isinstance(stored, dict) or stored.keys() != {"model", "best"} or not isinstance(stored["model"], dict):
            raise ValueError("its averaged weights are not what this training would have stored")
        return cls(stored["model"], Best.from_dict(stored["best"]))


class TrainingState(NamedTuple):
    """Everything that later steps depend on."""

    model: StateDict
    optimizer: StateDict
    scheduler: StateDict
    step: int
    epoch: int  # completed
    best: Best
    rng: dict[str, Tensor]
    partial: StateDict | None = None  # the sums of an unfinished epoch
    others: Mapping[str, CandidateState] = MappingProxyType({})  # of the other candidates, by checkpoint

    def to_dict(self) -> StateDict:
        """As checkpoints hold it."""
        entries = {**self._asdict(), "best": self.best.to_dict()}
        del entries["others"]
        if self.partial is None:
            del entries["partial"]
        return entries | {name: other.to_dict() for name, other in self.others.items()}

    @classmethod
    def from_dict(cls, stored: StateDict) -> TrainingState:
        """From a checkpoint that `checkpoint.load` has read; ValueError where its entries are of another form."""
        entries = {key: stored[key] for key in ("model", "optimizer", "scheduler", "step", "epoch", "rng")}
        others = {name: CandidateState.from_dict(stored[name]) for name in OTHER_CANDIDATES if name in stored}
        return cls(**entries, best=Best.from_dict(stored["best"]), partial=stored.get("partial"), others=others)


class ResumeState(NamedTuple):
    """What a resumed run has done already."""

    training: TrainingState | None  # of its last checkpoint; None if it was stopped before the first one
    changes: Values  # the keys that the command line changes
    history: Sequence[Values]  # its lines of metrics.jsonl up to that checkpoint
    summary: Summary

    @property
    def replanned(self) -> bool:
        """Whether the schedule or the optimizer's settings change."""
        return any(key == "epochs" or key.startswith(("scheduler", "optimizer")) for key in self.changes)


def check_position(state: TrainingState, n_train: int, batch_size: int) -> None:
    """ValueError unless a state's step lies in the epoch after the completed ones."""
    done = state.step - state.epoch * -(-n_train // batch_size)
    if state.epoch < 0 or not 0 <= done * batch_size < n_train:
        raise ValueError(f"step {state.step} is not in the epoch after epoch {state.epoch}")


def restore_average(average: nn.Module, stored: StateDict, steps: int) -> None:
    """Restore averaged weights; ValueError unless they are the average of `steps` steps."""
    average.load_state_dict(stored)
    n_averaged = int(average.get_buffer("n_averaged"))
    if n_averaged != steps:
        raise ValueError(f"the averaged weights are those of {n_averaged} steps")


def restore_schedule(optimizer: torch.optim.Optimizer, scheduler: Scheduler, state: TrainingState) -> None:
    """Restore an optimizer and its schedule; ValueError if the state belongs to another kind."""
    own = scheduler.state_dict()
    check_like("scheduler", own, state.scheduler)
    check_like("optimizer", optimizer.state_dict()["param_groups"], state.optimizer["param_groups"])
    for key in PERIODS & own.keys():
        if own[key] != state.scheduler[key]:
            raise ValueError(f"scheduler.{key} is {state.scheduler[key]}, not {own[key]}")
    optimizer.load_state_dict(state.optimizer)
    check_moments(optimizer)
    scheduler.load_state_dict(state.scheduler)


def restore_moments(optimizer: torch.optim.Optimizer, scheduler: Scheduler, state: TrainingState) -> None:
    """Restore an optimizer's moments, but keep its new settings and the new schedule."""
    advance(scheduler, state.step)
    settings = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state.optimizer)
    check_moments(optimizer)
    for group, new in zip(optimizer.param_groups, settings, strict=True):
        group.update(new)


def check_like(what: str, own: Any, stored: Any) -> None:
    """ValueError unless a stored state has the form of a new one: the same keys, lengths, types and tensor shapes.

    Where the new state has None, the stored one may have a number.
    """
    if isinstance(own, dict) and isinstance(stored, dict) and own.keys() == stored.keys():
        for key in own:
            check_like(f"{what}.{key}", own[key], stored[key])
    elif isinstance(own, list | tuple) and isinstance(stored, list | tuple) and len(own) == len(stored):
        for i, pair in enumerate(zip(own, stored, strict=True)):
            check_like(f"{what}[{i}]", *pair)
    elif isinstance(own, Tensor) and isinstance(stored, Tensor):
        if own.shape != stored.shape or own.dtype != stored.dtype:
            raise ValueError(f"{what} has the shape {tuple(stored.shape)} of {stored.dtype}")
    elif is_number(own) or own is None:
        if not (is_number(stored) or (own is None and stored is None)):
            raise ValueError(f"{what} is not a number")
    elif type(own) is not type(stored) or isinstance(own, dict | list | tuple):
        raise ValueError(f"{what} is not what this training would have stored")


def check_moments(optimizer: torch.optim.Optimizer) -> None:
    """ValueError unless an optimizer of torch has for each parameter the state that its own step would leave.

    The fused steps read a parameter's moments without checking their shapes.
    """
    if not type(optimizer).__module__.startswith("torch.optim"):
        return
    own = after_one_step(optimizer)
    for parameter, values in optimizer.state.items():
        if values.keys() != own.keys():
            raise ValueError(f"the optimizer's state should be {', '.join(own) or 'empty'}")
        for name, value in values.items():
            moment = isinstance(own[name], Tensor) and own[name].ndim > 0
            check_like(f"the optimizer's {name}", parameter.detach() if moment else own[name], value)


def after_one_step(optimizer: torch.optim.Optimizer) -> StateDict:
    """The state that an optimizer of this kind and these settings keeps for a small parameter."""
    parameter = torch.zeros(2, 3, requires_grad=True)
    parameter.grad = torch.zeros(2, 3)
    other = copy.copy(optimizer)
    other.state = defaultdict(dict)
    other.param_groups = [{**optimizer.param_groups[0], "params": [parameter]}]
    other.step()
    return dict(other.state[parameter])
