"""Counts whose variance exceeds their mean, with more zeros than a negative binomial has."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution
from torch.nn import functional as F

from vaecli.decoders.base import inverse_softplus
from vaecli.decoders.grid import GridDistribution
from vaecli.decoders.negative_binomial import NegativeBinomial, OverdispersedCounts

LOGIT_AT_START = -2.0  # of the share of extra zeros: about one in eight


class ExtraZeros(GridDistribution):
    """0 with a probability p = sigmoid(b), else a count: P(0) = p + (1 - p) P_c(0), P(k) = (1 - p) P_c(k)."""

    def __init__(self, counts: OverdispersedCounts, logit: Tensor) -> None:
        super().__init__(counts.batch_shape, counts.step)
        self.counts, self.logit = counts, logit.expand(counts.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        counted = F.logsigmoid(-self.logit) + self.counts.log_prob(value)
        return torch.where(self.count(value) == 0, torch.logaddexp(F.logsigmoid(self.logit), counted), counted)

    @property
    def share(self) -> Tensor:
        """1 - p: the probability that the value is a count."""
        return torch.sigmoid(-self.logit)

    @property
    def mean(self) -> Tensor:
        return self.share * self.counts.mean

    @property
    def variance(self) -> Tensor:
        return self.share * (self.counts.variance + torch.sigmoid(self.logit) * self.counts.mean.square())

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        there = Bernoulli(self.share, validate_args=False).sample(torch.Size(sample_shape))
        return there * self.counts.sample(sample_shape)


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Negative binomial counts of which a share p is replaced by zeros, p learned for each dimension and observation:

    P(k) = p [k = 0] + (1 - p) P_nb(k); Lopez et al. (2018), for single-cell counts whose zeros are partly failures to
    measure. The network emits a and b as of NegativeBinomial, and the logit of p.

    step: one count in x's units: 1 for whole numbers, 1/255 for 8-bit images in [0, 1]
    min_count: floor of r, for finite gradients
    log1p: the encoder is given log(1 + x)
    total: `learned`: the mean of P_nb is l softmax(a), log l from z; `observed`: l is x's own total; None: it is
        softplus(a)
    """

    option = "zero_inflated"
    n_of_family = 3

    def family(self, raw: Tensor, raw_count: Tensor, logit: Tensor) -> Distribution:  # type: ignore[override]
        return ExtraZeros(super().family(raw, raw_count), logit)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The data's mean, of at least `margin`, r of 1, and the share of LOGIT_AT_START for extra zeros."""
        logit = torch.full_like(mean, LOGIT_AT_START)
        counted = mean.clamp_min(margin) / torch.sigmoid(-logit)
        return self.params_of_mean(counted, inverse_softplus(torch.ones_like(mean)), logit)
