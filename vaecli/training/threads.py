"""How many processor cores a step is shared between."""

from __future__ import annotations

import os

import torch
from torch import nn

SMALL_STEP = 1e8  # floating-point operations: one or two milliseconds of one core
DEFAULT = torch.get_num_threads()


def share_out(model: nn.Module, draws: int) -> None:
    """One thread for small steps, torch's default for others, unless OMP_NUM_THREADS decides.

    A small step gains little from a second core, and on a busy machine loses much: the threads wait for each other
    dozens of times a step. The count is three matrix products of two operations per weight and draw of z.
    draws: of z in a step
    """
    if "OMP_NUM_THREADS" not in os.environ:
        operations = 6 * draws * sum(p.numel() for p in model.parameters())
        torch.set_num_threads(1 if operations < SMALL_STEP else DEFAULT)
