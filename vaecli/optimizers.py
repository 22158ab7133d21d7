"""torch's optimizers, with their arguments checked and the fused step where there is one."""

from collections.abc import Iterable

import torch
from torch import nn

from vaecli.utils.types import NonNegativeFloat, PositiveFloat


def adam(
    params: Iterable[nn.Parameter],
    lr: PositiveFloat = 4e-3,
    betas: tuple[NonNegativeFloat, NonNegativeFloat] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015); `weight_decay` adds to the gradient."""
    return torch.optim.Adam(params, lr, betas, eps, weight_decay, fused=True)


def adamw(
    params: Iterable[nn.Parameter],
    lr: PositiveFloat = 4e-3,
    betas: tuple[NonNegativeFloat, NonNegativeFloat] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.1,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    return torch.optim.AdamW(params, lr, betas, eps, weight_decay, fused=True)


def sgd(
    params: Iterable[nn.Parameter],
    lr: PositiveFloat = 1e-3,
    momentum: NonNegativeFloat = 0.9,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(params, lr, momentum, weight_decay=weight_decay, fused=True)
