"""Counts whose variance equals their mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from vaecli.decoders.grid import CountDecoder, GridDistribution, log_softplus
from vaecli.decoders.saddle_point import deviance, log_factorial


class PoissonCounts(GridDistribution):
    """P(k) = m^k e^-m / k! with the rate m = softplus(a) / step, so that softplus(a) is the mean of x = step k.

    log P(k) = -(k log(k / m) - k + m) - (log k! - k log k + k); both terms are of the size of the
    result, so that no digits cancel.
    """

    def __init__(self, raw: Tensor, step: float) -> None:
        super().__init__(raw.shape, step)
        self.raw = raw

    def log_prob(self, value: Tensor) -> Tensor:
        k, m = self.count(value), self.mean / self.step
        log_m = log_softplus(self.raw) - math.log(self.step)
        log_k = k.clamp_min(1).log()
        return -deviance(k, log_k - log_m, k - m) - log_factorial(k, log_k)

    @property
    def mean(self) -> Tensor:
        return F.softplus(self.raw)

    @property
    def variance(self) -> Tensor:
        return self.mean * self.step

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        rate = (self.mean / self.step).expand(self._extended_shape(torch.Size(sample_shape)))
        return torch.poisson(rate) * self.step


class Poisson(CountDecoder):
    """Independent counts: log p(x|z) = sum_i k_i log m_i - m_i - log k_i!, k = x / step.

    The network emits a with m = softplus(a) / step. The variance of a count is its mean; where data vary more, as
    nearly all do, decoder=negative_binomial has a parameter for it.

    step: one count in x's units: 1 for whole numbers, 1/255 for 8-bit images in [0, 1]
    log1p: the encoder is given log(1 + x)
    total: `learned`: the mean is l softmax(a), log l from z; `observed`: l is x's own total; None: softplus(a)
    """

    option = "poisson"
    n_of_family = 1

    def family(self, raw: Tensor, *others: Tensor) -> Distribution:
        return PoissonCounts(raw, self.step)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The data's mean, of at least `margin`."""
        return self.params_of_mean(mean.clamp_min(margin))
