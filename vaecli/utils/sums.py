"""A sum over the processes of a run, through which gradients flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaecli.utils.ranks import add_up


class SumOverRanks(torch.autograd.Function):
    """Adds a tensor up over all processes, of which each computes the same loss.

    What is differentiated is the sum of all these equal losses, since DistributedDataParallel divides the sum of the
    gradients by the number of processes again. A term's gradient is therefore the sum of those that the processes have
    for the total. Where all use it alike, that is `world` times the own one; where they use it apart, each in the terms
    of its own observations, they are added up.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, world: int, used_apart: bool) -> Tensor:
        ctx.world, ctx.used_apart = world, used_apart
        return add_up(values.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        own = gradients[0]
        return (add_up(own.clone()) if ctx.used_apart else own * ctx.world), None, None
