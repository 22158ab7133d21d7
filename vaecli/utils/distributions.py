"""Draws with their log-densities, for any distribution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Size, Tensor
from torch.distributions import Distribution


class DrawsWithDensity(Distribution):
    """A distribution whose draws come with their log-densities, which would otherwise cost much more, or be less exact.

    A flow knows both from one pass, and has to be inverted for the density of any other z.
    """

    @abstractmethod
    def rsample_with_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Draws z (*sample_shape, *batch_shape, *event_shape) and log p(z) (*sample_shape, *batch_shape)."""


def draw(distribution: Distribution, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Callable[[], Tensor]]:
    """Draws z (*sample_shape, *batch_shape, *event_shape), and a function that gives log p(z).

    The draws are reparametrised where gradients are on. The density is computed when it is asked for, if it is not
    known by then.
    """
    shape = Size(sample_shape)
    if isinstance(distribution, DrawsWithDensity):
        z, log_p = distribution.rsample_with_log_prob(shape)
        return z, lambda: log_p
    z = distribution.rsample(shape) if torch.is_grad_enabled() else distribution.sample(shape)
    return z, partial(distribution.log_prob, z)
