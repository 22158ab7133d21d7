"""Evaluation against the linear-Gaussian model, quadrature and brute force."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.linear import SIGMA, Linear, P
from support.making import fill_from_data, instantiate
from torch import Tensor

from vaecli.analysis.importance_sampling import (
    LogMean,
    importance_weighted,
    pairs_at_once,
    prior_estimate,
    widened_estimate,
)
from vaecli.analysis.metrics import active_units, has_mass, kl_per_dim, mean_squared_error
from vaecli.analysis.quadrature import quadrature
from vaecli.architectures.mlp import MLP
from vaecli.datasets.split import Split
from vaecli.decoders.base import Decoder
from vaecli.decoders.gaussian import Gaussian as GaussianDecoder
from vaecli.decoders.gaussian_optimal import GaussianOptimal
from vaecli.models.build import calibrate
from vaecli.models.inference import fix_binarisation
from vaecli.models.load import Run, load_run, load_split
from vaecli.models.vae import VAE
from vaecli.objectives.elbo import ELBO
from vaecli.posteriors.gaussian import Gaussian
from vaecli.priors.standard_normal import StandardNormal
from vaecli.training.totals import mean_metrics
from vaecli.utils.errors import UserError
from vaecli.utils.threads import ordered_parallel_map


@pytest.mark.parametrize("k", [1, 3, 5000])
def test_true_posterior_gives_log_p_at_any_k(k: int) -> None:
    linear = Linear(2)
    scores = importance_weighted(linear.model, linear.split, k)
    torch.testing.assert_close(scores.elbo, linear.log_p, atol=1e-5, rtol=0)
    torch.testing.assert_close(-scores.nll, linear.log_p, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.elbo, scores.log_px - scores.kl)
    torch.testing.assert_close(scores.ess, torch.full_like(scores.ess, k), rtol=1e-5, atol=0)
    assert scores.nll_mc_stderr.isnan().all() if k == 1 else (scores.nll_mc_stderr < 1e-5).all()


def test_prior_estimate_rises_to_log_p_from_below() -> None:
    linear = Linear(2, n=300)
    means = [-float(prior_estimate(linear.model, linear.split, k).nll.mean()) for k in (1, 10, 100, 1000, 10_000)]
    target = float(linear.log_p.mean())
    assert means == sorted(means)
    assert means[0] < target - 5
    assert means[-1] == pytest.approx(target, abs=0.05)


@pytest.mark.parametrize("estimate", [importance_weighted, widened_estimate, prior_estimate])
def test_estimates_lie_within_their_errors(estimate: Any) -> None:
    linear = Linear(2, n=200).narrow(1.3, shift=0.1)
    found = estimate(linear.model, linear.split, 4000)
    z = (-found.nll - linear.log_p) / found.nll_mc_stderr
    assert float((z.abs() < 3).double().mean()) > 0.97
    assert 0.8 < float(z.std()) < 1.25
    assert (found.ess <= 4000).all()
    assert (found.ess >= 1).all()


def test_elbo_and_its_terms_have_their_closed_forms() -> None:
    linear = Linear(1, n=4).narrow(0.6, shift=0.3)
    scores = importance_weighted(linear.model, linear.split, 20_000)
    gap = -math.log(0.6) + (0.6**2 - 1) / 2 + 0.3**2 / (2 * float(posterior_variance(linear)))  # KL(q || p(z|x))
    torch.testing.assert_close(scores.elbo, linear.log_p - gap, atol=0.03, rtol=0)
    torch.testing.assert_close(scores.kl.mean(), kl_per_dim(linear.model, linear.split).sum().double())


def posterior_variance(linear: Linear) -> Tensor:
    return (2 * (linear.layer.bias.data[1:] - math.log(0.6))).exp()


def test_log_mean_joins_chunks_exactly() -> None:
    log_w = 30 * torch.randn(1000, 3, dtype=torch.float64) - 1e5
    sums = LogMean()
    for part in log_w.split([1, 499, 7, 493]):
        sums.add(part)
    w = (log_w - log_w.max()).exp()
    torch.testing.assert_close(sums.log_mean(), w.mean(0).log() + log_w.max(), atol=1e-9, rtol=0)
    torch.testing.assert_close(sums.ess(), w.sum(0) ** 2 / (w**2).sum(0))
    torch.testing.assert_close(sums.mean_log(), log_w.mean(0))
    relative = w.std(0, correction=0) / w.mean(0) / 1000**0.5
    torch.testing.assert_close(sums.stderr(), relative)


@pytest.mark.parametrize("rows", [1, 7, 100, 350, 10_000])
def test_chunks_change_nothing_but_the_draws(rows: int) -> None:
    linear = Linear(2, n=11).narrow(1.2)
    done: list[int] = []
    scores = importance_weighted(linear.model, linear.split, 100, tick=done.append, rows=rows)
    assert sum(done) == 11 * 100
    assert max(done) <= max(rows, 100)
    assert scores.nll.shape == (11,)
    assert ((-scores.nll - linear.log_p) / scores.nll_mc_stderr).abs().max() < 5


def test_same_figures_on_any_number_of_threads() -> None:
    linear = Linear(2).narrow(1.2)
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append(importance_weighted(linear.model, linear.split, 50, rows=20).nll)
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found, atol=1e-5, rtol=0)
    assert not torch.equal(found[0], importance_weighted(linear.model, linear.split, 50, seed=1, rows=20).nll)


def test_jobs_return_in_order_and_raise_their_errors() -> None:
    assert list(ordered_parallel_map(((i, lambda i=i: i**2) for i in range(50)), threads=3)) == [
        (i, i**2) for i in range(50)
    ]
    with pytest.raises(ZeroDivisionError):
        list(ordered_parallel_map([(0, lambda: 1 // 0)], threads=2))
    with pytest.raises(ZeroDivisionError):
        list(ordered_parallel_map([(0, lambda: 1 // 0)], threads=0))


def test_rows_follow_the_widest_layer() -> None:
    wide = MLP(hidden=[1 << 15]).decoder(2, 1, (P,))
    linear = Linear(2)
    model = VAE(linear.model.encoder_network, Gaussian(2), wide, linear.model.decoder, StandardNormal(2), 2, (P,))
    assert pairs_at_once(model) == 32
    assert pairs_at_once(linear.model) > 100_000


def test_active_units_and_squared_error() -> None:
    linear = Linear(2, n=500)
    linear.layer.weight.data[1] *= 1e-3
    linear.layer.bias.data[1] = 5.0  # far from 0, but always the same
    assert active_units(linear.model, linear.split).tolist() == [True, False]
    x = linear.split.x
    again = linear.model.decode(linear.model.encode(x).mean).mean.detach()
    assert mean_squared_error(linear.model, linear.split) == pytest.approx(float(((x - again) ** 2).mean()), rel=1e-5)


def with_decoder(decoder: Decoder) -> VAE:
    """A small model around a decoder."""
    networks = MLP(hidden=[])
    encoder, network = networks.encoder((P,), 4), networks.decoder(2, decoder.n_params, (P,))
    return VAE(encoder, Gaussian(2), network, decoder, StandardNormal(2), 2, (P,))


BYTES = torch.arange(20 * P, dtype=torch.uint8).reshape(20, P)
DATA = {
    "binary": Split(BYTES % 2), "images": Split(BYTES, levels=255), "digits": Split(BYTES % 17, levels=16),
    "counts": Split(BYTES.float()), "real": Split(torch.rand(20, P)),
}  # fmt: skip
IMAGES = {"binary", "images", "digits"}
MASS = {
    "bernoulli": {"binary"}, "continuous_bernoulli": set(), "gaussian": set(), "gaussian_optimal": set(),
    "laplace": set(), "discretized_logistic": IMAGES, "categorical": IMAGES, "poisson": IMAGES | {"counts"},
    "negative_binomial": IMAGES | {"counts"},
}  # fmt: skip


@pytest.mark.parametrize(("option", "name"), list(itertools.product(MASS, DATA)))
def test_which_data_have_a_probability_mass(option: str, name: str) -> None:
    try:
        config = fill_from_data(composed(f"decoder={option}"), DATA[name])
    except UserError:  # test_decoders says which
        return
    model = with_decoder(instantiate(config, "decoder", x_shape=(P,)))
    assert has_mass(model, DATA[name]) == (name in MASS[option])
    assert has_mass(model.double(), DATA[name]) == (name in MASS[option])


@pytest.mark.parametrize("option", ["categorical", "discretized_logistic", "poisson"])
def test_data_off_the_levels_of_a_mass_have_none(option: str) -> None:
    decoder = instantiate(fill_from_data(composed(f"decoder={option}"), DATA["digits"]), "decoder", x_shape=(P,))
    assert not has_mass(with_decoder(decoder), DATA["images"])


def test_calibrated_scale_is_that_of_the_training_set() -> None:
    """The scale of the errors, at one draw of z from each q(z|x); the validation figure is then an ordinary bound."""
    linear = Linear(2, n=4000)
    linear.model.decoder = decoder = GaussianOptimal((P,))
    before = torch.get_rng_state()
    calibrate(linear.model.train(), linear.split)
    sigma = decoder.sigma.clone()
    assert linear.model.training
    assert torch.equal(torch.get_rng_state(), before)
    # For draws from the true posterior of a linear-Gaussian model, x - W z - b has the variance of the noise.
    assert float(sigma) == pytest.approx(SIGMA, rel=4 / (2 * 4000 * P) ** 0.5)
    calibrate(linear.model, linear.split)
    assert torch.equal(decoder.sigma, sigma)
    held = importance_weighted(linear.model, linear.split, 50)
    linear.model.decoder = GaussianDecoder((P,), sigma=float(sigma))
    torch.testing.assert_close(held.elbo, importance_weighted(linear.model, linear.split, 50).elbo)


def test_calibration_is_for_decoders_that_ask_for_it() -> None:
    linear = Linear(2)
    before = {key: value.clone() for key, value in linear.model.state_dict().items()}
    calibrate(linear.model, Split(torch.full((1, P), torch.nan)))
    assert all(torch.equal(value, before[key]) for key, value in linear.model.state_dict().items())


def test_the_optimal_scale_is_the_best_fixed_one() -> None:
    linear = Linear(2, n=500).narrow(0.7, 0.1)
    linear.model.decoder = decoder = GaussianOptimal((P,))
    calibrate(linear.model, linear.split)
    sigma, figures = decoder.sigma.clone(), []
    for factor in (0.8, 0.95, 1, 1.05, 1.25):
        decoder.sigma = factor * sigma
        figures.append(mean_metrics(linear.model, ELBO(), linear.split)["log_px"])  # the draws that calibrated it
    assert figures.index(max(figures)) == 2
    assert figures[2] == pytest.approx(-P / 2 * (math.log(2 * math.pi * float(sigma) ** 2) + 1), rel=1e-5)


def test_a_redrawn_split_is_drawn_once() -> None:
    split = Split(torch.full((50, 100), 64, dtype=torch.uint8), torch.arange(50), levels=255, redraw=True)
    drawn = fix_binarisation(split, seed=1)
    assert torch.equal(drawn.batch(slice(None)), drawn.batch(slice(None)))
    assert set(drawn.x.unique().tolist()) == {0, 1}
    assert float(drawn.mean().mean()) == pytest.approx(64 / 255, abs=0.03)
    assert not torch.equal(drawn.x, fix_binarisation(split, seed=2).x)


# On trained runs


@pytest.fixture(scope="session")
def beta(beta_run: Path) -> tuple[Run, Split]:
    run = load_run(str(beta_run), device="cpu")
    return run, load_split(run, "test").head(100)


@pytest.mark.parametrize("n", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_quadrature_converges_and_draws_agree(n: int, beta: tuple[Run, Split]) -> None:
    model, split = beta[0].model, beta[1].head(n)
    some, found = max(1, n // 5), quadrature(model, split)
    exact = found.log_px
    more = quadrature(model, split.head(some), tolerance=1e-7)
    assert float((more.log_px - exact[:some]).abs().max()) < 1e-4  # the sixth digit of -98.7
    assert float(found.error.max()) < 1e-4
    found = widened_estimate(model, split, 2000)
    assert int(((-found.nll - exact).abs() >= 3 * found.nll_mc_stderr).sum()) <= max(1, 0.03 * n)
    pooled = float(found.nll_mc_stderr.square().sum().sqrt()) / n
    assert abs(float((-found.nll - exact).mean())) < 3 * pooled
    plain = importance_weighted(model, split, 2000)  # heavy-tailed weights: right on the whole, and never above by much
    assert -0.05 < float((-plain.nll - exact).mean()) < 0.01
    assert float(plain.elbo.mean()) < float(exact.mean())


def test_importance_weighted_bound_rises_with_k(beta: tuple[Run, Split]) -> None:
    model, split = beta[0].model, beta[1]
    bounds = [-float(importance_weighted(model, split, k).nll.mean()) for k in (1, 10, 100, 1000)]
    assert bounds == sorted(bounds)
