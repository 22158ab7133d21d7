"""Sums and means over the batch of a run, over all its processes, with gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vaecli.utils.ranks import all_reduce_sum, current_share, without_repeats, world


def batch_mean(values: Tensor, dim: int = 0, used_apart: bool = False) -> Tensor:
    """The mean () of all numbers of a batch, over all processes, with gradient; dim: that of the observations.

    used_apart: whether each process uses the mean in the terms of its own observations, rather than once in the loss
    """
    share = current_share()
    if share is None:
        return values.mean()
    n = math.prod(values.shape[:dim]) * share.total * math.prod(values.shape[dim + 1 :])
    return summed(without_repeats(values, dim).sum(), used_apart) / n


def mean_over_batch(values: Tensor) -> Tensor:
    """The mean of values (B, ...) over a batch's observations (...); over all processes, with gradient."""
    share = current_share()
    return values.mean(0) if share is None else summed(without_repeats(values).sum(0)) / share.total


def summed(values: Tensor, used_apart: bool = False) -> Tensor:
    """The sum over all processes, with gradient: see SumOverRanks."""
    share = current_share()
    if share is not None and share.apart:
        return values
    total: Tensor = SumOverRanks.apply(values, world(), used_apart)
    return total


class SumOverRanks(torch.autograd.Function):
    """Adds a tensor up over all processes, of which each computes the same loss.

    Differentiation is of the sum of all these equal losses, because DistributedDataParallel divides the sum of the
    gradients by the number of processes again. The gradient of a term is therefore the sum of the gradients that all
    processes have with respect to the total. If all use the total in the same way, this is `world` times the gradient
    of this process. If each uses it in the terms of its own observations (`used_apart`), the gradients are added up.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, world: int, used_apart: bool) -> Tensor:
        ctx.world, ctx.used_apart = world, used_apart
        return all_reduce_sum(values.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        own = gradients[0]
        return (all_reduce_sum(own.clone()) if ctx.used_apart else own * ctx.world), None, None
