"""log p(x) by numerical integration over one or two latents: exact to the digits that anyone reads."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.split import Split
from vaecli.evaluation import batches, evaluating
from vaecli.likelihood import Tick, rows_at_once
from vaecli.threads import in_order
from vaecli.vae import VAE

REACH = 12.0  # the first cells cover [-REACH, REACH] in each latent; the standard normal has 4e-33 of its mass outside
HALF = 1.0  # half the side of a first cell
NODES = 6  # Gauss-Legendre nodes in each dimension of a cell
LEVELS = 20  # halvings of a cell; the smallest is 4e-6 wide
CAUTION = 60.0  # nats below the integral at which a first cell is cut all the same, halved with every level
CAREFREE = 10.0  # caution below this is none


class Quadrature(NamedTuple):
    """The integral for each of N observations; each (N,), float64, on the CPU."""

    log_px: Tensor
    change: Tensor  # at most how far log_px moved, in nats, when every cell got 2^D times the points


class Rule(NamedTuple):
    """The Gauss-Legendre product rule on [-1, 1]^D."""

    nodes: Tensor  # (n^D, D)
    log_weights: Tensor  # (n^D,)


def quadrature(
    model: VAE, split: Split, tolerance: float = 1e-6, nodes: int = NODES, tick: Tick = lambda n: None
) -> Quadrature:
    """log of the integral of p(x|z) p(z) over z for every observation; one or two latents, in float64.

    A cell is cut in halves along each latent until that changes the integral by less than `tolerance` of it, or the
    cell contributes less. The cells start from the whole prior and follow the integrand: the encoder has no say, so
    that a posterior with several modes, or one far narrower than q(z|x), is found as well. Raises ValueError for
    more than two latents.
    """
    if model.latent_dim > 2:
        raise ValueError(f"quadrature needs one or two latents, this model has {model.latent_dim}")
    found = []
    precise = _double(model)
    with evaluating(precise):
        integrals = _Integrals(precise, nodes, tolerance)
        observations = (x for batch in batches(split) for x in batch.to(integrals.device).double())
        jobs = ((None, partial(integrals.of, x)) for x in observations)
        for _, pair in in_order(jobs, threads=torch.get_num_threads() if integrals.device.type == "cpu" else 0):
            found.append(pair)
            tick(1)
    return Quadrature(*torch.tensor(found, dtype=torch.float64).T)


def _double(model: VAE) -> VAE:
    device = next(model.parameters()).device
    return copy.deepcopy(model).to("cpu" if device.type == "mps" else device).double()  # mps has no float64


class _Integrals:
    """Adaptive integration; what the first cells decode to is the same for all observations and kept."""

    def __init__(self, model: VAE, nodes: int, tolerance: float) -> None:
        self.model, self.tolerance, self.dim = model, tolerance, model.latent_dim
        self.device = next(model.parameters()).device
        self.rule = gauss_legendre(nodes, self.dim, self.device)
        self.corners = _product(torch.tensor([-0.5, 0.5], dtype=torch.float64, device=self.device), self.dim)
        self.p_z, self.rows = model.prior(model.encode), rows_at_once(model)
        middles = torch.arange(-REACH + HALF, REACH, 2 * HALF, dtype=torch.float64, device=self.device)
        self.cells = _product(middles, self.dim)  # (C, D)
        z = self.points(self.cells, HALF)
        self.decoded, self.first_log_pz = [model.decode(part) for part in z.split(self.rows)], self.p_z.log_prob(z)

    def points(self, cells: Tensor, half: float) -> Tensor:
        """The nodes (C n^D, D) of cells with these middles (C, D)."""
        return (cells.unsqueeze(1) + half * self.rule.nodes).flatten(0, 1)

    def sums(self, log_joint: Tensor, half: float) -> Tensor:
        """Each cell's log-integral (C,) from the log-joint at its nodes (C n^D,)."""
        values = log_joint.view(-1, len(self.rule.nodes)) + self.rule.log_weights
        return torch.logsumexp(values, 1) + self.dim * math.log(half)

    def integrate(self, x: Tensor, cells: Tensor, half: float) -> Tensor:
        z = self.points(cells, half)
        log_px = torch.cat([self.model.decode(part).log_prob(x) for part in z.split(self.rows)])
        return self.sums(log_px + self.p_z.log_prob(z), half)

    def of(self, x: Tensor) -> tuple[float, float]:
        """log p(x) of one observation and the change that the last halvings made."""
        log_px = torch.cat([p_x.log_prob(x) for p_x in self.decoded])
        cells, half, caution = self.cells, HALF, CAUTION
        coarse = self.sums(log_px + self.first_log_pz, half)
        settled, change = coarse.new_full((1,), -torch.inf), 0.0
        for _ in range(LEVELS):
            total = torch.logsumexp(torch.cat([settled, coarse]), 0)
            close = coarse > total + math.log(self.tolerance) - caution
            settled = torch.cat([settled, coarse[~close]]).logsumexp(0, keepdim=True)
            cells, coarse, half, caution = cells[close], coarse[close], half / 2, caution / 2
            if not len(cells):
                break
            children = cells.unsqueeze(1) + 2 * half * self.corners  # (C, 2^D, D)
            parts = self.integrate(x, children.flatten(0, 1), half).view(len(cells), -1)
            fine = parts.logsumexp(1)
            total = torch.logsumexp(torch.cat([settled, fine]), 0)
            moved = ((fine - total).exp() - (coarse - total).exp()).abs()
            open_ = (moved > self.tolerance) | (fine > total + math.log(self.tolerance) - caution) & (
                caution > CAREFREE
            )
            settled = torch.cat([settled, fine[~open_]]).logsumexp(0, keepdim=True)
            change += float(moved[~open_].sum())
            cells, coarse = children[open_].flatten(0, 1), parts[open_].flatten()
        total = torch.logsumexp(torch.cat([settled, coarse]), 0)
        return float(total), change


def gauss_legendre(n: int, dim: int, device: torch.device | str = "cpu") -> Rule:
    """The product rule with n nodes in each of `dim` dimensions."""
    nodes, weights = (torch.from_numpy(values).to(device) for values in np.polynomial.legendre.leggauss(n))
    return Rule(_product(nodes, dim), _product(weights.log(), dim).sum(1))


def _product(values: Tensor, dim: int) -> Tensor:
    """All `dim`-tuples of values (n,): (n^dim, dim)."""
    return torch.cartesian_prod(*[values] * dim).reshape(-1, dim)
