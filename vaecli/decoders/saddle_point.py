"""Log-probabilities of counts as sums of terms of their own size, so that single precision keeps their digits.

For k = 10^6, log k! and k log m are near 10^7, and single precision holds such numbers to the nearest integer at best.
Loader (2000), "Fast and accurate computation of binomial probabilities", subtracts Stirling's formula; what remains are
deviances.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
STIRLING_FROM = 16.0  # from here on Stirling's series has all the digits of a double
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
SERIES_BELOW = 0.25  # |v| up to which the series in `deviance` has all digits of a double
ATANH = tuple(1 / n for n in range(3, 27, 2))


def chosen(which: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """torch.where of finite numbers, at a tenth of its time on a CPU."""
    return torch.lerp(no, yes, which.to(no.dtype))


class Deviance(torch.autograd.Function):
    """D = x log(x / M) - x + M >= 0 from x, log(x / M) and x - M; the second has to be finite where x is 0.

    Near M that is a difference of nearly equal numbers. There, with v = (x - M) / (x + M) and log(x / M) = 2 atanh v,
    D = v (x - M) + 2 x (v^3 / 3 + v^5 / 5 + ...). The derivatives with respect to x and log(x / M), which are D / x
    and x - M, involve no subtraction of nearly equal numbers. x - M gets no derivative of its own: it is counted in
    that of log(x / M).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, log_ratio: Tensor, excess: Tensor) -> Tensor:
        v = excess / (2 * x - excess).clamp_min_(torch.finfo(x.dtype).tiny)  # 0 where x and M are
        square = v.square()
        atanh, *lower = reversed(ATANH if v.dtype == torch.float64 else ATANH[:4])
        series = square * atanh
        for c in lower:  # in place: what takes time is memory
            series.add_(c).mul_(square)
        near = series.mul_(x).mul_(2).add_(excess).mul_(v)
        return chosen(v.abs_() < SERIES_BELOW, near, (x * log_ratio).sub_(excess))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        x, _, excess = inputs
        ctx.save_for_backward(x, excess, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, excess, deviance = ctx.saved_tensors
        of_x = gradient * deviance / x if ctx.needs_input_grad[0] else None
        return of_x, gradient * excess, None


def deviance(x: Tensor, log_ratio: Tensor, excess: Tensor) -> Tensor:
    """`Deviance` of tensors that are broadcast against each other."""
    result: Tensor = Deviance.apply(*torch.broadcast_tensors(x, log_ratio, excess))
    return result


def log_one_plus(u: Tensor, one_plus_u: Tensor) -> Tensor:
    """log(1 + u) for u > -1, accurate for u near 0 and, from `one_plus_u`, for u near -1."""
    near = u > -0.5
    return torch.where(near, torch.log1p(torch.where(near, u, 0.0)), torch.where(near, 1.0, one_plus_u).log())


def log_factorial(k: Tensor, log_k: Tensor) -> Tensor:
    """log k! - (k log k - k), about 1/2 log 2 pi k, for whole numbers; log_k may be anything finite where k is 0."""
    plain = torch.lgamma(k.clamp_max(STIRLING_FROM) + 1) - k * log_k + k
    return chosen(k > STIRLING_FROM, 0.5 * (log_k + LOG_2PI) + series(k.clamp_min(STIRLING_FROM)), plain)


def stirling(r: Tensor) -> Tensor:
    """log gamma(r) - (r - 1/2) log r + r - 1/2 log 2 pi, about 1 / 12 r."""
    small = r.clamp_max(2 * STIRLING_FROM)  # far above STIRLING_FROM: the clamp's zero gradient is unused
    plain = torch.lgamma(small) - (small - 0.5) * small.log() + small - 0.5 * LOG_2PI
    return chosen(r > STIRLING_FROM, series(r.clamp_min(STIRLING_FROM / 2)), plain)


def series(r: Tensor) -> Tensor:
    """Stirling's series for large r."""
    inverse = 1 / r
    square = inverse.square()
    last, *before = reversed(STIRLING if r.dtype == torch.float64 else STIRLING[:2])
    total = square * last
    for c in before[:-1]:
        total = (total + c) * square
    return (total + before[-1]) * inverse
