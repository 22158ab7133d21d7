"""Missing cells given the known ones: importance-weighted draws of z, and the cells that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from vaecli.models.inference import evaluating
from vaecli.models.vae import VAE
from vaecli.utils.columns import CODED, ColumnKind

AT_ONCE = 2**15  # decoded rows at a time
ROUNDS = 3  # in which the proposal is fitted
WIDER = 1.5  # the fitted covariance, as a multiple of that of the draws
Tick = Callable[[int], object]  # called with the number of observations done


class Conditional(NamedTuple):
    """K weighted draws from p(z, x | the known part of x) for each of B observations."""

    x: Tensor  # (K, B, d): draws from p(x|z); known cells are unchanged
    mean: Tensor  # (K, B, d): means of p(x|z), or the most likely category
    log_w: Tensor  # (K, B), float64

    @property
    def weights(self) -> Tensor:
        """(K, B); their sum over K is 1."""
        return self.log_w.softmax(0)

    @property
    def ess(self) -> Tensor:
        """The effective number of draws (B,): 1 / sum w^2."""
        return 1 / self.weights.square().sum(0)


def conditional(model: VAE, x: Tensor, k: int) -> Conditional:
    """k weighted draws of z given the known part of x (B, d), and then of the missing part given z."""
    _, p_x, log_w = weighted_draws(model, x, k)
    missing = x.isnan()
    drawn = torch.where(missing, p_x.sample(), x)
    return Conditional(drawn, torch.where(missing, p_x.mean, x), log_w)


def weighted_draws(model: VAE, x: Tensor, k: int) -> tuple[Tensor, Distribution, Tensor]:
    """Self-normalised importance sampling of z given the known part of x (B, d).

    Returns z (k, B, D), p(x|z), and log p(x_known|z) p(z) / r(z) (k, B), float64, whose log-mean estimates
    log p(x_known). Mattei and Frellsen (2019), MIWAE, with a proposal r(z) that begins as half of q(z|x) and half of
    the prior, and is fitted to the posterior in ROUNDS rounds: a normal distribution with mean and covariance of the
    weighted draws gets a share of 0.8. The prior's share bounds the weights of the last round.
    """
    q_z, p_z = model.encode(x), model.prior(model.encode).expand((len(x),))
    proposal: list[tuple[float, Distribution]] = [(0.5, q_z), (0.5, p_z)]
    for _ in range(ROUNDS):
        z, _, log_w = weighted_by(proposal, model, x, p_z, k)
        proposal = [(0.8, fitted(z, log_w)), (0.1, q_z), (0.1, p_z)]
    return weighted_by(proposal, model, x, p_z, k)


def weighted_by(
    proposal: Sequence[tuple[float, Distribution]], model: VAE, x: Tensor, p_z: Distribution, k: int
) -> tuple[Tensor, Distribution, Tensor]:
    """k draws of a proposal, p(x|z), and their log-weights."""
    z, log_r = mixture_draws(proposal, k)
    p_x = model.decode(z)
    return z, p_x, (p_x.log_prob(x) + p_z.log_prob(z) - log_r).double()


def mixture_draws(mixture: Sequence[tuple[float, Distribution]], k: int) -> tuple[Tensor, Tensor]:
    """k draws (K, B, D) of a mixture, divided among its parts by their shares, and their log-densities (K, B)."""
    counts = [max(1, round(share * k)) for share, _ in mixture[1:]]
    counts = [max(1, k - sum(counts)), *counts]
    z = torch.cat([part.sample((n,)) for n, (_, part) in zip(counts, mixture, strict=True)])
    logs = [part.log_prob(z) + math.log(n / sum(counts)) for n, (_, part) in zip(counts, mixture, strict=True)]
    return z, torch.stack(logs).logsumexp(0)


def fitted(z: Tensor, log_w: Tensor) -> Distribution:
    """The normal distribution with mean and covariance of weighted draws z (K, B, D), somewhat wider.

    If a few draws have all the weight, the weights are raised to a power below 1, so that enough draws count.
    """
    enough = min(len(z) / 4, 4 * z.shape[-1] + 20)
    low, high = torch.zeros_like(log_w[0]), torch.ones_like(log_w[0])
    for _ in range(20):
        power = (low + high) / 2
        fine = 1 / (power * log_w).softmax(0).square().sum(0) >= enough
        low, high = torch.where(fine, power, low), torch.where(fine, high, power)
    like, w, z = z.dtype, (low * log_w).softmax(0), z.double()
    mean = torch.einsum("kb,kbd->bd", w, z)
    away = z - mean
    covariance = torch.einsum("kb,kbd,kbe->bde", w, away, away)
    jitter = 1e-3 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-8)
    covariance = WIDER * covariance + jitter[:, None, None] * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    root = torch.linalg.cholesky(covariance).to(like)
    return MultivariateNormal(mean.to(like), scale_tril=root, validate_args=False)


class Cells(NamedTuple):
    """The estimate of each cell of N observations (N, d); known cells are unchanged."""

    value: Tensor  # the conditional mean, or the most likely category
    low: Tensor  # ends of an interval with the probability asked for; NaN for categories
    high: Tensor
    probability: Tensor  # of `value`, for categories; NaN for numbers
    complete: Tensor  # (C, N, d): completed observations, each drawn as a whole
    ess: Tensor  # (N,)


def impute(
    model: VAE, x: Tensor, k: int, kinds: Sequence[ColumnKind] | None = None, coverage: float = 0.9,
    complete: int = 0, seed: int = 0, tick: Tick = lambda n: None,
) -> Cells:  # fmt: skip
    """Estimates of every cell of x (N, d), in which NaN is a missing one, from k weighted draws for each row with gaps.

    kinds: of the columns; None: all of them are numbers. coverage: of the intervals.
    """
    parts = []
    codes = torch.tensor([one.kind in CODED for one in kinds] if kinds else [False] * x.shape[1], device=x.device)
    if not len(x):
        return Cells(*(torch.zeros(shape) for shape in [x.shape] * 4 + [(complete, *x.shape), (0,)]))
    chooser = torch.Generator(x.device).manual_seed(seed)  # of its own, so that `complete` changes no other figure
    with evaluating(model, seed):
        for rows in x.split(max(1, AT_ONCE // k)):
            found = conditional(model, rows, k)
            parts.append(cells(found, codes, coverage, complete, chooser))
            tick(len(rows))
    each = {name: [getattr(part, name).cpu() for part in parts] for name in Cells._fields}
    return Cells(**{name: torch.cat(values, 1 if name == "complete" else 0) for name, values in each.items()})


def cells(found: Conditional, codes: Tensor, coverage: float, complete: int, chooser: torch.Generator) -> Cells:
    """The summary of weighted draws; codes: (d,), which columns are categories; chooser: of the completed rows."""
    w = found.weights.to(found.x.dtype)
    mean = (w.unsqueeze(-1) * found.mean).sum(0)
    best, probability = most_likely(found.x, w, codes)
    low, high = interval(found.x, w, coverage)
    nothing = torch.full_like(mean, torch.nan)
    chosen = torch.zeros(0, len(mean), dtype=torch.int64, device=w.device)
    if complete:
        chosen = torch.multinomial(found.weights.T.float(), complete, replacement=True, generator=chooser).T
    completed = found.x.gather(0, chosen.unsqueeze(-1).expand(-1, -1, found.x.shape[-1]))
    return Cells(
        torch.where(codes, best, mean), torch.where(codes, nothing, low), torch.where(codes, nothing, high),
        torch.where(codes, probability, nothing), completed, found.ess,
    )  # fmt: skip


def most_likely(x: Tensor, w: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The category of the largest weight among draws x (K, B, d) with weights w (K, B), and its weight: each (B, d)."""
    value, probability = x[0].clone(), torch.ones_like(x[0])
    for j in codes.nonzero()[:, 0].tolist():
        k = x[..., j].round().long().clamp_min(0)
        sums = torch.zeros(x.shape[1], int(k.max()) + 1, dtype=w.dtype, device=x.device)
        sums.scatter_add_(1, k.T, w.T)
        probability[:, j], best = sums.max(1)
        value[:, j] = best.to(x.dtype)
    return value, probability


def interval(x: Tensor, w: Tensor, coverage: float) -> tuple[Tensor, Tensor]:
    """The ends (B, d) of intervals with a weight of at least `coverage`, of draws x (K, B, d) with weights w (K, B).

    Whole numbers get the shortest, since the one between two quantiles would hold much more than `coverage`; other
    numbers the one between quantiles, which depends less on single draws.
    """
    ordered, at = x.movedim(0, -1).sort(-1)
    each = w.T.unsqueeze(1).expand_as(ordered).gather(-1, at)
    upto = each.cumsum(-1)
    ends = [torch.full_like(ordered[..., :1], (1 + sign * coverage) / 2) for sign in (-1, 1)]
    quantiles = [ordered.gather(-1, torch.searchsorted(upto, p).clamp_max(len(x) - 1)) for p in ends]
    last = torch.searchsorted(upto, upto - each + coverage * (1 - 1e-6))
    highest = ordered.gather(-1, last.clamp_max(len(x) - 1))
    start = (highest - ordered).masked_fill(last >= len(x), torch.inf).argmin(-1, keepdim=True)
    whole = (ordered == ordered.round()).all(-1, keepdim=True)
    low = torch.where(whole, ordered.gather(-1, start), quantiles[0])
    high = torch.where(whole, highest.gather(-1, start), quantiles[1])
    return low[..., 0], high[..., 0]


def draws_given(model: VAE, x: Tensor, n: int, k: int, seed: int = 0) -> tuple[Tensor, float]:
    """n draws (n, d) of whole observations given the known part of x (1, d), resampled from k weighted draws, and the
    effective number of the latter."""
    with evaluating(model, seed):
        sizes = [AT_ONCE] * (k // AT_ONCE) + [k % AT_ONCE] * (k % AT_ONCE > 0)
        parts = [conditional(model, x, size) for size in sizes]
        weights = torch.cat([part.log_w[:, 0] for part in parts]).softmax(0)
        drawn = torch.multinomial(weights.float(), n, replacement=True)
    return torch.cat([part.x[:, 0] for part in parts])[drawn].cpu(), float(1 / weights.square().sum())
