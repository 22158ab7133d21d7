"""The distributions of columns of numbers and categories, elementwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

MOST_LOG = 30.0  # largest logarithm of a positive number or a count: e^30 is 10^13, and float32 does not overflow
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)  # integrates smooth functions nearly to single precision
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Elementwise(Distribution):
    """The base of the distributions of G columns, batch shape (..., G)."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012

    def __init__(self, shape: torch.Size) -> None:
        super().__init__(shape, validate_args=False)

    def shape(self, sample_shape: Any) -> torch.Size:
        return self._extended_shape(torch.Size(sample_shape))


class MappedNormal(Elementwise):
    """x = g(y) for y ~ N(m, s^2) and g increasing: log p(x) = log N(h(x); m, s^2) + log h'(x), h the inverse of g."""

    def __init__(self, loc: Tensor, width: Tensor) -> None:
        super().__init__(loc.shape)
        self.loc, self.width = loc, width

    def inverse(self, x: Tensor) -> Tensor:
        """h(x)."""
        return x

    def forward(self, y: Tensor) -> Tensor:
        """g(y)."""
        return y

    def log_slope(self, x: Tensor) -> Tensor:
        """log h'(x)."""
        return torch.zeros_like(x)

    def log_prob(self, value: Tensor) -> Tensor:
        u = (self.inverse(value) - self.loc) / self.width
        return -0.5 * u.square() - self.width.log() - HALF_LOG_2PI + self.log_slope(value)

    def at_nodes(self) -> tuple[Tensor, Tensor]:
        """g at the nodes of a Gauss-Hermite rule, the nodes leading, and the rule's weights."""
        nodes = self.loc.new_tensor(NODES).reshape(-1, *(1,) * self.loc.ndim)
        weights = self.loc.new_tensor(WEIGHTS / WEIGHTS.sum())
        return self.forward(self.loc + self.width * nodes), weights

    @property
    def mean(self) -> Tensor:
        x, weights = self.at_nodes()
        return torch.tensordot(weights, x, 1)

    @property
    def variance(self) -> Tensor:
        x, weights = self.at_nodes()
        return torch.tensordot(weights, (x - torch.tensordot(weights, x, 1)).square(), 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self.shape(sample_shape)
        return self.forward(self.loc + self.width * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))


class Reals(MappedNormal):
    """Normal numbers."""

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.width.square()


class Positives(MappedNormal):
    """Log-normal numbers: h(x) = log x."""

    def inverse(self, x: Tensor) -> Tensor:
        return x.clamp_min(torch.finfo(x.dtype).tiny).log()

    def forward(self, y: Tensor) -> Tensor:
        return y.clamp(max=MOST_LOG).exp()

    def log_slope(self, x: Tensor) -> Tensor:
        return -x.clamp_min(torch.finfo(x.dtype).tiny).log()

    @property
    def mean(self) -> Tensor:
        return self.forward(self.loc + self.width.square() / 2)

    @property
    def variance(self) -> Tensor:
        return self.mean.square() * self.width.square().clamp(max=MOST_LOG).expm1()


class Intervals(MappedNormal):
    """Logit-normal numbers between two ends; numbers beyond an end are set to the end.

    With w the width and e the reach beyond either end, h(x) = logit((x - low + e) / (w + 2 e)). Inside, the density is
    that of the formula. The ends have the masses P(y < h(low)) and P(y > h(high)), which are 0 for e = 0.
    """

    margin = 1e-6  # of a share, for finite logits

    def __init__(self, loc: Tensor, width: Tensor, ends: tuple[Tensor, Tensor], reach: Tensor) -> None:
        super().__init__(loc, width)
        (self.low, self.high), self.reach = ends, reach

    def inverse(self, x: Tensor) -> Tensor:
        return torch.logit((x - self.low + self.reach) / self.span, eps=self.margin)

    @property
    def span(self) -> Tensor:
        return self.high - self.low + 2 * self.reach

    def forward(self, y: Tensor) -> Tensor:
        x = self.low - self.reach + self.span * torch.sigmoid(y)
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def log_slope(self, x: Tensor) -> Tensor:
        share = ((x - self.low + self.reach) / self.span).clamp(self.margin, 1 - self.margin)
        return -share.log() - torch.log1p(-share) - self.span.log()

    def log_prob(self, value: Tensor) -> Tensor:
        at_low, at_high = (value <= self.low) & (self.reach > 0), (value >= self.high) & (self.reach > 0)
        u = (self.inverse(value) - self.loc) / self.width
        mass = torch.special.log_ndtr(torch.where(at_high, -u, u).clamp_min(-1e4))
        return torch.where(at_low | at_high, mass, super().log_prob(value))


class PositivesAndZeros(Elementwise):
    """0 with the probability p, else log-normal: a mass at 0 and a density (1 - p) p(x) beyond."""

    def __init__(self, logit: Tensor, positives: Positives) -> None:
        super().__init__(positives.batch_shape)
        self.logit, self.positives = logit, positives

    def log_prob(self, value: Tensor) -> Tensor:
        beyond = F.logsigmoid(-self.logit) + self.positives.log_prob(value.clamp_min(torch.finfo(value.dtype).tiny))
        return torch.where(value <= 0, F.logsigmoid(self.logit), beyond)

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(-self.logit) * self.positives.mean

    @property
    def variance(self) -> Tensor:
        share, mean = torch.sigmoid(-self.logit), self.positives.mean
        return share * (self.positives.variance + (1 - share) * mean.square())

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        there = torch.rand(self.shape(sample_shape)).to(self.logit) < torch.sigmoid(-self.logit)
        return there * self.positives.sample(sample_shape)


class Codes(Elementwise):
    """P(k) for the codes k = 0, 1 ... of categories, from log-probabilities (..., G, K)."""

    def __init__(self, log_p: Tensor) -> None:
        super().__init__(log_p.shape[:-1])
        self.log_p = log_p

    def log_prob(self, value: Tensor) -> Tensor:
        k = value.round().clamp(0, self.log_p.shape[-1] - 1).to(torch.int64)
        shape = torch.broadcast_shapes(k.shape, self.batch_shape)
        return self.log_p.expand(*shape, -1).gather(-1, k.expand(shape).unsqueeze(-1)).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        """The most likely code: categories have no mean."""
        return self.log_p.argmax(-1).to(self.log_p.dtype)

    @property
    def variance(self) -> Tensor:
        """The variance of the codes, which only shows how widely the probability is spread."""
        k = torch.arange(self.log_p.shape[-1], dtype=self.log_p.dtype, device=self.log_p.device)
        p = self.log_p.exp()
        return (p * k.square()).sum(-1) - (p * k).sum(-1).square()

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape, n = self.shape(sample_shape), torch.Size(sample_shape).numel()
        chances = self.log_p.exp().reshape(-1, self.log_p.shape[-1])
        return torch.multinomial(chances, n, replacement=True).T.reshape(shape).to(self.log_p.dtype)


class Fixed(Elementwise):
    """One value with certainty."""

    def __init__(self, value: Tensor, shape: torch.Size) -> None:
        super().__init__(shape)
        self.value = value.expand(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value + self.value)

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.value.expand(self.shape(sample_shape))
