"""Grey levels as the bins of a logistic distribution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from vaecli.decoders.base import inverse_softplus, solve
from vaecli.decoders.grid import GreyDecoder, GreyLevels, GridDistribution
from vaecli.utils.types import PositiveFloat

START_SCALE = 0.2  # about the spread of images in [0, 1]
LEVEL_BLOCK = 16  # levels that are summed over at a time


class LogisticBins(GridDistribution):
    """The mass of a logistic distribution between k - 1/2 and k + 1/2; the first and the last level take the tails.

    loc and scale are in levels. With s the logistic function, u and v the bin's ends in scales and u - v = 1 / scale,

        s(u) - s(v) = s(u) s(-v) (1 - e^(v - u))

    whose logarithm has no difference of nearly equal numbers, however far in the tails.
    """

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        super().__init__(loc.shape, 1 / (levels - 1), levels)
        self.loc, self.scale, self.last = loc, scale, levels - 1

    def log_prob(self, value: Tensor) -> Tensor:
        k = self.count(value)
        first, last = k <= 0, k >= self.last
        below_upper = F.logsigmoid((k + 0.5 - self.loc) / self.scale).masked_fill(last, 0)
        above_lower = F.logsigmoid((self.loc - k + 0.5) / self.scale).masked_fill(first, 0)
        width = torch.log(-torch.expm1(-1 / self.scale))
        return below_upper + above_lower + torch.where(first | last, torch.zeros_like(width), width)

    @property
    def mean(self) -> Tensor:
        """sum over k > 0 of P(level >= k), a few levels at a time."""
        k = torch.arange(1, self.last + 1, dtype=self.loc.dtype, device=self.loc.device)
        loc, scale = self.loc.unsqueeze(-1), self.scale.unsqueeze(-1)
        above = [torch.sigmoid((loc - part + 0.5) / scale).sum(-1) for part in k.split(LEVEL_BLOCK)]
        return torch.stack(above).sum(0) * self.step

    @property
    def variance(self) -> Tensor:
        total, mean = torch.zeros_like(self.loc), self.mean
        for k in range(self.last + 1):
            x = torch.full_like(mean, k * self.step)
            total = total + self.log_prob(x).exp() * (x - mean).square()
        return total

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.logit(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))
        return (self.loc + self.scale * noise).round().clamp(0, self.last) * self.step


class DiscretizedLogistic(GreyDecoder):
    """Independent grey levels: P(k|z) = s((k + 1/2 - m) / b) - s((k - 1/2 - m) / b), s the logistic function.

    Kingma et al. (2016), appendix, and Salimans et al. (2017), eq. 2 with one component. Below the first level and
    above the last there is nothing, so these two take the tails. The network emits m in x's units and a number a with
    b = softplus(a), in x's units, + min_scale levels.

    levels: how many grey levels there are, from 0 to 1
    min_scale: floor of b, in levels: the objective is bounded without it, as a probability is below 1, but b could
        become so small that numbers overflow
    """

    option = "discretized_logistic"
    n_params = 2

    def __init__(self, x_shape: tuple[int, ...], levels: GreyLevels, min_scale: PositiveFloat = 0.01) -> None:
        super().__init__(x_shape, levels)
        self.min_scale = min_scale

    def forward(self, loc: Tensor, raw_scale: Tensor) -> Distribution:  # type: ignore[override]
        last = self.levels - 1
        bins = LogisticBins(loc * last, self.min_scale + F.softplus(raw_scale) * last, self.levels)
        return Independent(bins, len(self.x_shape), validate_args=False)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The location that gives the data's mean under START_SCALE; `margin` keeps it finite."""
        raw_scale = inverse_softplus(torch.full_like(mean, START_SCALE))
        wanted, a = mean.clamp(margin, 1 - margin), raw_scale.double()
        return torch.stack([solve(lambda loc: self(loc, a).mean, wanted, reach=10), raw_scale])
