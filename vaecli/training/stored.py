"""What the training state in a checkpoint must be like before training goes on from it: a file can claim anything."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import torch
from torch import Tensor


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


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_moments(optimizer: torch.optim.Optimizer) -> None:
    """ValueError unless what an optimizer has been given for each parameter is of its shape, or a single number."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if not isinstance(value, Tensor) or (value.shape != parameter.shape and value.numel() != 1):
                raise ValueError(f"the optimizer's {name} does not fit a parameter of shape {tuple(parameter.shape)}")
