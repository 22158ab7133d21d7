"""Weights far from where they start, and grids to integrate over."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def shaken(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / max(parameter.shape[-1], 1) ** 0.5)
    return module


def grid(dim: int, span: float = 9.0, n: int = 401) -> Tensor:
    points = torch.linspace(-span, span, n, dtype=torch.float64)
    return torch.cartesian_prod(*[points] * dim).reshape(-1, dim)
