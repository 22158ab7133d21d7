"""The decoder of tables, in which each column has a likelihood of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from vaecli.decoders.base import DataFacts, Decoder, EncoderTransform
from vaecli.decoders.kinds import Group, group_class
from vaecli.utils.columns import CODED, ColumnKind
from vaecli.utils.types import PositiveFloat, Share, Values

UNEVEN = 0.8  # how much the share of hidden cells differs between rows, in standard deviations of a normal number


class MixedColumns(Distribution):
    """Independent columns x (..., d), each with its own distribution; one that is missing (NaN) is integrated out.

    parts: the distribution of each group, of batch shape (..., G), and a value (G,) that its columns can have
    order: (d,), the position of each column in the concatenated groups
    rounded: (d,), the smallest value of a column of whole numbers, NaN for others
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real  # partly densities, so that there are no bits per dimension

    def __init__(
        self, parts: Sequence[tuple[Distribution, Tensor]], places: Sequence[Tensor], order: Tensor, rounded: Tensor
    ) -> None:
        batch = parts[0][0].batch_shape[:-1]
        super().__init__(torch.Size((*batch, len(order))), validate_args=False)
        self.parts, self.places, self.order, self.rounded = parts, places, order, rounded

    def log_prob(self, value: Tensor) -> Tensor:
        scores = []
        for (law, inside), places in zip(self.parts, self.places, strict=True):
            x = value[..., places]
            missing = x.isnan()
            scores.append(torch.where(missing, 0.0, law.log_prob(torch.where(missing, inside, x))))
        return torch.cat(scores, -1)[..., self.order]

    def _together(self, of: Callable[[Distribution], Tensor]) -> Tensor:
        return torch.cat([of(law) for law, _ in self.parts], -1)[..., self.order]

    @property
    def mean(self) -> Tensor:
        """The mean of numbers, the most likely of categories."""
        return self._together(lambda law: law.mean)

    @property
    def variance(self) -> Tensor:
        return self._together(lambda law: law.variance)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return as_whole(self._together(lambda law: law.sample(torch.Size(sample_shape))), self.rounded)


def as_whole(x: Tensor, least: Tensor) -> Tensor:
    """x (..., d) with columns of whole numbers rounded, to at least `least` (d,), which is NaN for other columns."""
    return torch.where(least.isnan(), x, torch.maximum(x.round(), least))


def grouped(groups: nn.ModuleList, places: Sequence[Tensor]) -> Iterator[tuple[Group, Tensor]]:
    """Each group and the indices of its columns."""
    for group, of in zip(groups, places, strict=True):
        assert isinstance(group, Group)
        yield group, of


class ColumnTransform(EncoderTransform):
    """A table's columns as numbers for a network: standard units, one-hot codes, and which cells are missing.

    In training, a share `hide` of the cells on average is hidden from the encoder, more in some rows than in others, so
    that it learns to encode rows with gaps. The ELBO is then that of a posterior that has seen fewer cells.
    """

    def __init__(self, groups: nn.ModuleList, places: Sequence[Tensor], n_columns: int, hide: float) -> None:
        super().__init__((sum(len(of) * group.n_features for group, of in grouped(groups, places)) + n_columns,))
        self.groups, self.places, self.hide = groups, places, hide

    def forward(self, x: Tensor) -> Tensor:
        missing = x.isnan()
        if self.training and self.hide:
            missing = missing | self.hidden(x)
        numbers: list[Tensor] = []
        for group, places in grouped(self.groups, self.places):
            there = ~missing[..., places]
            seen = torch.where(there, x[..., places], group.inside().to(x))
            numbers.append((group.features(seen) * there.unsqueeze(-1)).flatten(-2))
        return torch.cat([*numbers, missing.to(x.dtype)], -1).to(next(self.buffers()).dtype)

    def hidden(self, x: Tensor) -> Tensor:
        """The hidden cells (B, d) of this pass: e < t + u s with e, s ~ N(0, 1), s the same in a row."""
        threshold = NormalDist().inv_cdf(self.hide) * math.sqrt(1 + UNEVEN**2)
        cells, rows = x.new_empty(x.shape).normal_(), x.new_empty(len(x), 1).normal_()
        return cells < threshold + UNEVEN * rows


class Columns(Decoder):
    """Independent columns given z, each with the likelihood of its kind: log p(x|z) = sum_j log p_j(x_j|z).

    It is a density in the columns of real, positive and interval numbers, and a probability mass in the others, in a
    positive column's zeros and in an interval's ends. Each kind works in units of its own, learned from the training
    data. Missing cells are integrated out. The kinds are described in `decoders/kinds.py`; Nazabal et al. (2020).

    columns: the kind of each column, with its settings; None: filled in from the data
    min_scale: floor of a learned scale, in standard units
    hide: the share of cells that are hidden from the encoder in training
    """

    columns: Sequence[ColumnKind]
    wants_kinds = True
    takes_gaps = True
    n_params = 1

    def __init__(
        self,
        x_shape: tuple[int, ...],
        columns: list[ColumnKind] | None = None,
        min_scale: PositiveFloat = 0.01,
        hide: Share = 0.1,
    ) -> None:
        super().__init__(x_shape)
        if columns is None or x_shape != (len(columns),):
            raise ValueError(f"needs decoder.columns, the kind of each of {x_shape[0]:,} columns, which training finds")
        self.columns, self.hide = tuple(columns), hide
        together: dict[tuple[object, ...], list[int]] = {}
        for i, column in enumerate(columns):
            together.setdefault((group_class(column), column.levels if column.kind in CODED else None), []).append(i)
        self.places = [torch.tensor(places, device="cpu") for places in together.values()]
        self.groups = nn.ModuleList(
            group_class(columns[places[0]])([columns[i] for i in places], min_scale) for places in together.values()
        )
        self.order = torch.cat(self.places).argsort()
        least = [1.0 if one.kind == "positive" and not one.zeros else -math.inf for one in columns]
        self.least = [value if one.whole else math.nan for one, value in zip(columns, least, strict=True)]

    @property
    def param_shape(self) -> tuple[int, ...]:
        return (sum(len(places) * group.n_params for group, places in grouped(self.groups, self.places)),)

    def encoder_transform(self) -> EncoderTransform | None:
        return ColumnTransform(self.groups, self.places, len(self.columns), self.hide)

    def forward(self, *params: Tensor) -> Distribution:
        (every,) = params
        sizes = [len(places) * group.n_params for group, places in grouped(self.groups, self.places)]
        parts = []
        for (group, places), own in zip(grouped(self.groups, self.places), every.split(sizes, -1), strict=True):
            law = group.distribution(own.unflatten(-1, (len(places), group.n_params)))
            parts.append((law, group.inside()))
        mixed = MixedColumns(parts, self.places, self.order, every.new_tensor(self.least))
        return Independent(mixed, 1, validate_args=False)

    def params_at_mean(self, mean: Tensor) -> Tensor:
        """The parameters of each column's own distribution over the training data, (1, P)."""
        return torch.cat([group.start().flatten() for group, _ in grouped(self.groups, self.places)]).unsqueeze(0)

    def learn(self, data: Callable[[], Iterator[Tensor]]) -> None:
        """Means and standard deviations of the groups' statistics, over the cells that are not missing."""
        for group, places in grouped(self.groups, self.places):
            n = total = torch.zeros((), dtype=torch.float64)
            for x in data():
                values = group.statistics(x[..., places].cpu().double())
                n, total = n + (~values.isnan()).sum(0), total + values.nansum(0)
            mean = total / n.clamp_min(1)
            squares = sum((group.statistics(x[..., places].cpu().double()) - mean).square().nansum(0) for x in data())
            group.learn(mean, (squares / n.clamp_min(1)).sqrt())

    @classmethod
    def fill_from_data(cls, settings: Values, data: DataFacts) -> Values:
        """Fill in `columns` from the data."""
        if settings.get("columns") is not None:
            return settings
        if data.columns is None:
            raise ValueError(f"decoder=columns is for tables (.csv, .tsv, .txt, .parquet): use decoder={data.remedy}")
        return {**settings, "columns": [column.values() for column in data.columns]}

    def error(self, mean: Tensor, x: Tensor) -> Tensor:
        """x - mean for numbers; for categories 0 where they are equal and 1 where not."""
        coded = torch.tensor([one.kind in CODED for one in self.columns], device=x.device)
        wrong = torch.where(x.isnan(), torch.nan, (x.round() != mean.round()).to(x.dtype))
        return torch.where(coded, wrong, x - mean)
