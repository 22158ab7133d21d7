"""What the training state in a checkpoint must be like before training goes on from it: a file can claim anything."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from vaecli.validation import is_number


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
