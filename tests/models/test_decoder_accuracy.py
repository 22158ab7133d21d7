"""Decoders at the ends of what numbers can hold, against mpmath's 50 digits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from support.thinned import each_once
from torch import Tensor

from vaecli.decoders.base import inverse_softplus, solve
from vaecli.decoders.bernoulli import Bernoulli
from vaecli.decoders.categorical import LevelProbabilities
from vaecli.decoders.continuous_bernoulli import SERIES_BELOW, UnitInterval
from vaecli.decoders.discretized_logistic import LogisticBins
from vaecli.decoders.grid import Multiples, log_softplus
from vaecli.decoders.negative_binomial import OverdispersedCounts
from vaecli.decoders.poisson import PoissonCounts
from vaecli.decoders.saddle_point import STIRLING_FROM, deviance, log_one_plus, stirling

mpmath.mp.dps = 50
DTYPES = [torch.float32, torch.float64]
LOGITS = [0.0, 1e-12, 1e-6, 1e-3, 0.1, SERIES_BELOW - 1e-9, SERIES_BELOW + 1e-9, 1.0, 5.0, 50.0, 800.0, 1e5]
LOGITS += [-a for a in LOGITS]


def tolerance(dtype: torch.dtype) -> float:
    return 40 * torch.finfo(dtype).eps


def exact_interval(a: float, x: float) -> tuple[Any, Any, Any]:
    """log p(x), mean and variance of the continuous Bernoulli."""
    if a == 0:
        return mpmath.mpf(0), mpmath.mpf(1) / 2, mpmath.mpf(1) / 12
    a = mpmath.mpf(a)
    log_p = x * a - mpmath.log(mpmath.expm1(a) / a)
    return log_p, -1 / mpmath.expm1(-a) - 1 / a, 1 / a**2 - 1 / (4 * mpmath.sinh(a / 2) ** 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli(logit: float, dtype: torch.dtype) -> None:
    a = torch.tensor(logit, dtype=dtype, requires_grad=True)
    p_x, tol = UnitInterval(a), tolerance(dtype)
    for x in (0.0, 0.25, 0.5, 1.0):
        log_p, mean, variance = exact_interval(float(a.detach()), x)
        found = p_x.log_prob(torch.tensor(x, dtype=dtype))
        (gradient,) = torch.autograd.grad(found, a, retain_graph=True)
        assert float(found.detach()) == pytest.approx(float(log_p), rel=tol, abs=tol)
        assert float(gradient) == pytest.approx(float(x - mean), abs=tol)
        assert float(p_x.mean.detach()) == pytest.approx(float(mean), abs=tol)
        assert float(p_x.variance.detach()) == pytest.approx(float(variance), abs=2 * tol)


@pytest.mark.parametrize("logit", [0.0, 0.3, -2.0, 40.0, -700.0, 1e4])
def test_continuous_bernoulli_integrates_to_one(logit: float) -> None:
    """Over cells that grow from the steep end, by the rule of Gauss and Legendre."""
    ends = torch.cat([torch.zeros(1), torch.logspace(-8, 0, 200)]).double()
    ends = 1 - ends.flip(0) if logit > 0 else ends
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(20))
    half, middle = ends.diff() / 2, (ends[1:] + ends[:-1]) / 2
    x = middle.unsqueeze(-1) + half.unsqueeze(-1) * nodes
    p = UnitInterval(torch.tensor(logit, dtype=torch.float64)).log_prob(x).exp()
    assert float((p * weights * half.unsqueeze(-1)).sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("logit", [0.0, 1e-9, 3.0, -3.0, 200.0, -200.0])
def test_continuous_bernoulli_draws_follow_their_cdf(logit: float) -> None:
    x = UnitInterval(torch.tensor(logit, dtype=torch.float64)).sample((20_000,)).sort().values
    cdf = x if abs(logit) < 1e-6 else torch.expm1(logit * x) / math.expm1(logit)
    away = (cdf - (torch.arange(20_000) + 0.5) / 20_000).abs().max()
    assert float(away) * 20_000**0.5 < 1.95  # Kolmogorov and Smirnov, one in a thousand


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loc", "scale"), [(3.2, 0.05), (3.2, 0.7), (-20.0, 0.3), (120.0, 2.0), (8.0, 1e3), (-1e4, 10.0)]
)
def test_discretized_logistic_in_the_tails(loc: float, scale: float, dtype: torch.dtype) -> None:
    """However many scales away the level is: by the form that has no difference in it, at many more digits."""
    levels = 17
    parameters = [torch.tensor(v, dtype=dtype, requires_grad=True) for v in (loc, scale)]
    for k in (0, 1, 7, 15, 16):
        mpmath.mp.dps = 2000
        try:
            expected = float(tail(*(float(p.detach()) for p in parameters), k, levels))
        finally:
            mpmath.mp.dps = 50
        found = LogisticBins(*parameters, levels).log_prob(torch.tensor(k / 16, dtype=dtype))
        assert float(found.detach()) == pytest.approx(expected, rel=tolerance(dtype), abs=tolerance(dtype))
        for gradient in torch.autograd.grad(found, parameters):
            assert bool(gradient.isfinite())


def tail(loc: float, scale: float, k: int, levels: int) -> Any:
    """log of the bin's mass as a plain difference, mirrored so that it is taken in the lower tail."""
    m, s, half = mpmath.mpf(loc), mpmath.mpf(scale), mpmath.mpf(1) / 2
    lower, upper = (k - half - m) / s, (k + half - m) / s
    if k == 0:
        return mpmath.log(below(upper))
    if k == levels - 1:
        return mpmath.log(below(-lower))
    return mpmath.log(below(upper) - below(lower) if upper + lower < 0 else below(-lower) - below(-upper))


def below(u: Any) -> Any:
    return 1 / (1 + mpmath.exp(-u))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_levels_sum_to_one(levels: int, dtype: torch.dtype) -> None:
    x = (torch.arange(levels, dtype=torch.float32) / (levels - 1)).to(dtype)  # as a Split gives them
    loc = torch.tensor([-1e4, -3.0, 0.4, 1.49, 100.0, 300.0], dtype=dtype).unsqueeze(-1)
    p_x = LogisticBins(*torch.broadcast_tensors(loc, torch.tensor([0.01, 0.3, 5.0, 1e3, 1e6], dtype=dtype)), levels)
    total = p_x.log_prob(x.reshape(-1, 1, 1)).exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2 * tolerance(dtype))
    for spread in (0.0, 1.0, 1e3):
        logits = spread * torch.randn(levels, dtype=dtype)
        rounding = 2 * torch.finfo(dtype).eps * (levels + float(logits.abs().max()))
        assert float(LevelProbabilities(logits).log_prob(x).exp().sum()) == pytest.approx(1, abs=rounding)


def test_discretized_logistic_of_2_levels_is_bernoulli() -> None:
    loc, scale, x = torch.tensor(0.8), torch.tensor(0.3), torch.tensor([0.0, 1.0])
    logits = (loc - 0.5) / scale
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x)
    torch.testing.assert_close(LogisticBins(loc, scale, 2).log_prob(x), expected)


def exact_counts(k: int, mean: float, r: float | None) -> Any:
    k_, m = mpmath.mpf(k), mpmath.mpf(mean)
    if r is None:
        return k_ * mpmath.log(m) - m - mpmath.loggamma(k_ + 1)
    n = mpmath.mpf(r)
    ways = mpmath.loggamma(k_ + n) - mpmath.loggamma(n) - mpmath.loggamma(k_ + 1)
    return ways + k_ * mpmath.log(m / (m + n)) + n * mpmath.log(n / (m + n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("r", [1e-3, 0.5, STIRLING_FROM - 1e-3, STIRLING_FROM + 1e-3, 1e3, 1e6, 1e12, 1e30, None])
def test_counts(r: float | None, dtype: torch.dtype) -> None:
    """Up to an r at which a plain difference of two log-gammas has no digit left; without one: Poisson."""
    for mean, k in itertools.product((1e-20, 1e-3, 1.0, 60.0, 1e4), (0, 1, 17, 255)):
        raw = (
            inverse_softplus(torch.tensor(mean, dtype=torch.float64)) if mean > 1e-10 else torch.tensor(math.log(mean))
        )
        raw = raw.to(dtype)
        exact_mean = float(mpmath.log1p(mpmath.exp(float(raw))))
        count, x = None if r is None else torch.tensor(r, dtype=dtype), torch.tensor(float(k), dtype=dtype)
        p_x = PoissonCounts(raw, 1.0) if count is None else OverdispersedCounts(raw, count, 1.0)
        expected = float(exact_counts(k, exact_mean, None if count is None else float(count)))
        size = max(math.lgamma(k + 1), mean, k * abs(math.log(mean)), 1)  # of the terms that are added
        assert float(p_x.log_prob(x)) == pytest.approx(expected, abs=tolerance(dtype) * size)


def counts_of(mean: float, r: float | None) -> list[int]:
    """Counts at both ends, up to ten standard deviations away, and on both sides of where formulas change."""
    spread = math.sqrt(mean + (0 if r is None else mean**2 / r))
    near = [mean + z * spread for z in (-5, -1, -0.3, 0, 0.3, 1, 5, 10)] + [
        mean * f for f in (0.3, 0.59, 0.61, 1.66, 1.68)
    ]
    return sorted({0, 1, 17, *(round(k) for k in near if 0 <= k <= 1e7)})


def scores(k: int, a: float, r: float | None) -> list[Any]:
    """The derivatives of log P(k) by a, of which softplus(a) is the mean, and by r."""
    m, slope = mpmath.log1p(mpmath.exp(a)), 1 / (1 + mpmath.exp(-a))
    if r is None:
        return [(k / m - 1) * slope]
    n = mpmath.mpf(r)
    by_r = mpmath.digamma(k + n) - mpmath.digamma(n) + mpmath.log(n / (m + n)) + (m - k) / (m + n)
    return [(k - m) * n / (m * (m + n)) * slope, by_r]


@pytest.mark.parametrize(
    ("r", "dtype"), each_once([1e-3, 0.1, 1.0, 5.0, STIRLING_FROM + 1, 1e3, 1e5, 1e7, None], DTYPES)
)
def test_large_counts_keep_their_digits(r: float | None, dtype: torch.dtype) -> None:
    """Values to a small part of their own size, gradients to one of what they are a standard deviation away."""
    tol = 50 * torch.finfo(dtype).eps  # 6e-6 and 1e-14; it was 1 nat and more in single precision
    for mean in (0.5, 30.0, 255.0, 1e4, 1e6, 1e7):
        a = inverse_softplus(torch.tensor(mean, dtype=torch.float64)).to(dtype)
        parameters = [a] if r is None else [a, torch.tensor(r, dtype=dtype)]
        values = [float(p) for p in parameters]
        exact_mean, exact_r = float(mpmath.log1p(mpmath.exp(values[0]))), values[1] if r else None
        spread = math.sqrt(mean + (0 if r is None else mean**2 / r))
        typical = [scores(round(max(mean + z * spread, 0)), values[0], exact_r) for z in (-1, 1)]
        sizes = [max(map(abs, pair)) for pair in zip(*typical, strict=True)]
        for k in counts_of(mean, r):
            for p in parameters:
                p.requires_grad_()
            p_x = PoissonCounts(a, 1.0) if r is None else OverdispersedCounts(*parameters, 1.0)
            found = p_x.log_prob(torch.tensor(float(k), dtype=dtype))
            expected = float(exact_counts(k, exact_mean, exact_r))
            assert float(found.detach()) == pytest.approx(expected, rel=tol, abs=tol), (mean, k)
            gradients = torch.autograd.grad(found, parameters)
            for gradient, exact, size in zip(gradients, scores(k, values[0], exact_r), sizes, strict=True):
                assert abs(float(gradient) - exact) < 1e3 * tol * max(abs(exact), size), (mean, k)


def test_deviances_have_derivatives_of_every_order() -> None:
    """Of what they are made of, on both sides of where the formula changes, and for several at once by vmap."""
    x = torch.tensor([0.5, 3.0, 200.0, 7.0], dtype=torch.float64, requires_grad=True)
    m = torch.tensor([4.0, 3.1, 190.0, 0.2], dtype=torch.float64, requires_grad=True)

    def found(x: Tensor, m: Tensor) -> Tensor:
        return deviance(x, x.log() - m.log(), x - m)

    torch.testing.assert_close(found(x, m), x * (x / m).log() - x + m, rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(found, (x, m))
    assert torch.autograd.gradgradcheck(found, (x, m))
    torch.testing.assert_close(torch.func.vmap(found)(x, m), found(x, m))


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_of_one_plus_a_little_and_of_little(dtype: torch.dtype) -> None:
    n, total = torch.tensor([[1e-3, 5.0], [1e4, 5 - 2**-18], [2e-3, 7.0], [4.0, 1e6]], dtype=dtype).unbind(1)
    exact = [float(mpmath.log(mpmath.mpf(a) / mpmath.mpf(b))) for a, b in zip(n.tolist(), total.tolist(), strict=True)]
    found = log_one_plus((n - total) / total, n / total)
    torch.testing.assert_close(found.double(), torch.tensor(exact, dtype=torch.float64), rtol=tolerance(dtype), atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_stirling_s_remainder_and_its_gradient(dtype: torch.dtype) -> None:
    r = torch.tensor(
        [1e-3, 1.0, STIRLING_FROM - 1e-3, STIRLING_FROM, STIRLING_FROM + 1e-3, 59, 61, 1e6, 1e30],
        dtype=dtype,
        requires_grad=True,
    )
    (gradient,) = torch.autograd.grad(stirling(r).sum(), r)
    for x, value, slope in zip(r.tolist(), stirling(r).tolist(), gradient.tolist(), strict=True):
        v = mpmath.mpf(x)
        with mpmath.workdps(100):
            exact = mpmath.loggamma(v) - (v - 0.5) * mpmath.log(v) + v - mpmath.log(2 * mpmath.pi) / 2
            rise = mpmath.digamma(v) - mpmath.log(v) + 1 / (2 * v)
        assert value == pytest.approx(float(exact), rel=tolerance(dtype), abs=3 * tolerance(dtype))
        assert slope == pytest.approx(float(rise), rel=10 * tolerance(dtype), abs=tolerance(dtype))


@pytest.mark.parametrize("r", [0.3, 2.0, 100.0])
def test_counts_sum_to_one_over_grey_levels(r: float) -> None:
    x = torch.arange(30_000, dtype=torch.float64) / 255
    raw = torch.tensor(0.4, dtype=torch.float64)
    assert float(PoissonCounts(raw, 1 / 255).log_prob(x).exp().sum()) == pytest.approx(1, abs=1e-12)
    p_x = OverdispersedCounts(raw, torch.tensor(r, dtype=torch.float64), 1 / 255)
    assert float(p_x.log_prob(x).exp().sum()) == pytest.approx(1, abs=1e-9)


def test_negative_binomial_becomes_poisson() -> None:
    raw, k = torch.tensor(2.0, dtype=torch.float64), torch.arange(40, dtype=torch.float64)
    near = OverdispersedCounts(raw, torch.tensor(1e12, dtype=torch.float64), 1.0)
    torch.testing.assert_close(near.log_prob(k), PoissonCounts(raw, 1.0).log_prob(k), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(near.variance, PoissonCounts(raw, 1.0).variance, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softplus(dtype: torch.dtype) -> None:
    a = torch.tensor([-1e30, -200.0, -18.01, -17.99, -1.0, 0.0, 15.0, 1e30], dtype=dtype, requires_grad=True)
    found = log_softplus(a)
    (gradient,) = torch.autograd.grad(found.sum(), a)
    for x, y, slope in zip(a.tolist(), found.tolist(), gradient.tolist(), strict=True):
        exact = mpmath.log(mpmath.log1p(mpmath.exp(x))) if abs(x) < 1e3 else (x if x < 0 else mpmath.log(x))
        assert y == pytest.approx(float(exact), rel=tolerance(dtype))
        rise = 1 if x < -1e3 else 1 / ((1 + mpmath.exp(-x)) * mpmath.log1p(mpmath.exp(x))) if x < 1e3 else 0
        assert slope == pytest.approx(float(rise), rel=tolerance(dtype), abs=1e-20)


def test_the_grid_knows_its_values_in_single_precision() -> None:
    grey = torch.arange(256) / 255
    assert bool(Multiples(1 / 255, 256).check(grey).all())
    assert not bool(Multiples(1 / 255, 256).check(torch.tensor([-1 / 255, 256 / 255, 0.5, math.nan])).any())
    assert bool(Multiples(1 / 255).check(torch.tensor([256 / 255, 9.0])).all())


def test_solve_finds_the_argument() -> None:
    target: Tensor = torch.tensor([-3.0, 0.0, 1.5], dtype=torch.float64)
    torch.testing.assert_close(solve(lambda t: t**3, target, 10), target.sign() * target.abs() ** (1 / 3))


def test_a_picture_s_log_probability_is_a_true_one() -> None:
    """Of logits from -90 to 90, with its first and second derivatives, against the formula in double precision."""
    logits = torch.cat([torch.linspace(-90, 90, 500), torch.linspace(-3, 3, 284)]).expand(3, 2, 784)
    x = torch.rand(2, 784, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    found = Bernoulli((784,))(logits).log_prob(x)
    a, y = logits.double(), x.double()
    exact = (y * a - a.clamp_min(0) - torch.log1p(torch.exp(-a.abs()))).sum(-1)
    torch.testing.assert_close(found.double(), exact, rtol=3e-7, atol=0)
    few = torch.linspace(-4, 4, 6, dtype=torch.float64).view(3, 2).requires_grad_()
    y = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)

    def log_prob(x: Tensor, logits: Tensor) -> Tensor:
        return Bernoulli((2,))(logits).log_prob(x)

    assert torch.autograd.gradcheck(log_prob, (y, few))
    assert torch.autograd.gradgradcheck(lambda a: log_prob(y.detach(), a), few)
