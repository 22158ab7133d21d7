"""Odd observations: conformal p-values of scores, which of them to flag, and which columns made a row odd."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaecli.analysis.imputation import AT_ONCE, Tick, weighted_draws
from vaecli.models.inference import evaluating
from vaecli.models.vae import VAE

ROUNDING = 1e-12
LEAST_GAP = 0.02  # difference of two shares of missing cells
USUAL = 200  # reference rows that suffice for the usual value of each column


def p_values(ordinary: Tensor, scores: Tensor) -> Tensor:
    """Conformal p-values (N,), float64, of scores (N,) beside those of n ordinary observations (n,); low is odd.

    p = (1 + the number of ordinary scores that are no higher) / (n + 1). Of an observation that is exchangeable with
    the ordinary ones, P(p <= rate) <= rate for every rate, whatever the model: Vovk, Gammerman and Shafer (2005). A
    score that is NaN counts as the lowest.
    """
    below = torch.searchsorted(odd_first(ordinary).sort().values, odd_first(scores), right=True)
    return (1 + below).double() / (len(ordinary) + 1)


def odd_first(scores: Tensor) -> Tensor:
    return torch.where(scores.isnan(), -torch.inf, scores.double())


def least_rate(n: int) -> float:
    """The smallest p-value that n ordinary observations allow."""
    return 1 / (n + 1)


def significant(p: Tensor, rate: float) -> Tensor:
    """Whether p is at most the rate, up to rounding."""
    return p <= rate * (1 + ROUNDING)


def min_references(rate: float) -> int:
    """How many ordinary observations a rate needs: the fewest n with 1 / (n + 1) <= rate."""
    return max(1, math.ceil(1 / rate - 1 - 1e-9))


def benjamini_hochberg(p: Tensor, rate: float) -> Tensor:
    """Which of p (N,) to flag so that at most a share `rate` of the flagged is ordinary in expectation.

    Benjamini and Hochberg (1995): the i smallest, for the largest i with p_(i) <= i rate / N. Conformal p-values that
    share their ordinary observations keep the guarantee: Bates et al. (2023), "Testing for outliers with conformal
    p-values".
    """
    order = p.sort()
    limit = rate * torch.arange(1, len(p) + 1, dtype=torch.float64) / len(p)
    fine = (order.values <= limit * (1 + ROUNDING)).nonzero()
    flagged = torch.zeros(len(p), dtype=torch.bool)
    if len(fine):
        flagged[order.indices[: int(fine[-1]) + 1]] = True
    return flagged


def unlike_gaps(ordinary: Tensor, x: Tensor) -> tuple[float, float] | None:
    """The shares of missing cells in ordinary observations (n, ...) and in x (N, ...), if they differ clearly.

    Clearly: by more than LEAST_GAP, and by more than 3 standard errors, with a row's share as one figure.
    """
    shares = [part.isnan().flatten(1).double().mean(1).cpu() for part in (ordinary, x)]
    usual, seen = (float(share.mean()) for share in shares)
    variance = float(sum(((share - share.mean()) ** 2).sum() for share in shares)) / max(1, sum(map(len, shares)) - 2)
    error = math.sqrt(variance * sum(1 / len(share) for share in shares))
    return (usual, seen) if abs(usual - seen) > max(LEAST_GAP, 3 * error) else None


def excess_surprisal(
    model: VAE, usual: Tensor, x: Tensor, k: int, seed: int = 0, tick: Tick = lambda n: None
) -> Tensor:
    """How much less likely each column of x (N, d) is than in the `usual` rows (M, d), given the row's others; in nats.

    (N, d): -log p(x_j | the others) minus its mean over the usual rows; NaN where x_j is missing.
    """
    both = columns_given_others(model, torch.cat([usual, x]), k, seed, tick)
    excess = both[: len(usual)].nanmean(0) - both[len(usual) :]
    return excess.where(excess.abs() > ROUNDING, 0 * excess)  # exactly 0 in constant columns


def columns_given_others(model: VAE, x: Tensor, k: int, seed: int = 0, tick: Tick = lambda n: None) -> Tensor:
    """log p(x_j | the other columns) of each column of x (N, d), in nats, float64; NaN where x_j is missing.

    Both parts of log p(x) - log p(x without x_j) come from the same k weighted draws of z, in which the columns are
    independent: log sum w - log sum w / p(x_j|z). If x_j is far from what the others suggest, a few draws that suit the
    others have most of the weight; the result then has an error of some tenths of a nat or more, and tends to be too
    small.
    """
    parts = []
    with evaluating(model, seed):
        for rows in x.split(max(1, AT_ONCE // k)):
            _, p_x, log_w = weighted_draws(model, rows, k)
            own = p_x.base_dist.log_prob(rows).double()  # type: ignore[attr-defined]
            given = log_w.logsumexp(0).unsqueeze(-1) - (log_w.unsqueeze(-1) - own).logsumexp(0)
            parts.append(torch.where(rows.isnan(), torch.nan, given).cpu())
            tick(len(rows))
    return torch.cat(parts)
