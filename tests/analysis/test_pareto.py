"""The diagnostic of importance weights: how heavy their tail is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from support.linear import Linear
from torch import Tensor

from vaecli.analysis.importance_sampling import LogMean, importance_weighted, prior_estimate, widened_estimate
from vaecli.analysis.pareto import pareto_k, tail_length, threshold

K, N = 5000, 200


def fitted(log_w: Tensor) -> Tensor:
    return pareto_k(log_w.topk(tail_length(len(log_w)) + 1, 0).values)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.7, 1.0, 1.5, 5.0])
def test_pareto_weights_have_their_known_tail(shape: float) -> None:
    """w = u^-k has the tail of a generalised Pareto distribution of shape k, wherever the tail begins."""
    log_w = -shape * torch.rand(K, N, dtype=torch.float64).log() - 1e5
    assert float(fitted(log_w).mean()) == pytest.approx(shape, rel=0.1, abs=0.03)
    assert float(fitted(-log_w).mean()) < 0  # those of 1 / w are bounded: the sign matters


@pytest.mark.parametrize(("name", "shape"), [("expon", 0.0), ("uniform", -1.0), ("t", 0.5)])
def test_other_weights_have_their_known_tail(name: str, shape: float) -> None:
    distribution = scipy.stats.t(2) if name == "t" else getattr(scipy.stats, name)
    w = np.abs(distribution.rvs(size=(20 * K, 20), random_state=1))
    assert float(fitted(torch.from_numpy(np.log(w))).mean()) == pytest.approx(shape, abs=0.12)


def test_the_fit_is_about_that_of_maximum_likelihood() -> None:
    w = np.sort(scipy.stats.lomax(1 / 0.6).rvs(size=(K, 5), random_state=0), 0)
    m = tail_length(K)
    tails = (w[-m:] - w[-m - 1]).T
    best = np.array([scipy.stats.genpareto.fit(tail, floc=0)[0] for tail in tails])
    np.testing.assert_allclose(fitted(torch.from_numpy(np.log(w))), (best * m + 5) / (m + 10), atol=0.03)


def test_a_pareto_k_is_a_number_whatever_the_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = 1000 * torch.randn(K, generator=generator).double()  # one weight is all
    few = torch.where(torch.arange(K) < 3, torch.arange(K).double(), -torch.inf)  # the others are 0
    same = -10 + 1e-6 * torch.randint(3, (K,), generator=generator)
    steps = -1e5 + 0.0078125 * torch.randint(5, (K,), generator=generator)  # single precision of large numbers
    found = fitted(torch.stack([torch.zeros(K), same, steps, spread, few], 1).double())
    assert found[:2].tolist() == [0, 0]
    assert float(found[2]) < 0.5
    assert found.isfinite().all()
    assert (found[3:] > 1).all()


@pytest.mark.parametrize(("k", "expected"), [(24, None), (25, 0.2847), (1000, 0.6667), (2000, 0.6971), (5000, 0.7)])
def test_the_threshold_grows_with_the_draws(k: int, expected: float | None) -> None:
    assert threshold(k) == (None if expected is None else pytest.approx(expected, abs=1e-4))


def test_chunks_keep_the_largest_weights() -> None:
    log_w = torch.randn(1000, 3, dtype=torch.float64)
    sums = LogMean(1000)
    for part in log_w.split([1, 499, 7, 493]):
        sums.add(part)
    torch.testing.assert_close(sums.pareto_k(), fitted(log_w))
    torch.testing.assert_close(sums.mean_log_stderr(), log_w.std(0) / 1000**0.5)
    none = LogMean(24)
    none.add(log_w[:24])
    assert none.pareto_k().isnan().all()


@pytest.mark.parametrize("estimate", [importance_weighted, widened_estimate, prior_estimate])
def test_every_estimate_has_its_pareto_k(estimate: Any) -> None:
    linear = Linear(2, n=20, sigma=0.02)
    assert estimate(linear.model, linear.split, 24).pareto_k.isnan().all()
    found = estimate(linear.model, linear.split, 500)
    limit = threshold(500)
    assert limit is not None
    assert bool((found.pareto_k > limit).all()) == (estimate is prior_estimate)
    assert bool((found.pareto_k < limit).all()) == (estimate is not prior_estimate)
    if estimate is prior_estimate:  # the standard error is below 1, the error is not
        assert float((-found.nll - linear.log_p).abs().mean()) > 5
        assert float(found.nll_mc_stderr.max()) <= 1


def test_a_narrow_proposal_is_noticed() -> None:
    linear = Linear(1, n=30).narrow(0.3)
    k = importance_weighted(linear.model, linear.split, 5000).pareto_k
    assert float(k.mean()) == pytest.approx(1 - 0.3**2, abs=0.1)  # w ~ exp(z^2 (1/s^2 - 1) / 2): a tail of that shape
    assert math.isfinite(float(k.max()))
