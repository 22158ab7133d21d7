"""The total count of an observation, modelled separately from the shares of its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from vaecli.decoders.base import inverse_softplus

TINY_LOG = -15.0  # below, log(e^y - 1) of y = e^t is t to the last digit of single precision


def raw_of_log(log_mean: Tensor) -> Tensor:
    """a with softplus(a) = e^t, for log-means t of any size."""
    large = inverse_softplus(log_mean.clamp_min(TINY_LOG).exp())
    return torch.where(log_mean < TINY_LOG, log_mean, large)


def log_shares(raw: Tensor, n_dims: int) -> Tensor:
    """log pi_i = a_i - log sum_j e^a_j over the last `n_dims` dimensions: each number's share of the whole."""
    return raw.flatten(-n_dims).log_softmax(-1).view_as(raw)


class GivenTotal(Distribution):
    """Counts given their total l: the mean of number i is l pi_i, where z determines the shares pi.

    log p(x | z, l), with l the observation's own total: a density of x given l, not of x. Lopez et al. (2018) with
    observed sizes. Draws take l from the log-normal distribution of the training data's totals.

    raw: (*batch_shape, *event_shape), logits of the shares
    family: from a with mean softplus(a) to the elementwise distribution
    log_total: (2,), mean and standard deviation of log l
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012

    def __init__(self, raw: Tensor, family: Callable[[Tensor], Distribution], log_total: Tensor, n_dims: int) -> None:
        batch, event = raw.shape[: raw.ndim - n_dims], raw.shape[raw.ndim - n_dims :]
        super().__init__(batch, event, validate_args=False)
        self.log_shares, self.family, self.log_total, self.n_dims = log_shares(raw, n_dims), family, log_total, n_dims

    @property
    def support(self) -> Any:
        return self.given(self.expected).support

    def given(self, total: Tensor) -> Independent:
        """The distribution for totals (...) that broadcast against the batch."""
        log_mean = self.log_shares + total.log().reshape(*total.shape, *(1,) * self.n_dims)
        return Independent(self.family(raw_of_log(log_mean)), self.n_dims, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        total = value.flatten(-self.n_dims).sum(-1).clamp_min(1e-6)  # an empty observation's has no logarithm
        return self.given(total).log_prob(value)

    @property
    def expected(self) -> Tensor:
        """The mean of l, (): e^(m + s^2 / 2)."""
        mean, scale = self.log_total
        return (mean + scale.square() / 2).exp()

    @property
    def mean(self) -> Tensor:
        return self.given(self.expected).mean

    @property
    def variance(self) -> Tensor:
        """By the law of total variance; given l, the variance is a l + b l^2, and Var l = (e^(s^2) - 1) (E l)^2."""
        once, twice = (self.given(n * self.expected).variance for n in (1, 2))
        square, excess = (twice - 2 * once) / 2, self.log_total[1].square().expm1()
        return once + square * excess + self.mean.square() * excess

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        shape = torch.Size(sample_shape) + self.batch_shape
        mean, scale = self.log_total
        return self.given((mean + scale * torch.randn(shape).to(mean)).exp()).sample()


def log_total_moments(totals: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the logarithms of totals (N,); empty observations are left out."""
    logs = totals[totals > 0].double().log()
    if not len(logs):
        return 0.0, 0.0
    return float(logs.mean()), float(logs.std(correction=0))
