"""Numbers between 0 and 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from vaecli.decoders.base import DataFacts, Decoder, check_unit_interval, solve

SERIES_BELOW = 0.5  # below, the closed forms are differences of large numbers, and a power series is used
# log(sinh(a/2) / (a/2)) = sum_n B_2n / (2n (2n)!) a^2n, B_2n the Bernoulli numbers; the next term is below 1e-18
SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600, -691 / 15692092416000, 1 / 1046139494400)

BINARY = (
    "binary data under decoder=continuous_bernoulli: the density at 0 and 1 is unbounded: training never "
    "converges, and its figures depend on how long it runs. Use decoder=bernoulli."
)


class UnitInterval(Distribution):
    """p(x) = e^(a x) a / (e^a - 1) on [0, 1], the continuous Bernoulli of logit a; uniform for a = 0.

    Everything is computed from |a|, as p(x; -a) = p(1 - x; a), and near a = 0 from SERIES and its derivatives.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape, validate_args=False)
        self.logits, self.near = logits, logits.abs() < SERIES_BELOW
        # the arguments of the two formulas, with harmless numbers where they are not used
        self.small = torch.where(self.near, logits, torch.zeros_like(logits))
        self.far = torch.where(self.near, torch.ones_like(logits), logits.abs())

    def log_prob(self, value: Tensor) -> Tensor:
        square, near = self.small.square(), torch.zeros_like(self.small)
        for c in reversed(SERIES):
            near = square * (c + near)
        away = torch.where(self.logits < 0, value, 1 - value)  # from the likelier end
        far = self.far.log() - torch.log(-torch.expm1(-self.far)) - self.far * away
        return torch.where(self.near, (value - 0.5) * self.small - near, far)

    @property
    def mean(self) -> Tensor:
        """1 / (1 - e^-a) - 1 / a."""
        square, near = self.small.square(), torch.zeros_like(self.small)
        for n, c in reversed(list(enumerate(SERIES, 1))):
            near = square * near + 2 * n * c
        from_end = 1 / self.far + torch.exp(-self.far) / torch.expm1(-self.far)
        far = torch.where(self.logits < 0, from_end, 1 - from_end)
        return torch.where(self.near, 0.5 + near * self.small, far)

    @property
    def variance(self) -> Tensor:
        """1 / a^2 - 1 / (2 sinh(a/2))^2."""
        square, near = self.small.square(), torch.zeros_like(self.small)
        for n, c in reversed(list(enumerate(SERIES, 1))):
            near = square * near + 2 * n * (2 * n - 1) * c
        return torch.where(self.near, near, self.far**-2 - torch.exp(-self.far) / torch.expm1(-self.far) ** 2)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """By the inverse of the distribution function, with |a| kept from 0, where it would be 0 / 0."""
        t = self.logits.abs().clamp_min(torch.finfo(self.logits.dtype).eps)
        u = torch.rand(self._extended_shape(torch.Size(sample_shape)), dtype=t.dtype, device=t.device)
        away = -torch.log1p(u * torch.expm1(-t)) / t
        return torch.where(self.logits < 0, away, 1 - away)


class ContinuousBernoulli(Decoder):
    """Independent numbers in [0, 1]: log p(x|z) = sum_i x_i a_i - log((e^a_i - 1) / a_i), the network emitting a.

    Loaiza-Ganem and Cunningham (2019), in logits. It normalises what decoder=bernoulli leaves unnormalised
    for grey values, so that they have a density.
    """

    n_params = 1

    def forward(self, logits: Tensor) -> Distribution:  # type: ignore[override]
        return Independent(UnitInterval(logits), len(self.x_shape), validate_args=False)

    def params_at_mean(self, mean: Tensor, margin: float = 0.01) -> Tensor:
        """The logits of the data's mean; `margin` keeps them within 100."""
        return solve(lambda a: UnitInterval(a).mean, mean.clamp(margin, 1 - margin), reach=200).unsqueeze(0)

    def check(self, data: DataFacts) -> str | None:
        check_unit_interval("continuous_bernoulli", data)
        return BINARY if data.binary else None
