"""The likelihoods of a table's columns: one class for each kind, which handles all columns of that kind at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from vaecli.decoders.base import inverse_softplus
from vaecli.decoders.laws import MOST_LOG, Codes, Fixed, Intervals, Positives, PositivesAndZeros, Reals
from vaecli.decoders.negative_binomial import OverdispersedCounts
from vaecli.decoders.totals import raw_of_log
from vaecli.utils.columns import ColumnKind

SMALLEST_SCALE = 1e-6  # of a statistic, relative to its mean: anything smaller is rounding error of a constant


class Group(nn.Module):
    """G columns of one kind: their statistics, the encoder's features, and their distribution.

    n_params: outputs of the decoder network for each column; n_features: inputs of the encoder network for each column
    mean, scale: (G, S), of the S = n_statistics statistics of each column over the training data
    """

    n_params: int = 2
    n_features: int = 1
    n_statistics: int = 1
    mean: Tensor
    scale: Tensor

    def __init__(self, columns: Sequence[ColumnKind], min_scale: float) -> None:
        super().__init__()
        self.columns, self.min_scale = list(columns), min_scale
        self.register_buffer("mean", torch.zeros(len(columns), self.n_statistics))
        self.register_buffer("scale", torch.ones(len(columns), self.n_statistics))

    def statistics(self, x: Tensor) -> Tensor:
        """Numbers (..., G, S) whose mean and scale are learned from the training data; NaN is not counted."""
        return x.unsqueeze(-1)

    def features(self, x: Tensor) -> Tensor:
        """The encoder's features of x (..., G): (..., G, n_features)."""
        return (self.statistics(x) - self.mean) / self.scale

    def inside(self) -> Tensor:
        """A value (G,) that each column can have, which replaces missing ones."""
        return torch.zeros_like(self.mean[:, 0])

    def start(self) -> Tensor:
        """Parameters (G, n_params) with which each distribution is about that of its column in the training data.

        Those of a location and a scale: 0 and 1 in standard units.
        """
        scale = inverse_softplus(torch.full_like(self.mean[:, 0], 1 - self.min_scale))
        return torch.stack([torch.zeros_like(scale), scale], -1)

    @abstractmethod
    def distribution(self, params: Tensor) -> Distribution:
        """Parameters (..., G, n_params) -> a distribution of batch shape (..., G)."""

    def learn(self, mean: Tensor, scale: Tensor) -> None:
        """Store the statistics' means and standard deviations (G, S), float64."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(scale > SMALLEST_SCALE * mean.abs().clamp_min(1e-30), scale, 1.0))

    def ends(self) -> tuple[Tensor, Tensor]:
        """The intervals' ends, each (G,)."""
        low, high = zip(*((one.low or 0.0, 1.0 if one.high is None else one.high) for one in self.columns), strict=True)
        return self.mean.new_tensor(low), self.mean.new_tensor(high)


class Real(Group):
    """x = m + s u with u ~ N(a, (min_scale + softplus(b))^2), m and s the training data's mean and scale."""

    def inside(self) -> Tensor:
        return self.mean[:, 0]

    def normal(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale (..., G) of the first statistic, from its standard units."""
        loc, raw = params[..., 0], params[..., 1]
        return self.mean[:, 0] + self.scale[:, 0] * loc, self.scale[:, 0] * (self.min_scale + F.softplus(raw))

    def distribution(self, params: Tensor) -> Distribution:
        return Reals(*self.normal(params))


class Positive(Real):
    """Log-normal, as Real of log x."""

    def statistics(self, x: Tensor) -> Tensor:
        return x.clamp_min(torch.finfo(x.dtype).tiny).log().unsqueeze(-1)

    def inside(self) -> Tensor:
        return self.mean[:, 0].exp()

    def distribution(self, params: Tensor) -> Distribution:
        return Positives(*self.normal(params))


class PositiveOrZero(Real):
    """0 with the probability sigmoid(c), else log-normal as Positive."""

    n_params, n_features, n_statistics = 3, 2, 2

    def statistics(self, x: Tensor) -> Tensor:
        """log x of what is not 0, and whether it is 0."""
        zero = torch.where(x.isnan(), torch.nan, (x <= 0).to(x.dtype))
        return torch.stack([torch.where(x > 0, x.clamp_min(torch.finfo(x.dtype).tiny).log(), torch.nan), zero], -1)

    def features(self, x: Tensor) -> Tensor:
        given = super().features(x)
        return torch.where(given.isnan(), 0.0, given)  # the logarithm of 0 is replaced by the mean of the others

    def inside(self) -> Tensor:
        return torch.zeros_like(self.mean[:, 0])

    def start(self) -> Tensor:
        return torch.cat([super().start(), torch.logit(self.mean[:, 1:], eps=1e-3)], -1)

    def distribution(self, params: Tensor) -> Distribution:
        return PositivesAndZeros(params[..., 2], Positives(*self.normal(params)))


class Interval(Real):
    """Logit-normal between two ends, as Real of the logit; see Intervals."""

    REACH = 0.05  # how far the normal's range extends beyond an end that some values have, relative to the width

    def laws(self, loc: Tensor, width: Tensor) -> Intervals:
        low, high = self.ends()
        touched = torch.tensor([one.zeros for one in self.columns]).to(low.device)
        return Intervals(loc, width, (low, high), self.REACH * (high - low) * touched)

    def statistics(self, x: Tensor) -> Tensor:
        return self.laws(x, x).inverse(x).unsqueeze(-1)

    def inside(self) -> Tensor:
        low, high = self.ends()
        return (low + high) / 2

    def distribution(self, params: Tensor) -> Distribution:
        return self.laws(*self.normal(params))


class Category(Group):
    """P(k) = e^a_k / sum_j e^a_j."""

    def __init__(self, columns: Sequence[ColumnKind], min_scale: float) -> None:
        self.levels = columns[0].levels or 1
        self.n_params = self.n_features = self.n_statistics = self.levels
        super().__init__(columns, min_scale)

    def statistics(self, x: Tensor) -> Tensor:
        """Whether x is each of the codes."""
        k = torch.arange(self.levels, dtype=x.dtype, device=x.device)
        return torch.where(x.unsqueeze(-1).isnan(), torch.nan, (x.unsqueeze(-1).round() == k).to(x.dtype))

    def features(self, x: Tensor) -> Tensor:
        return self.statistics(x) - self.mean

    def start(self) -> Tensor:
        return self.mean.clamp_min(1e-4).log()

    def distribution(self, params: Tensor) -> Distribution:
        return Codes(params.log_softmax(-1))


class Binary(Group):
    """P(1) = sigmoid(a)."""

    n_params = 1

    def start(self) -> Tensor:
        return torch.logit(self.mean, eps=1e-3)

    def distribution(self, params: Tensor) -> Distribution:
        return Codes(F.logsigmoid(torch.cat([-params, params], -1)))


class Ordered(Category):
    """P(k) = F((c_k+1 - a) / s) - F((c_k - a) / s), F the logistic function, c_k where the training data's share of
    smaller codes is F(c_k), and s = min_scale + softplus(b). McCullagh (1980), with a scale.
    """

    def __init__(self, columns: Sequence[ColumnKind], min_scale: float) -> None:
        super().__init__(columns, min_scale)
        self.n_params = 2

    def cuts(self) -> Tensor:
        """c_1 to c_K-1, (G, K - 1)."""
        shares = self.mean.clamp_min(1e-4)
        return torch.logit((shares / shares.sum(-1, keepdim=True)).cumsum(-1)[:, :-1], eps=1e-4)

    def start(self) -> Tensor:
        return Group.start(self)

    def distribution(self, params: Tensor) -> Distribution:
        scale = self.min_scale + F.softplus(params[..., 1:])
        u = (self.cuts() - params[..., :1]) / scale
        log_cdf, log_sf = F.logsigmoid(u), F.logsigmoid(-u)
        first, last = log_cdf[..., :1], log_sf[..., -1:]
        step = (u[..., 1:] - u[..., :-1]).clamp_min(1e-6)
        # F(b) - F(a) = F(b) F(-a) (1 - e^-(b - a)), without a difference of nearly equal numbers
        between = log_cdf[..., 1:] + log_sf[..., :-1] + torch.log(-torch.expm1(-step))
        return Codes(torch.cat([first, between, last], -1).log_softmax(-1))


class Count(Group):
    """Negative binomial: m = e^(l + s a), with l the logarithm of the mean count and s the spread of log(1 + x)."""

    n_statistics = 2

    def statistics(self, x: Tensor) -> Tensor:
        return torch.stack([torch.log1p(x.clamp_min(0)), x], -1)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x)[..., :1]

    def start(self) -> Tensor:
        mean, scale = self.mean[:, 1].clamp_min(1e-3), self.scale[:, 1]
        r = mean.square() / (scale.square() - mean).clamp_min(0.01 * mean)
        return torch.stack([torch.zeros_like(mean), inverse_softplus(r.clamp(0.01, 100.0))], -1)

    def distribution(self, params: Tensor) -> Distribution:
        log_mean = self.mean[:, 1].clamp_min(1e-3).log() + self.scale[:, 0] * params[..., 0]
        r = self.min_scale + F.softplus(params[..., 1])
        return OverdispersedCounts(raw_of_log(log_mean.clamp(-MOST_LOG, MOST_LOG)), r, 1.0)


class Constant(Group):
    """A constant column: it has neither parameters nor features."""

    n_params = n_features = 0

    def features(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape, 0)

    def inside(self) -> Tensor:
        return self.ends()[0]

    def start(self) -> Tensor:
        return self.mean.new_zeros(len(self.columns), 0)

    def distribution(self, params: Tensor) -> Distribution:
        return Fixed(self.inside(), params.shape[:-1])


GROUPS: dict[str, type[Group]] = {
    "real": Real, "positive": Positive, "interval": Interval, "binary": Binary, "category": Category,
    "ordered": Ordered, "count": Count, "constant": Constant,
}  # fmt: skip


def group_class(column: ColumnKind) -> type[Group]:
    """The class for a column."""
    return PositiveOrZero if column.kind == "positive" and column.zeros else GROUPS[column.kind]
