"""Log-probabilities of counts as sums of terms of their own size, so that single precision keeps their digits.

log k! and k log m of a million are numbers of 10^7, of which single precision holds the ones at best. Loader (2000),
"Fast and accurate computation of binomial probabilities", takes Stirling's formula out and leaves deviances.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGE = 30.0  # from here on Stirling's series has all the digits of a double
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
NEAR = 0.25  # |v| up to which the series of `deviance` has them
ATANH = tuple(1 / n for n in range(3, 27, 2))


def deviance(x: Tensor, excess: Tensor, v: Tensor, log_ratio: Tensor) -> Tensor:
    """D = x log(x / M) - x + M >= 0 for x, M >= 0, given x - M, v = (x - M) / (x + M) and log(x / M).

    Near M that is a difference of nearly equal numbers. There, log(x / M) being 2 atanh v,
    D = v (x - M) + 2 x (v^3 / 3 + v^5 / 5 + ...). `log_ratio` has to be finite where x is 0.
    """
    near = v.abs() < NEAR
    v = torch.where(near, v, 0.0)
    square = v.square()
    series = torch.zeros_like(v)
    for c in reversed(ATANH if v.dtype == torch.float64 else ATANH[:4]):
        series = series * square + c
    return torch.where(near, v * (excess + 2 * x * square * series), x * log_ratio - excess)


def log_one_plus(u: Tensor, one_plus_u: Tensor) -> Tensor:
    """log(1 + u) for u > -1, with all digits where u is near 0, and where 1 + u is: it is given too."""
    near = u > -0.5
    return torch.where(near, torch.log1p(torch.where(near, u, 0.0)), torch.where(near, 1.0, one_plus_u).log())


def log_factorial(k: Tensor) -> Tensor:
    """log k! - (k log k - k), about 1/2 log 2 pi k."""
    large = k > LARGE
    small, k = torch.where(large, 1.0, k), torch.where(large, k, LARGE)
    return torch.where(
        large, 0.5 * torch.log(2 * math.pi * k) + series(k), torch.lgamma(small + 1) - torch.xlogy(small, small) + small
    )


def stirling(r: Tensor) -> Tensor:
    """log gamma(r) - (r - 1/2) log r + r - 1/2 log 2 pi, about 1 / 12 r."""
    large = r > LARGE
    small, r = torch.where(large, 1.0, r), torch.where(large, r, LARGE)
    plain = torch.lgamma(small) - (small - 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    return torch.where(large, series(r), plain)


def series(r: Tensor) -> Tensor:
    """Stirling's series for large r."""
    inverse = 1 / r
    square, total = inverse.square(), torch.zeros_like(r)
    for c in reversed(STIRLING):
        total = total * square + c
    return total * inverse
