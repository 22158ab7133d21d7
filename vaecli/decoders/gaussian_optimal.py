"""Real-valued observations with a single scale, the root mean squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaecli.decoders.location import LocationDecoder, Squeeze
from vaecli.utils.sums import batch_mean
from vaecli.utils.types import PositiveFloat


class FittedNormal(Normal):
    """N(m, s^2) whose log_prob sets s^2 to the mean of (x - m)^2 over all its values.

    Every value's log-density then depends on all the others. Draws have the scale that it was made with.
    """

    def __init__(self, loc: Tensor, scale: Tensor, min_scale: float) -> None:
        super().__init__(loc, scale, validate_args=False)
        self.min_scale = min_scale

    def log_prob(self, value: Tensor) -> Tensor:
        error = (value - self.loc).square()
        variance = batch_mean(error, dim=1, used_apart=True).clamp_min(self.min_scale**2)
        return -0.5 * (error / variance + variance.log() + math.log(2 * math.pi))


class GaussianOptimal(LocationDecoder):
    """Normal noise of one scale for all numbers and observations, the best there is: sigma^2 = mean of (x - m)^2.

    log p(x|z) = -1/2 sum_i [((x_i - m_i) / sigma)^2 + 2 log sigma + log 2 pi]; Rybkin et al. (2021). While training,
    the mean is over the batch, its draws of z and the dimensions, and the figures, whose scale depends on the
    observations, are not lower bounds. In evaluation sigma is the buffer that `calibrate` set from the training set,
    so that p(x|z) is a density.

    min_scale: floor of sigma
    loc: the mean as the network emits it (`linear`), or squeezed into (0, 1) (`sigmoid`)
    """

    training_bound = False
    sigma: Tensor

    def __init__(self, x_shape: tuple[int, ...], min_scale: PositiveFloat = 0.01, loc: Squeeze = "linear") -> None:
        super().__init__(x_shape, loc)
        self.min_scale = min_scale
        self.register_buffer("sigma", torch.ones(()))

    def forward(self, loc: Tensor) -> Distribution:  # type: ignore[override]
        loc = self.location(loc)
        sigma = self.sigma.to(loc.dtype).expand_as(loc)
        noise = FittedNormal(loc, sigma, self.min_scale) if self.training else Normal(loc, sigma, validate_args=False)
        return Independent(noise, len(self.x_shape), validate_args=False)

    def calibrate(self, mean_squared_error: float) -> None:
        self.sigma.fill_(max(math.sqrt(mean_squared_error), self.min_scale))
