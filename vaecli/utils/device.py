"""Devices: the one that a configuration names, and its most precise float type."""

from __future__ import annotations

import torch

from vaecli.utils.errors import UserError
from vaecli.utils.ranks import world


def pick_device(name: str) -> torch.device:
    """The device `auto` (the fastest one), cpu, cuda, cuda:1 ... or mps; UserError if it is not available."""
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if world() > 1 and torch.cuda.is_available() and name in ("auto", "cuda"):
        return torch.device("cuda", torch.cuda.current_device())  # of this process
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise UserError(f"device={name}: not available on this machine; allowed here: auto, {', '.join(available)}")
    return torch.device(name)


def widest_float(device: torch.device) -> torch.dtype:
    """The most precise float type of a device."""
    return torch.float32 if device.type == "mps" else torch.float64
