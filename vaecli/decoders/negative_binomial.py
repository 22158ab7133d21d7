"""Counts whose variance exceeds their mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Gamma
from torch.nn import functional as F

from vaecli.decoders.base import inverse_softplus
from vaecli.decoders.grid import CountDecoder, GridDistribution, Total, log_softplus
from vaecli.decoders.saddle_point import deviance, log_factorial, log_one_plus, stirling
from vaecli.utils.types import PositiveFloat


class OverdispersedCounts(GridDistribution):
    """Poisson counts whose rate is itself drawn from a gamma distribution of mean m and variance m^2 / r.

    P(k) = gamma(k + r) / (gamma(r) k!) (m / (m + r))^k (r / (m + r))^r, the mean of x = step k being softplus(a).
    """

    def __init__(self, raw_mean: Tensor, r: Tensor, step: float) -> None:
        self.raw_mean, self.r = torch.broadcast_tensors(raw_mean, r)
        super().__init__(self.raw_mean.shape, step)

    def log_prob(self, value: Tensor) -> Tensor:
        k, m, r = self.count(value), self.mean / self.step, self.r
        log_m = log_softplus(self.raw_mean) - math.log(self.step)
        n, total, excess = k + r, m + r, k - m
        log_k, log_totals = k.clamp_min(1).log(), log_one_plus(excess / total, n / total)
        part = excess / (1 + m / r)  # k - n m / (m + r), which is n r / (m + r) - r
        away = deviance(k, log_k - log_m - log_totals, part) + deviance(r, -log_totals, -part)
        return stirling(n) - stirling(r) - 0.5 * torch.log1p(k / r) - log_factorial(k, log_k) - away

    @property
    def mean(self) -> Tensor:
        return F.softplus(self.raw_mean)

    @property
    def variance(self) -> Tensor:
        return self.mean * self.step + self.mean.square() / self.r

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        share = Gamma(self.r, self.r, validate_args=False).sample(torch.Size(sample_shape))  # of mean 1
        return torch.poisson(share * self.mean / self.step) * self.step


class NegativeBinomial(CountDecoder):
    """Independent counts of mean m and variance m + m^2 / r, both learned for each dimension and observation:

    log p(x|z) = sum_i log gamma(k + r) - log gamma(r) - log k! + k log(m / (m + r)) + r log(r / (m + r)), k = x / step.
    Lopez et al. (2018), for single-cell counts. The network emits a with m = softplus(a) / step
    and b with r = min_count + softplus(b); as r grows, the Poisson distribution is what remains.

    step: one count in x's units: 1 for whole numbers, 1/255 for 8-bit images in [0, 1]
    min_count: floor of r, for finite gradients
    log1p: the encoder is given log(1 + x)
    total: `learned`: the mean is l softmax(a), log l from z; `observed`: l is x's own total; None: softplus(a)
    """

    option = "negative_binomial"
    n_of_family = 2

    def __init__(
        self,
        x_shape: tuple[int, ...],
        step: PositiveFloat,
        min_count: PositiveFloat = 1e-3,
        log1p: bool | None = None,
        total: Total | None = None,
    ) -> None:
        super().__init__(x_shape, step, log1p, total)
        self.min_count = min_count

    def family(self, raw: Tensor, raw_count: Tensor) -> OverdispersedCounts:  # type: ignore[override]
        return OverdispersedCounts(raw, self.min_count + F.softplus(raw_count), self.step)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The data's mean, of at least `margin`, and r of 1."""
        return self.params_of_mean(mean.clamp_min(margin), inverse_softplus(torch.ones_like(mean)))
