"""The base class of decoders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaecli.utils.columns import ColumnKind
from vaecli.utils.option import Option
from vaecli.utils.types import Values


class DataFacts(NamedTuple):
    """What a decoder needs to know about the data."""

    low: float
    high: float
    binary: bool  # every value is 0 or 1
    step: float | None = None  # every value is a multiple of it: 1/255 for 8-bit images, 1 for whole numbers

    can_standardize: bool = False  # whether the data set has the key `standardize`
    standardized: bool = False  # whether the model works in standard units
    columns: Sequence[ColumnKind] | None = None  # the kinds of a table's columns, if they are asked for
    can_binarize: bool = True  # whether the data set has the key `binarize`

    @property
    def remedy(self) -> str:
        """An option of `decoder` that accepts the data."""
        if self.low >= 0 and self.high > 1 and self.step is not None:
            return "poisson"
        if self.low >= 0 and self.high <= 1:
            return "continuous_bernoulli" if self.step is None else "discretized_logistic"
        return "gaussian dataset.standardize=true" if self.can_standardize else "gaussian_identity"


class EncoderTransform(nn.Module):
    """Computes what the encoder network gets instead of x: (B, *x_shape) -> (B, *shape)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape


class Decoder(Option, nn.Module, abstract=True):
    """p(x|z): turns the decoder network's tensors into a normalised distribution over observations.

    n_params: how many tensors of x's shape the network emits
    step: the values of x that have a probability are multiples of it; None: unknown
    training_bound: whether log p(x|z) depends on its own x and z only, also in training, so that the figures of a
        training batch are lower bounds of log p(x)
    takes_gaps: whether NaN in x stands for a missing number
    elementwise: whether p(x|z) is a product over the numbers of x, so that missing ones can be left out
    wants_kinds: whether the data set reads columns of text as categories, and determines the kinds of all columns
    counts: whether observations are counts, which means of p(x|z) do not look like
    columns: the kinds of a table's columns; None: all numbers have the same likelihood
    calibrate: called with the mean squared error of the training set, if evaluation needs it; None otherwise
    """

    made_with: ClassVar[tuple[str, ...]] = ("x_shape",)
    attributes: ClassVar[tuple[str, ...]] = ("n_params",)
    n_params: int
    step: float | None = None
    training_bound: bool = True
    takes_gaps: bool = False
    elementwise: bool = True
    wants_kinds: ClassVar[bool] = False
    counts: ClassVar[bool] = False
    columns: Sequence[ColumnKind] | None = None
    calibrate: ClassVar[Callable[[Any, float], None] | None] = None

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.x_shape = x_shape

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of each of the n_params tensors that the network emits."""
        return self.x_shape

    @abstractmethod
    def forward(self, *params: Tensor) -> Distribution:
        """Parameters, each (..., *param_shape) -> distribution of batch shape (...) and event shape x_shape."""

    def params_at_mean(self, mean: Tensor) -> Tensor | None:
        """Parameters (n_params, ...) of the distribution whose mean is `mean` (...); None if there are none."""
        return None

    def encoder_transform(self) -> EncoderTransform | None:
        """The module that computes what the encoder network gets instead of x; None: the network gets x itself."""
        return None

    def learn(self, data: Callable[[], Iterator[Tensor]]) -> None:
        """Compute the buffers from the training data: data() yields its observations, a batch at a time."""

    @classmethod
    def fill_from_data(cls, settings: Values, data: DataFacts) -> Values:
        """The option's settings, with null replaced where the data decide the value.

        ValueError, with a remedy, if the data do not suit the decoder.
        """
        return settings

    def check(self, data: DataFacts) -> str | None:
        """ValueError for data outside the support; otherwise a warning if a figure needs an explanation, or None."""
        return None

    def error(self, mean: Tensor, x: Tensor) -> Tensor:
        """How far x lies from the mean of p(x|z), in the units that the decoder works in."""
        return x - mean


def check_unit_interval(option: str, data: DataFacts) -> None:
    """ValueError for data that are not in [0, 1]."""
    if data.low < 0 or data.high > 1:
        raise ValueError(
            f"decoder={option} scores values in [0, 1], but the data lie in [{data.low:.4g}, {data.high:.4g}]: "
            f"use decoder={data.remedy}"
        )


def solve(increasing: Callable[[Tensor], Tensor], target: Tensor, reach: float) -> Tensor:
    """The arguments in [-reach, reach] at which an increasing function is `target`, by bisection in float64."""
    wanted = target.double()
    low, high = torch.full_like(wanted, -reach), torch.full_like(wanted, reach)
    for _ in range(64):
        middle = (low + high) / 2
        above = increasing(middle) > wanted
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).to(target)


def inverse_softplus(y: Tensor) -> Tensor:
    """log(e^y - 1) for y > 0."""
    return y + torch.log(-torch.expm1(-y))
