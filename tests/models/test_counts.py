"""Counts: the encoder's logarithm, the size of an observation, and zeros that no count explains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from support.command_line import called
from support.configurations import composed
from support.making import build_vae, fill_from_data
from torch.distributions import Independent

from vaecli.datasets.split import Split
from vaecli.decoders.grid import CountDecoder
from vaecli.decoders.negative_binomial import NegativeBinomial
from vaecli.decoders.poisson import Poisson
from vaecli.decoders.totals import raw_of_log
from vaecli.decoders.zero_inflated import ZeroInflatedNegativeBinomial
from vaecli.models.build import initialise_output_bias, learn_units
from vaecli.models.vae import VAE
from vaecli.objectives.elbo import ELBO
from vaecli.utils.errors import UserError

KINDS: list[Any] = [Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial]


def cells(n: int = 300, d: int = 12, size: float = 400.0) -> Split:
    """Counts of some hundreds with log-normal totals."""
    rng = np.random.default_rng(0)
    total = rng.lognormal(np.log(size), 0.5, (n, 1))
    return Split(torch.from_numpy(rng.poisson(total * rng.dirichlet(np.ones(d), n)).astype("f4")))


def model(decoder: str, train: Split, *overrides: str) -> VAE:
    words = ["dataset=arrays", "dataset.path=a.npy", f"decoder={decoder}", "latent_dim=2", *overrides]
    torch.manual_seed(0)
    built = build_vae(fill_from_data(composed(*words), train), train.x_shape)
    learn_units(built, train)
    initialise_output_bias(built, train)
    return built


@pytest.mark.parametrize("decoder", ["poisson", "negative_binomial", "zero_inflated"])
@pytest.mark.parametrize("prior", ["standard_normal", "vamp"])
def test_the_encoder_sees_logarithms_of_counts(decoder: str, prior: str) -> None:
    """q(z|x) is that of a network given log(1 + x), and the first KL is of the size of a KL."""
    train = cells()
    built, plain = (model(decoder, train, f"prior={prior}", f"decoder.log1p={on}") for on in ("null", "false"))
    transform, network = built.encoder_network
    torch.testing.assert_close(transform(train.x), torch.log1p(train.x))
    plain.encoder_network.load_state_dict(network.state_dict())
    torch.testing.assert_close(built.encode(train.x).mean, plain.encode(train.x.log1p()).mean)
    estimate = ELBO()(built, train.x, 0)
    assert float(estimate.metrics["kl"].mean().detach()) < 50
    assert bool(torch.isfinite(estimate.loss))


def test_only_whole_numbers_beyond_one_have_their_logarithm_taken() -> None:
    grey = Split(torch.arange(256, dtype=torch.uint8).reshape(-1, 2), levels=255)
    for train, expected in ((cells(), True), (grey, False), (Split(torch.eye(3)), False)):
        config = fill_from_data(composed("dataset=arrays", "dataset.path=a.npy", "decoder=poisson"), train)
        assert config["decoder"]["log1p"] is expected


def test_the_logarithm_of_a_mean_gives_it_back() -> None:
    log_mean = torch.linspace(-60, 14, 149, dtype=torch.float64)
    torch.testing.assert_close(torch.nn.functional.softplus(raw_of_log(log_mean)), log_mean.exp(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_library_is_the_mean_total(kind: Any) -> None:
    """The shares sum to one, so the total's mean is l = e^s, s the mean of the last tensor."""
    made: CountDecoder = kind((3, 4), step=1.0, total="learned").double()
    tensors = torch.randn(made.n_params, 5, 3, 4, dtype=torch.float64)
    if kind is ZeroInflatedNegativeBinomial:
        tensors[2] = -80.0  # no extra zeros
    torch.testing.assert_close(made(*tensors).mean.sum((1, 2)), tensors[-1].mean((1, 2)).exp())


@pytest.mark.parametrize("kind", KINDS)
def test_an_observed_library_scores_shares_given_the_total(kind: Any) -> None:
    """The density is that of the family at the mean l softmax(a), l being the observation's own total."""
    made: CountDecoder = kind((6,), step=1.0, total="observed").double()
    tensors = torch.randn(made.n_params, 4, 6, dtype=torch.float64)
    x = torch.poisson(torch.full((4, 6), 30.0, dtype=torch.float64))
    mean = x.sum(1, keepdim=True) * tensors[0].softmax(1)
    expected = made.family(raw_of_log(mean.log()), *tensors[1:]).log_prob(x).sum(1)
    torch.testing.assert_close(made(*tensors).log_prob(x), expected)
    if kind is Poisson:
        np.testing.assert_allclose(expected, scipy.stats.poisson.logpmf(x, mean).sum(1), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_of_an_observed_library(kind: Any) -> None:
    """Mean and variance agree with draws, and the totals spread as the training data's."""
    train = cells(2000)
    made: CountDecoder = kind((12,), step=1.0, total="observed").double()
    made.learn(lambda: iter([train.x]))
    logs = train.x.double().sum(1).log()
    torch.testing.assert_close(made.log_total, torch.stack([logs.mean(), logs.std(correction=0)]))
    tensors = torch.randn(made.n_params, 12, dtype=torch.float64)
    if kind is not Poisson:
        tensors[1] = 1e4  # hardly more than a Poisson count's variance
    if kind is ZeroInflatedNegativeBinomial:
        tensors[2] = -80.0
    p_x = made(*tensors)
    x = p_x.sample((100_000,))
    away = (x - p_x.mean).square()
    assert bool(((x.mean(0) - p_x.mean).abs() < 5 * x.std(0) / len(x) ** 0.5).all())
    assert bool(((away.mean(0) - p_x.variance).abs() < 5 * away.std(0) / len(x) ** 0.5).all())
    spread = float(train.x.sum(1).std())
    assert float(x.sum(1).std()) == pytest.approx(spread, rel=0.15)


def test_a_total_with_gaps_is_refused() -> None:
    with pytest.raises(UserError, match=r"use decoder\.total=learned"):
        model("poisson", cells(), "decoder.total=observed", "dataset.missing=mask")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("total", ["learned", "observed", None])
def test_the_parameters_at_the_mean_have_that_mean(kind: Any, total: Any) -> None:
    """But for the extra zeros of a given total, which nothing can make up for."""
    train = cells()
    made: CountDecoder = kind((12,), step=1.0, total=total)
    made.learn(lambda: iter([train.x]))
    parameters = made.params_at_mean(train.mean())
    assert parameters is not None
    assert parameters.shape == (made.n_params, 12)
    zeros = kind is ZeroInflatedNegativeBinomial and total == "observed"
    expected = train.mean() * (torch.sigmoid(-parameters[2]) if zeros else 1)
    torch.testing.assert_close(made(*parameters).mean, expected, rtol=0.05, atol=0)


def test_no_inflation_is_the_negative_binomial() -> None:
    raw, count = torch.randn(2, 5, dtype=torch.float64)
    x = torch.arange(5, dtype=torch.float64)
    plain: Any = NegativeBinomial((5,), 1.0).double()(raw, count)
    inflated = ZeroInflatedNegativeBinomial((5,), 1.0).double()(raw, count, torch.full_like(raw, -100.0))
    assert isinstance(inflated, Independent)
    torch.testing.assert_close(inflated.log_prob(x), plain.log_prob(x))


def test_samples_of_counts_are_counts(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", cells(60).x.numpy())
    words = ("dataset=arrays", "dataset.path=x.npy", "decoder=poisson", "epochs=1", "latent_dim=2", "output=run")
    assert called("train", *words, cwd=tmp_path).returncode == 0
    for mode, whole in {"null": True, "mean": False}.items():
        done = called("sample", "run=run", f"mode={mode}", "n=20", "format=npz", "output=s.npz", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        x = np.load(tmp_path / "s.npz")["x"]
        assert bool((x == x.round()).all()) is whole
