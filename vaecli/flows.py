"""Normalising flows: invertible maps of z with triangular Jacobians, and the distributions that they map N(0, I) to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Transform, constraints
from torch.nn.functional import elu, linear

_validating = Distribution._validate_args
from zuko.transforms import (  # noqa: E402
    AutoregressiveTransform,
    ComposedTransform,
    DependentTransform,
    MonotonicAffineTransform,
)

from vaecli.utils.distributions import DrawsWithDensity  # noqa: E402

Distribution.set_default_validate_args(_validating)  # zuko turns it off for the whole process

Kind = Literal["iaf", "coupling"]
PAIRS = 64  # pairs of opposite base points, from whose images mean and variance are estimated
START = 0.01  # standard deviation of the last layer's first weights: a flow begins close to the identity


class MaskedLinear(nn.Linear):
    """y = (mask * W) x + b; mask (outputs, inputs)."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.mask * self.weight, self.bias)


class Autoregressive(nn.Module):
    """y_i = exp(a_i) x_i + b_i, where a_i and b_i are functions of the context and of the x_j that come before x_i.

    A masked network (Germain et al., 2015) computes all of them in one pass; its inverse takes a pass for each rank.
    ranks (D,), 0 to n_ranks - 1: x_j comes before x_i if its rank is lower
    """

    def __init__(self, ranks: Tensor, n_ranks: int, hidden: Sequence[int], n_context: int = 0) -> None:
        super().__init__()
        # A hidden unit of rank r depends on inputs up to rank r; units of rank -1 depend on the context alone.
        units = [torch.div(torch.arange(n) * n_ranks, n, rounding_mode="floor") - 1 for n in hidden]
        masks = [below.unsqueeze(0) <= above.unsqueeze(1) for below, above in pairwise([ranks, *units])]
        before = (units[-1] if hidden else ranks).unsqueeze(0) < ranks.unsqueeze(1)
        self.layers = nn.ModuleList(map(MaskedLinear, [*masks, torch.cat([before, before])]))
        width = hidden[0] if hidden else 2 * len(ranks)
        self.context = nn.Linear(n_context, width, bias=False) if n_context else None
        self.n_ranks = n_ranks
        for name, parameter in self.layers[-1].named_parameters():
            nn.init.normal_(parameter, std=START if name == "weight" else 0.0)

    def forward(self, context: Tensor | None = None) -> Transform:
        """The map under a context (B, n_context): (..., B, D) -> (..., B, D); without one (..., D) -> (..., D)."""
        context_term = None if self.context is None else self.context(context)  # once for all draws
        return AutoregressiveTransform(partial(self.affine, context_term), self.n_ranks)

    def affine(self, context_term: Tensor | None, x: Tensor) -> Transform:
        """The element-wise map whose coefficients are functions of x."""
        first, *others = self.layers
        h = first(x) if context_term is None else first(x) + context_term
        for layer in others:
            h = layer(elu(h))
        shift, log_scale = h.chunk(2, dim=-1)
        return DependentTransform(MonotonicAffineTransform(shift, log_scale), 1)


class Flow(nn.Module):
    """A composition of `transforms` autoregressive maps, the order of the latents reversed from one to the next.

    kind iaf: every latent depends on all before it; coupling: one half of them on the other, in turns, so that the
    inverse takes two passes.
    """

    def __init__(self, latent_dim: int, kind: Kind, transforms: int, hidden: Sequence[int], n_context: int = 0) -> None:
        super().__init__()
        n_ranks = min(latent_dim, 2) if kind == "coupling" else latent_dim
        place = torch.arange(latent_dim)
        ranks = place % 2 if kind == "coupling" else place
        orders = [ranks, n_ranks - 1 - ranks]
        self.maps = nn.ModuleList(Autoregressive(orders[i % 2], n_ranks, hidden, n_context) for i in range(transforms))

    def forward(self, context: Tensor | None = None) -> Transform:
        return ComposedTransform(*(one(context) for one in self.maps))


def base_points(latent_dim: int) -> Tensor:
    """Draws from N(0, I) in pairs of opposites, (2 PAIRS, D), scaled to unit variance; always the same ones."""
    draws = torch.empty(PAIRS, latent_dim).normal_(generator=torch.Generator().manual_seed(0))
    draws = draws / draws.square().mean(0).sqrt()
    return torch.cat([draws, -draws])


class Pushforward(DrawsWithDensity):
    """z = f(e), e ~ N(0, I): log p(z) = log N(f^-1(z); 0, I) - log |det df/de|.

    The log-density of a draw is known when it is made (`rsample_with_log_prob`); `log_prob` inverts f. There is no
    closed form for mean and variance: they are those of the images of `points`, the same for every distribution, and
    exact where f is affine in each latent.

    transform: f, from zuko; points: (M, D), see `base_points`
    """

    support = constraints.real_vector
    has_rsample = True

    def __init__(self, transform: Any, points: Tensor, batch_shape: Sequence[int] = ()) -> None:
        super().__init__(Size(batch_shape), points.shape[-1:], validate_args=False)
        self.transform, self.points = transform, points

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Pushforward:
        return Pushforward(self.transform, self.points, batch_shape)

    def rsample_with_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Draws z (*sample_shape, *batch_shape, D) and log p(z), in one pass through f."""
        base = self.points.new_empty(self._extended_shape(Size(sample_shape))).normal_()
        if not base.numel():  # zuko's sums fail where there are no draws
            return base, base.sum(-1)
        z, log_det = self.transform.call_and_ladj(base)
        return z, standard_log_prob(base) - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        base, log_det = self.transform.inv.call_and_ladj(z)
        return standard_log_prob(base) + log_det

    @property
    def mean(self) -> Tensor:
        return self.images.mean(0)

    @property
    def variance(self) -> Tensor:
        return self.images.var(0, correction=0)

    @property
    def images(self) -> Tensor:
        """The points mapped through f: (M, *batch_shape, D)."""
        points = self.points.view(-1, *[1] * len(self.batch_shape), self.points.shape[-1])
        return self.transform(points.expand(-1, *self._extended_shape()))


def standard_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) of z (..., D)."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))
