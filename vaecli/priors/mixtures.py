"""Mixtures of any distributions of z.

Not torch's MixtureSameFamily, whose log_prob holds the densities of all z under all components at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, Normal, constraints

MAX_DENSITIES = 2**22  # numbers in a tensor of all components' densities


class Mixture(Distribution):
    """p(z) = sum_k w_k p_k(z).

    components: the p_k, batch shape (K,) and event shape (D,); log_weights: log w_k (K,), normalised
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, components: Distribution, log_weights: Tensor, batch_shape: Sequence[int] = ()) -> None:
        super().__init__(Size(batch_shape), components.event_shape, validate_args=False)
        self.components, self.log_weights = components, log_weights

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Mixture:
        return Mixture(self.components, self.log_weights, batch_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """z (..., D) -> (...), a few z at a time, so that the densities under all components fit into memory."""
        parts = z.reshape(-1, z.shape[-1]).split(max(1, MAX_DENSITIES // (len(self.log_weights) * z.shape[-1])))
        densities = [torch.logsumexp(log_densities(self.components, part) + self.log_weights, -1) for part in parts]
        return torch.cat(densities).view(z.shape[:-1])

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(Size(sample_shape))
        n, weights = shape[:-1].numel(), self.log_weights.exp()
        component = torch.multinomial(weights, n, replacement=True) if n else weights.new_empty(0, dtype=torch.long)
        # The i-th draw of a component takes the i-th row of draws from all of them.
        order = component.argsort(stable=True)
        counts = component.bincount(minlength=len(weights))
        row = torch.empty_like(component)
        row[order] = torch.arange(n, device=order.device) - (counts.cumsum(0) - counts)[component[order]]
        draws = self.components.sample((int(counts.max()),))
        return draws[row, component].view(shape)

    @property
    def mean(self) -> Tensor:
        return self._average(self.components.mean).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The components' mean variance and the variance of their means."""
        means = self.components.mean
        between = (means - self._average(means)).square()
        return self._average(self.components.variance + between).expand(self._extended_shape())

    def _average(self, values: Tensor) -> Tensor:
        return self.log_weights.exp() @ values


def log_densities(components: Distribution, z: Tensor) -> Tensor:
    """log p_k(z) (N, K) of each z (N, D) under each of K components."""
    normal = components.base_dist if isinstance(components, Independent) else None
    if isinstance(normal, Normal) and z.device.type != "mps":  # which has no double precision
        return gaussian_log_densities(normal.loc, normal.scale, z)
    return components.log_prob(z.unsqueeze(-2))


def gaussian_log_densities(loc: Tensor, scale: Tensor, z: Tensor) -> Tensor:
    """log N(z; m_k, diag s_k^2) (N, K) of z (N, D), with loc m and scale s (K, D).

    The square (z - m)^2 / s^2 is multiplied out, so that all densities are one product of matrices. Its terms nearly
    cancel, hence double precision: an error of 1e-16 sum_d z_d^2 / s_d^2.
    """
    kind, z, loc, scale = z.dtype, z.double(), loc.double(), scale.double()
    precision = scale.pow(-2)
    log_norm = scale.log().sum(-1) + 0.5 * math.log(2 * math.pi) * z.shape[-1]
    at_zero = -0.5 * (loc.square() * precision).sum(-1) - log_norm
    by_power = torch.cat([-0.5 * precision, loc * precision], -1)
    return torch.addmm(at_zero, torch.cat([z.square(), z], -1), by_power.T).to(kind)
