"""How heavy the tail of importance weights is: Pareto smoothed importance sampling's diagnostic."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_DRAWS = 25  # draws; with fewer, the tail has fewer than five of them
FLOOR = 1e6  # nats below the largest log-weight to which lower ones are raised, since a weight may be 0
EQUAL = 1e-3  # nats between largest and cutoff below which the weights are equal but for rounding
SPAN = 600.0  # nats between tail and cutoff beyond which doubles cannot hold the weights' ratios


def tail_length(k: int) -> int:
    """How many of the largest of k weights the tail is fitted to: Vehtari et al. (2024), section 3.2."""
    return math.ceil(min(k / 5, 3 * math.sqrt(k)))


def threshold(k: int) -> float | None:
    """The Pareto k up to which an estimate from k draws is reliable; None below 25 draws, which are too few to tell."""
    return min(1 - 1 / math.log10(k), 0.7) if k >= MIN_DRAWS else None


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape of the tail of the weights, (B,), from their largest log-weights log_w (M + 1, B), M >= 5.

    w, not 1 / w: a larger log_w is a larger weight. The excess over the smallest of them is fitted by a generalised
    Pareto distribution, whose 1 / k is the number of moments that the weights have: above 1/2 their variance is
    infinite, above 1 their mean. Vehtari et al. (2024), arXiv 1507.02646; 0 where the largest weights are the same.
    """
    ordered = log_w.sort(0).values
    largest = ordered[-1:]
    tail, cutoff = ordered.clamp_min(largest - FLOOR).tensor_split([1])[::-1]
    excess = (tail - largest).exp() - (cutoff - largest).exp()
    fitted = _shape(excess.clamp_min(0))
    m = len(tail)
    hill = (tail - cutoff).mean(0)  # the limit of the fit for large k
    raw = torch.where((largest - cutoff).squeeze(0) > SPAN, hill, fitted)
    prior = (raw * m + 5) / (m + 10)  # ten weights' worth of k = 1/2, section 3.2
    return torch.where((largest - cutoff < EQUAL).squeeze(0), 0.0, prior)


def _shape(x: Tensor) -> Tensor:
    """The shape k of the generalised Pareto distribution of x (M, B), ascending; (B,).

    The posterior mean of Zhang and Stephens (2009), eq. 4 to 6, over a grid of theta = -k / scale.
    """
    m = len(x)
    n = 30 + int(m**0.5)
    j = torch.arange(1, n + 1, dtype=x.dtype, device=x.device).view(-1, 1)
    quartile = x[int(m / 4 + 0.5) - 1]
    quartile = torch.where(quartile > 0, quartile, x.mean(0)).clamp_min(1e-300)  # 0 where weights are equal
    theta = 1 / x[-1].clamp_min(1e-300) + (1 - (n / (j - 0.5)).sqrt()) / (3 * quartile)  # (n, B)
    k = torch.stack([torch.log1p(-one * x).mean(0) for one in theta])
    likelihood = m * ((-theta / k).log() - k - 1)
    weights = torch.where(likelihood.isfinite(), likelihood, -torch.inf).softmax(0)  # 0 / 0 at theta = 0
    best = (theta * weights).sum(0)
    return torch.log1p(-best * x).mean(0)
