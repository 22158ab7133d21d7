"""log p(x) by numerical integration over one or two latents: exact to the digits that anyone reads."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from vaecli.datasets.split import Split
from vaecli.evaluation import batches, evaluating
from vaecli.likelihood import Tick, rows_at_once
from vaecli.threads import in_order
from vaecli.vae import VAE

REACH = 12.0  # the first cells cover [-REACH, REACH] in each latent; the standard normal has 4e-33 of its mass outside
BEYOND = 2.0  # and at least so many times the distance of the farthest of the prior's draws
ACROSS = 12  # first cells in each latent
DRAWS = 100_000  # from the prior, to find where it has its mass
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


class Cells(NamedTuple):
    """Squares, of any sizes."""

    middle: Tensor  # (C, D)
    half: Tensor  # (C, 1), half the side

    def points(self, rule: Rule) -> Tensor:
        """The nodes (C n^D, D)."""
        return (self.middle.unsqueeze(1) + self.half.unsqueeze(1) * rule.nodes).flatten(0, 1)

    def sums(self, log_values: Tensor, rule: Rule) -> Tensor:
        """Each cell's log-integral (C,) from the logarithm of the integrand at its nodes (C n^D,)."""
        values = log_values.view(-1, len(rule.nodes)) + rule.log_weights
        return torch.logsumexp(values, 1) + self.middle.shape[1] * self.half.squeeze(1).log()

    def cut(self) -> Cells:
        """The 2^D parts of each, in a row: (C 2^D, D)."""
        dim = self.middle.shape[1]
        corners = _product(self.middle.new_tensor([-0.5, 0.5]), dim)
        parts = self.middle.unsqueeze(1) + self.half.unsqueeze(1) * corners
        return Cells(parts.flatten(0, 1), (self.half / 2).repeat_interleave(2**dim, 0))

    def take(self, which: Tensor) -> Cells:
        return Cells(self.middle[which], self.half[which])


def quadrature(
    model: VAE, split: Split, tolerance: float = 1e-6, nodes: int = NODES, tick: Tick = lambda n: None
) -> Quadrature:
    """log of the integral of p(x|z) p(z) over z for every observation; one or two latents, in float64.

    A cell is cut in halves along each latent until that changes the integral by less than `tolerance` of it, or the
    cell contributes less. The cells start from the whole prior and follow the integrand: the posterior has no say, so
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
        self.model, self.tolerance = model, tolerance
        self.device = next(model.parameters()).device
        self.rule = gauss_legendre(nodes, model.latent_dim, self.device)
        self.p_z, self.rows = model.prior(model.encode), rows_at_once(model)
        self.cells = first_cells(self.p_z, self.rule)
        z = self.cells.points(self.rule)
        self.decoded, self.first_log_pz = [model.decode(part) for part in z.split(self.rows)], self.p_z.log_prob(z)

    def integrate(self, x: Tensor, cells: Cells) -> Tensor:
        z = cells.points(self.rule)
        log_px = torch.cat([self.model.decode(part).log_prob(x) for part in z.split(self.rows)])
        return cells.sums(log_px + self.p_z.log_prob(z), self.rule)

    def of(self, x: Tensor) -> tuple[float, float]:
        """log p(x) of one observation and the change that the last halvings made."""
        log_px = torch.cat([p_x.log_prob(x) for p_x in self.decoded])
        cells, caution = self.cells, CAUTION
        coarse = cells.sums(log_px + self.first_log_pz, self.rule)
        settled, change = coarse.new_full((1,), -torch.inf), 0.0
        for _ in range(LEVELS):
            total = torch.logsumexp(torch.cat([settled, coarse]), 0)
            close = coarse > total + math.log(self.tolerance) - caution
            settled = torch.cat([settled, coarse[~close]]).logsumexp(0, keepdim=True)
            cells, coarse, caution = cells.take(close), coarse[close], caution / 2
            if not len(coarse):
                break
            children = cells.cut()
            parts = self.integrate(x, children).view(len(coarse), -1)
            fine = parts.logsumexp(1)
            total = torch.logsumexp(torch.cat([settled, fine]), 0)
            moved = ((fine - total).exp() - (coarse - total).exp()).abs()
            open_ = (moved > self.tolerance) | (fine > total + math.log(self.tolerance) - caution) & (
                caution > CAREFREE
            )
            settled = torch.cat([settled, fine[~open_]]).logsumexp(0, keepdim=True)
            change += float(moved[~open_].sum())
            cells, coarse = children.take(open_.repeat_interleave(parts.shape[1])), parts[open_].flatten()
        total = torch.logsumexp(torch.cat([settled, coarse]), 0)
        return float(total), change


def first_cells(p_z: Distribution, rule: Rule) -> Cells:
    """Where to begin: a grid that reaches beyond the prior, cut where it would miss some of its mass.

    A cell is cut for as long as its integral of p(z) is not about the share of the draws that fell into it: narrow
    components of a mixture would else lie between the nodes.
    """
    draws = p_z.sample((DRAWS,))
    reach = max(REACH, BEYOND * float(draws.abs().max()))
    half = reach / ACROSS
    middles = (torch.arange(ACROSS, device=draws.device) + 0.5).to(draws) * 2 * half - reach
    cells = Cells(_product(middles, draws.shape[1]), draws.new_full((ACROSS ** draws.shape[1], 1), half))
    found = []
    for _ in range(LEVELS):
        share = _shares(draws, cells, reach)
        mass = cells.sums(p_z.log_prob(cells.points(rule)), rule).exp()
        larger = torch.maximum(mass, share)
        wrong = (mass - share).abs() > 0.5 * larger + 5 * (larger / DRAWS).sqrt()
        found.append(cells.take(~wrong))
        cells = cells.take(wrong).cut()
        if not len(cells.middle):
            break
    return Cells(*(torch.cat(parts) for parts in zip(*found, cells, strict=True)))


def _shares(draws: Tensor, cells: Cells, reach: float) -> Tensor:
    """The share of the draws (N, D) in each of some cells of one size, (C,)."""
    side = 2 * cells.half[0]
    radix = (2 * reach / side).round().long() ** torch.arange(draws.shape[1], device=draws.device)
    keys = (((draws + reach) / side).floor().long() * radix).sum(1).sort().values
    mine = (((cells.middle + reach) / side).floor().long() * radix).sum(1)
    return (torch.searchsorted(keys, mine, right=True) - torch.searchsorted(keys, mine)).to(draws) / len(draws)


def gauss_legendre(n: int, dim: int, device: torch.device | str = "cpu") -> Rule:
    """The product rule with n nodes in each of `dim` dimensions."""
    nodes, weights = (torch.from_numpy(values).to(device) for values in np.polynomial.legendre.leggauss(n))
    return Rule(_product(nodes, dim), _product(weights.log(), dim).sum(1))


def _product(values: Tensor, dim: int) -> Tensor:
    """All `dim`-tuples of values (n,): (n^dim, dim)."""
    return torch.cartesian_prod(*[values] * dim).reshape(-1, dim)
