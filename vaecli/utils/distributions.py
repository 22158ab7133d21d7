"""Draws with their log-densities, for any distribution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from vaecli.utils.noise import WholeNoise
from vaecli.utils.ranks import current_share


class DrawsWithDensity(Distribution):
    """A distribution whose draws come with their log-densities, which would otherwise cost much more, or be less exact.

    A flow knows both from one pass, and has to be inverted for the density of any other z.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012

    @abstractmethod
    def rsample_with_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Draws z (*sample_shape, *batch_shape, *event_shape) and log p(z) (*sample_shape, *batch_shape)."""

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample_with_log_prob(sample_shape)[0]


def draw(distribution: Distribution, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Callable[[], Tensor]]:
    """Draws z (*sample_shape, *batch_shape, *event_shape), and a function that gives log p(z).

    The draws are reparametrised if gradients are on. The density is computed only when it is asked for, unless it is
    known already. For a share of a batch the noise is that of the whole batch.
    """
    shape, share = Size(sample_shape), current_share()
    with WholeNoise(share, len(shape)) if share is not None and distribution.batch_shape else nullcontext():
        if isinstance(distribution, DrawsWithDensity):
            z, log_p = distribution.rsample_with_log_prob(shape)
            return z, lambda: log_p
        z = distribution.rsample(shape) if torch.is_grad_enabled() else distribution.sample(shape)
    return z, partial(distribution.log_prob, z)
