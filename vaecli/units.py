"""What stands between the data's own units and the networks', learned from the training data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONSTANT = 1e-7  # a spread below this share of the mean is rounding: float32 holds no more digits


class Standardizer(nn.Module):
    """x -> (x - mean) / scale, for each of the numbers of an observation; what never varies keeps its scale of 1."""

    mean: Tensor
    scale: Tensor

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(x_shape))
        self.register_buffer("scale", torch.ones(x_shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale

    def learn(self, mean: Tensor, scale: Tensor) -> None:
        """Take the training data's means and standard deviations (*x_shape), float64."""
        constant = scale <= CONSTANT * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 1.0, scale))


class Filler(nn.Module):
    """x -> x with the training data's mean in the place of what is missing (NaN)."""

    value: Tensor

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(x_shape))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.isnan(), self.value, x)

    def learn(self, mean: Tensor, scale: Tensor) -> None:
        """Take the training data's means (*x_shape), float64."""
        self.value.copy_(mean)
