"""Real-valued observations with independent normal noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaecli.decoders.location import LocationScale, Squeeze
from vaecli.utils.types import PositiveFloat

HALF_LOG_2PI = math.log(2 * math.pi) / 2


class SquaredNorm(torch.autograd.Function):
    """sum_i t_i^2, whose gradient 2 t takes one pass over t instead of two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor) -> Tensor:
        """t (..., D) -> (...)."""
        return torch.linalg.vecdot(t, t)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, up: Tensor) -> Tensor:
        (t,) = ctx.saved_tensors
        return (2 * up).unsqueeze(-1) * t


class IndependentNormals(Independent):
    """Independent normal numbers whose log-densities are summed while they are computed, in half the time."""

    base_dist: Normal

    def log_prob(self, value: Tensor) -> Tensor:
        n = self.reinterpreted_batch_ndims
        if n == 0:
            return self.base_dist.log_prob(value)
        loc, scale = self.base_dist.loc, self.base_dist.scale
        size = loc.shape[-n:].numel()
        if any(scale.stride()):
            squares = SquaredNorm.apply(((loc - value) / scale).flatten(-n))
            log_scales = scale.log().flatten(-n).sum(-1)
        else:  # one scale for all numbers
            scale = scale[(0,) * scale.ndim]
            squares = SquaredNorm.apply((loc - value).flatten(-n)) / scale.square()
            log_scales = size * scale.log()
        return -0.5 * squares - log_scales - size * HALF_LOG_2PI


class Gaussian(LocationScale):
    """Diagonal normal: log p(x|z) = -1/2 sum_i [((x_i - m_i) / s_i)^2 + 2 log s_i + log 2 pi].

    Kingma and Welling (2014), appendix C.2. The network emits the mean m and, unless `sigma` fixes it, a number a with
    s = min_scale + softplus(a).

    loc: the mean as the network emits it (`linear`), or squeezed into (0, 1) as in section 5 of the paper (`sigmoid`)
    sigma: the scale of every dimension; None: learned for each dimension and observation
    min_scale: floor of a learned scale. A dimension that never varies (the border of MNIST) has a density that grows
        without bound as its scale shrinks: without a floor the objective has no maximum.
    """

    family, joint = Normal, IndependentNormals

    def __init__(
        self,
        x_shape: tuple[int, ...],
        sigma: PositiveFloat | None = None,
        min_scale: PositiveFloat = 0.01,
        loc: Squeeze = "linear",
    ) -> None:
        super().__init__(x_shape, sigma, min_scale, loc)
