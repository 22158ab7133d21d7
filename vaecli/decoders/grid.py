"""The base classes of decoders for grey levels and counts, whose observations lie on a grid from 0."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints
from torch.nn import functional as F

from vaecli.decoders.base import DataFacts, Decoder, EncoderTransform, inverse_softplus
from vaecli.decoders.totals import GivenTotal, log_shares, log_total_moments, raw_of_log
from vaecli.utils.types import PositiveFloat, Values

MAX_LOG_TOTAL = 40.0  # of a learned total: beyond, single precision overflows
GreyLevels = Annotated[int, Field(strict=True, ge=2, le=2**16)]


class Multiples(constraints.Constraint):
    """0, step, 2 step ..., `levels` of them or infinitely many; `tolerance`, in steps, allows for single precision."""

    is_discrete = True

    def __init__(self, step: float, levels: int | None = None, tolerance: float = 1e-3) -> None:
        self.step, self.levels, self.tolerance = step, levels, tolerance
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        k = (value / self.step).round()
        inside = k >= 0 if self.levels is None else (k >= 0) & (k < self.levels)
        return inside & ((value / self.step - k).abs() < self.tolerance)


class GridDistribution(Distribution):
    """The probability of x = step k for whole numbers k; an x in between is rounded to the nearest of them."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, batch_shape: torch.Size, step: float, levels: int | None = None) -> None:
        super().__init__(batch_shape, validate_args=False)
        self.step, self.levels = step, levels

    @property
    def support(self) -> constraints.Constraint:
        return Multiples(self.step, self.levels)

    def count(self, x: Tensor) -> Tensor:
        return (x / self.step).round()


class GreyDecoder(Decoder, abstract=True):
    """Probabilities of `levels` values, equally spaced from 0 to 1."""

    option: str  # its name, for messages

    def __init__(self, x_shape: tuple[int, ...], levels: int) -> None:
        super().__init__(x_shape)
        self.levels, self.step = levels, 1 / (levels - 1)

    @classmethod
    def fill_from_data(cls, settings: Values, data: DataFacts) -> Values:
        """Fill in `levels` from the data."""
        if settings.get("levels") is not None:
            return settings
        return {**settings, "levels": cls.levels_of(data)}

    @classmethod
    def levels_of(cls, data: DataFacts) -> int:
        if data.step is None or data.low < 0 or data.high > 1:
            what = "real numbers" if data.step is None else "values"
            raise ValueError(
                f"decoder={cls.option} scores grey levels from 0 to 1, but the data are {what} in "
                f"[{data.low:.4g}, {data.high:.4g}]: use decoder={data.remedy}"
            )
        return round(1 / data.step) + 1

    def check(self, data: DataFacts) -> str | None:
        levels = self.levels_of(data)
        if (self.levels - 1) % (levels - 1):
            raise ValueError(
                f"decoder={self.option} has {self.levels} grey levels, but the data have {levels}: "
                f"use decoder.levels={levels}, or null for those of the data"
            )
        return None


class LogCounts(EncoderTransform):
    """x -> log(1 + x), so that a network gets counts of any size as moderate numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log1p(x.clamp_min(0))  # the learned observations of prior=vamp may be negative


Total = Literal["learned", "observed"]


class CountDecoder(Decoder, abstract=True):
    """Probabilities of counts k = x / step, without an upper limit.

    `family` makes the elementwise distribution from a, which gives the mean softplus(a), and further tensors. With
    `total`, an observation's mean total l and the shares pi = softmax(a) are separate, and the mean is l pi:
    `learned` takes log l from z, as the mean of one more tensor of the network; `observed` from x itself.
    """

    option: str
    counts = True
    n_of_family: ClassVar[int]  # tensors that `family` takes
    log_total: Tensor

    def __init__(
        self, x_shape: tuple[int, ...], step: PositiveFloat, log1p: bool | None = None, total: Total | None = None
    ) -> None:
        super().__init__(x_shape)
        self.step: float = step
        self.n_params = self.n_of_family + (total == "learned")
        self.total = total
        self.elementwise = total != "observed"
        if total == "observed":
            self.register_buffer("log_total", torch.tensor([0.0, 1.0]))
        self.log1p = bool(log1p)

    @abstractmethod
    def family(self, raw: Tensor, *others: Tensor) -> Distribution:
        """The distribution of each number, whose mean is softplus(raw)."""

    def forward(self, *params: Tensor) -> Distribution:
        raw, *others = params
        n_dims = len(self.x_shape)
        if self.total == "observed":
            return GivenTotal(raw, lambda a: self.family(a, *others), self.log_total.to(raw), n_dims)
        if self.total == "learned":
            *others, size = others
            log_total = size.flatten(-n_dims).mean(-1).reshape(*size.shape[: size.ndim - n_dims], *(1,) * n_dims)
            raw = raw_of_log(log_shares(raw, n_dims) + log_total.clamp(-MAX_LOG_TOTAL, MAX_LOG_TOTAL))
        return Independent(self.family(raw, *others), n_dims, validate_args=False)

    def encoder_transform(self) -> EncoderTransform | None:
        return LogCounts(self.x_shape) if self.log1p else None

    def learn(self, data: Callable[[], Iterator[Tensor]]) -> None:
        """The log-normal distribution of the training data's totals."""
        if self.total == "observed":
            totals = torch.cat([x.double().flatten(1).sum(1) for x in data()])
            self.log_total.copy_(torch.tensor(log_total_moments(totals)))

    def params_of_mean(self, mean: Tensor, *others: Tensor) -> Tensor:
        """The parameters (n_params, ...) at a mean (...) above zero, and the further tensors as they are."""
        if self.total is None:
            return torch.stack([inverse_softplus(mean), *others])
        size = [mean.sum().log().expand_as(mean)] if self.total == "learned" else []
        return torch.stack([mean.log(), *others, *size])

    @classmethod
    def fill_from_data(cls, settings: Values, data: DataFacts) -> Values:
        """Fill in `step` from the data, and `log1p` if they are whole numbers other than just 0 and 1."""
        settings = settings if settings.get("step") is not None else {**settings, "step": cls.step_of(data)}
        if settings.get("log1p", False) is None:
            settings = {**settings, "log1p": data.high > 1}
        return settings

    @classmethod
    def step_of(cls, data: DataFacts) -> float:
        if data.step is None or data.low < 0:
            what = "real" if data.step is None else "negative"
            raise ValueError(
                f"decoder={cls.option} scores counts from 0 on, but the data are {what} numbers in "
                f"[{data.low:.4g}, {data.high:.4g}]: use decoder={data.remedy}"
            )
        return data.step

    def check(self, data: DataFacts) -> str | None:
        step = self.step_of(data)
        if abs(step / self.step - round(step / self.step)) > 1e-6:
            raise ValueError(
                f"decoder={self.option} counts in steps of {self.step:.4g}, but the data come in steps of {step:.4g}: "
                f"use decoder.step={step:.8g}, or null for that of the data"
            )
        return None


def log_softplus(a: Tensor, least: float = -60.0) -> Tensor:
    """log log(1 + e^a). Below `least` it is a, to all digits of a double; e^a would underflow in single precision."""
    return F.softplus(F.threshold(a, least, least)).log() - F.relu(least - a)
