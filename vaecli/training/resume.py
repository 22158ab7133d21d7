"""What a run goes on from: its stored state, what may change, and whether it fits."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaecli.models.load import readable
from vaecli.runs import checkpoint
from vaecli.runs.access import Unasked, is_own, paths_of
from vaecli.runs.config import REQUEST_KEYS, Option, RunConfig, is_immutable, read_config
from vaecli.runs.folder import BEST, LAST, RunFolder
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.schema import flatten, is_number, plain
from vaecli.utils.types import Values


def read_state(folder: RunFolder) -> dict[str, Any] | None:
    """The run's last checkpoint; None where it was stopped before it had written one."""
    return checkpoint.load(folder.checkpoint(LAST)) if folder.has(LAST) else None


def changes_of(stored: RunConfig, given: RunConfig, keys: Sequence[str]) -> Values:
    """What the command line changes of a run that goes on; UserError for a change of what has been trained.

    given: as composed from the command line; keys: those that were typed there
    """
    before, below = flatten(stored.values()), tuple(f"{key}." for key in keys)
    typed = {key: value for key, value in flatten(given.values()).items() if key in keys or key.startswith(below)}
    changes = {key: value for key, value in typed.items() if value != before.get(key)}
    refused = [key for key in changes if is_immutable(key)]
    if refused:
        was = ", ".join(f"{key}={plain(before.get(key))}" for key in refused)
        raise UserError(
            f"resume={given.resume}: {', '.join(refused)} cannot change in a run that goes on (it has {was}); "
            "leave it out, or start a new run"
        )
    return changes


def changing(stored: RunConfig, given: RunConfig, keys: Sequence[str]) -> list[str]:
    """The keys typed, without requests and without options that the run has: naming them again changes nothing."""
    same = {key for key, option in given.options.items() if stored.options[key].name == option.name}
    return [key for key in keys if key not in REQUEST_KEYS and key not in same]


def asked_for(config: RunConfig, keys: Sequence[str]) -> RunConfig:
    """The configuration of a new run: as composed, or that of the run that it repeats, with the keys typed in place."""
    if config.repeat is None:
        return config
    path = expanded(config.repeat)
    stored = RunConfig.completed(read_config(path), config)
    changed = stored.with_changes(config, keys)
    return changed if "dataset" in keys else permitted(stored, changed, path if path.is_dir() else path.parent, keys)


def permitted(stored: RunConfig, config: RunConfig, folder: Path, keys: Sequence[str]) -> RunConfig:
    """`config` with the data's paths as they may be read; UserError where the run in `folder`, whose configuration
    was `stored`, would read what no key typed names."""
    own = is_own(RunFolder(folder).known_summary().get("id"), stored.dataset)
    given = {key: path for key, path in paths_of(config.dataset).items() if f"dataset.{key}" in keys}
    dataset, unread = readable(config.dataset, folder, own, given)
    if unread:
        raise Unasked(folder, unread)
    return replace(config, dataset=Option(dataset))


def with_later_best(folder: RunFolder, state: dict[str, Any]) -> dict[str, Any]:
    """The state, with the records of a best.pt and ema.pt written after it: the epochs to come may be worse."""
    state = {**state, "best": later(folder, BEST, state["best"])}
    ema = state.get("ema")
    if isinstance(ema, dict) and isinstance(ema.get("best"), dict):
        state["ema"] = {**ema, "best": later(folder, "ema", ema["best"])}
    return state


def later(folder: RunFolder, which: str, best: dict[str, Any]) -> dict[str, Any]:
    """The record in a checkpoint where it is of a later epoch than `best`."""
    found = checkpoint.load(folder.checkpoint(which))["best"] if folder.has(which) else best
    new, old = found.get("epoch"), best.get("epoch")
    return found if is_number(new) and is_number(old) and new > old else best


def nothing_left(config: RunConfig, state: dict[str, Any]) -> str | None:
    """Why a completed run does not go on, and what would make it; None where there are epochs left to train."""
    epoch, patience, waited = state["epoch"], config.early_stopping.patience, state["best"].get("waited")
    if epoch >= config.epochs:
        return f"is complete: {epoch} epochs. epochs=N with a larger N trains on."
    if patience is not None and is_number(waited) and waited >= patience:
        return f"was stopped early: {epoch} epochs. early_stopping.patience=M with a larger M, or null, trains on."
    return None


def best_bound(state: dict[str, Any]) -> float:
    bound = state["best"].get("bound")
    return float(bound) if is_number(bound) else math.nan


def resume_command(folder: RunFolder) -> str:
    """What to type to go on with a run."""
    return command(["vae-train", setting("resume", folder.path)])


def check_like(what: str, own: Any, stored: Any) -> None:
    """ValueError unless a stored state has the form of a new one: the same keys, lengths, types and tensor shapes.

    Where the new one has None yet, a number may be.
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
            raise ValueError(f"{what} is no number")
    elif type(own) is not type(stored) or isinstance(own, dict | list | tuple):
        raise ValueError(f"{what} is not what this training would have stored")


def check_moments(optimizer: torch.optim.Optimizer) -> None:
    """ValueError unless an optimizer of torch's has for each parameter what its own step leaves there.

    The fused steps read the moments of a parameter without a look at their shape.
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


def after_one_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What an optimizer of this kind and these settings keeps for a small parameter."""
    parameter = torch.zeros(2, 3, requires_grad=True)
    parameter.grad = torch.zeros(2, 3)
    other = copy.copy(optimizer)
    other.state = defaultdict(dict)
    other.param_groups = [{**optimizer.param_groups[0], "params": [parameter]}]
    other.step()
    return dict(other.state[parameter])
