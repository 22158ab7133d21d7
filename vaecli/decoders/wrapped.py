"""Wrappers of decoders: for standardized inputs, and for inputs with missing numbers.

Both change only the elementwise distribution inside the `Independent` that a decoder returns, so that code that uses
log-densities, means or draws does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from vaecli.decoders.base import DataFacts, Decoder

ANYTHING = DataFacts(-math.inf, math.inf, binary=False)


class DelegatingDistribution(Independent):
    """A distribution that delegates to another one, `base_dist`, whatever it does not override."""

    def __init__(self, base: Distribution) -> None:
        super().__init__(base, 0, validate_args=False)

    base_dist: Distribution

    @property
    def stddev(self) -> Tensor:
        """Not the root of the variance, which may be too large or too small for single precision."""
        return self.base_dist.stddev


class Affine(DelegatingDistribution):
    """m + s u for u from an elementwise base: log p(x) = log p_u((x - m) / s) - log s."""

    def __init__(self, base: Distribution, units: Standardizer) -> None:
        super().__init__(base)
        self.units = units

    def to_data_units(self, u: Tensor) -> Tensor:
        """From standard to the data's own units."""
        return self.units.mean + self.units.scale * u

    def expand(self, batch_shape: Any, _instance: Any = None) -> Affine:
        return Affine(self.base_dist.expand(batch_shape), self.units)

    @property
    def mean(self) -> Tensor:
        return self.to_data_units(self.base_dist.mean)

    @property
    def mode(self) -> Tensor:
        return self.to_data_units(self.base_dist.mode)

    @property
    def stddev(self) -> Tensor:
        return self.units.scale * self.base_dist.stddev

    @property
    def variance(self) -> Tensor:
        return self.units.scale.square() * self.base_dist.variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.to_data_units(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.to_data_units(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base_dist.log_prob(self.units(value)) - self.units.scale.log()


class Observed(DelegatingDistribution):
    """An elementwise base whose log-density is 0 where the value is missing (NaN): it is integrated out.

    The base scores the value of `filler` there, so that neither the sum nor its gradient is NaN.
    """

    def __init__(self, base: Distribution, filler: Filler) -> None:
        super().__init__(base)
        self.filler = filler

    def expand(self, batch_shape: Any, _instance: Any = None) -> Observed:
        return Observed(self.base_dist.expand(batch_shape), self.filler)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.where(value.isnan(), 0.0, self.base_dist.log_prob(self.filler(value)))


class DelegatingDecoder(Decoder, abstract=True):
    """A decoder that delegates to another one whatever it does not override."""

    made_with = ()

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder.x_shape)
        self.decoder, self.n_params = decoder, decoder.n_params
        self.step, self.training_bound = decoder.step, decoder.training_bound
        self.elementwise = decoder.elementwise

    @property
    def calibrate(self) -> Callable[[float], None] | None:  # type: ignore[override]
        return self.decoder.calibrate

    def forward(self, *params: Tensor) -> Distribution:
        p_x = cast(Independent, self.decoder(*params))
        return Independent(self.wrap(p_x.base_dist), p_x.reinterpreted_batch_ndims, validate_args=False)

    def wrap(self, base: Distribution) -> Distribution:
        """The distribution that replaces the elementwise one."""
        raise NotImplementedError

    def params_at_mean(self, mean: Tensor) -> Tensor | None:
        return self.decoder.params_at_mean(mean)

    def learn(self, data: Callable[[], Iterator[Tensor]]) -> None:
        self.decoder.learn(data)

    def check(self, data: DataFacts) -> str | None:
        return self.decoder.check(data)

    def error(self, mean: Tensor, x: Tensor) -> Tensor:
        return self.decoder.error(mean, x)


class Standardized(DelegatingDecoder):
    """A decoder that works in standard units; its observations and densities are in the data's own units.

    log p(x|z) = log p((x - m) / s | z) - sum_i log s_i: a density in the data's own units.
    """

    def __init__(self, decoder: Decoder, units: Standardizer) -> None:
        super().__init__(decoder)
        self.units = units

    def wrap(self, base: Distribution) -> Distribution:
        return Affine(base, self.units)

    def params_at_mean(self, mean: Tensor) -> Tensor | None:
        """The base decoder's parameters at 0, the training data's mean in standard units."""
        return self.decoder.params_at_mean(torch.zeros_like(mean))

    def check(self, data: DataFacts) -> str | None:
        """ValueError unless the decoder takes all real numbers, as standard units have no bounds."""
        try:
            return self.decoder.check(ANYTHING)
        except ValueError:
            raise ValueError(
                "dataset.standardize=true needs a decoder of all real numbers: use decoder=gaussian, "
                "or dataset.standardize=false"
            ) from None

    def error(self, mean: Tensor, x: Tensor) -> Tensor:
        return self.decoder.error(self.units(mean), self.units(x))


class Masked(DelegatingDecoder):
    """A decoder for observations of which some numbers are missing (NaN): log p(x|z) sums over the others."""

    takes_gaps = True

    def __init__(self, decoder: Decoder, filler: Filler) -> None:
        super().__init__(decoder)
        self.filler = filler

    def wrap(self, base: Distribution) -> Distribution:
        return Observed(base, self.filler)


CONSTANT = {torch.float32: 1e-7, torch.float64: 1e-14}  # a smaller ratio of deviation to mean is rounding


class Standardizer(nn.Module):
    """x -> (x - mean) / scale, for each number of an observation; a number that never varies has scale 1.

    double: the mean is float64, so that it is subtracted from float64 numbers before they are rounded to float32
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, x_shape: tuple[int, ...], double: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(x_shape, dtype=torch.float64 if double else None))
        self.register_buffer("scale", torch.ones(x_shape))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale).to(self.scale.dtype)

    def learn(self, mean: Tensor, scale: Tensor) -> None:
        """Take the training data's means and standard deviations (*x_shape), float64."""
        constant = scale <= CONSTANT[self.mean.dtype] * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 1.0, scale))


class Filler(nn.Module):
    """x -> x with missing numbers (NaN) replaced by the training data's mean."""

    value: Tensor

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(x_shape))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.isnan(), self.value, x)

    def learn(self, mean: Tensor, scale: Tensor) -> None:
        """Take the training data's means (*x_shape), float64."""
        self.value.copy_(mean)
