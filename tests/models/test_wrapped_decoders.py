"""Decoders in the data's own units and for data with gaps: still normalised densities, of the right thing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from support.configurations import ELEMENTWISE, composed, filled
from support.making import build_vae, instantiate
from torch import Tensor
from torch.distributions import Independent

from vaecli.analysis.importance_sampling import importance_weighted
from vaecli.analysis.metrics import has_mass, mean_squared_error
from vaecli.analysis.quadrature import quadrature
from vaecli.datasets.split import Split
from vaecli.decoders.base import DataFacts, Decoder
from vaecli.decoders.gaussian import Gaussian
from vaecli.decoders.wrapped import Filler, Masked, Standardized, Standardizer
from vaecli.models.build import calibrate, initialise_output_bias, learn_units
from vaecli.models.vae import VAE
from vaecli.objectives.elbo import ELBO
from vaecli.utils.errors import UserError

OPTIONS = ELEMENTWISE
MEAN, SCALE = torch.tensor([1e3, -2.0, 0.5]).double(), torch.tensor([200.0, 0.01, 3.0]).double()


def units() -> Standardizer:
    module = Standardizer((3,)).double()
    module.learn(MEAN, SCALE)
    return module


def filler() -> Filler:
    """Of data in [0, 1], which every decoder takes."""
    module = Filler((3,)).double()
    module.learn(torch.tensor([0.2, 0.5, 0.7]), torch.ones(3))
    return module


def decoder(option: str) -> Decoder:
    made: Decoder = instantiate(filled(f"decoder={option}"), "decoder", x_shape=(3,))
    return made.double().eval()


def real(option: str) -> bool:
    try:
        decoder(option).check(DataFacts(-1e9, 1e9, binary=False))
    except ValueError:
        return False
    return True


REAL = [option for option in OPTIONS if real(option)]


def params(made: Decoder, *batch: int) -> list[Tensor]:
    return [torch.randn(*batch, 3, dtype=torch.float64) for _ in range(made.n_params)]


# --- in the data's own units


def test_density_is_scipys() -> None:
    made = Standardized(Gaussian((3,)), units())
    loc, raw = params(made, 4, 5)
    x = MEAN + SCALE * torch.randn(5, 3, dtype=torch.float64)
    mean, scale = MEAN.numpy(), SCALE.numpy()
    deviation = scale * (0.01 + np.logaddexp(raw.numpy(), 0))
    expected = scipy.stats.norm.logpdf(x.numpy(), mean + scale * loc.numpy(), deviation).sum(-1)
    np.testing.assert_allclose(made(loc, raw).log_prob(x), expected, rtol=1e-10)


@pytest.mark.parametrize("option", REAL)
def test_density_integrates_to_one_in_the_data_s_units(option: str) -> None:
    made = Standardized(decoder(option), units())
    p_x = made(*params(made)).base_dist
    t = torch.linspace(-60, 60, 200_001, dtype=torch.float64).unsqueeze(1)
    x = p_x.mean + p_x.stddev * t
    area = torch.trapezoid(p_x.log_prob(x).exp(), x, dim=0)
    torch.testing.assert_close(area, torch.ones_like(area), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", REAL)
def test_mean_scale_and_draws_are_in_the_data_s_units(option: str) -> None:
    base = decoder(option)
    tensors = params(base, 2)
    inner, outer = base(*tensors), Standardized(base, units())(*tensors)
    torch.testing.assert_close(outer.mean, MEAN + SCALE * inner.mean)
    torch.testing.assert_close(outer.stddev, SCALE * inner.stddev)
    torch.testing.assert_close(outer.variance, outer.stddev.square())
    torch.manual_seed(0)
    draws = outer.sample((7,))
    torch.manual_seed(0)
    torch.testing.assert_close(draws, MEAN + SCALE * inner.sample((7,)))
    assert outer.batch_shape == (2,)
    assert outer.event_shape == (3,)
    torch.testing.assert_close(outer.expand((4, 2)).log_prob(draws[0]), outer.log_prob(draws[0]).expand(4, 2))


def test_a_column_that_never_varies_keeps_its_scale() -> None:
    x = torch.tensor([[3.0, 1e6, 1.0], [3.0, 1e6, 2.0]])
    moments = Split(x).moments
    module = Standardizer((3,))
    module.learn(moments.mean, moments.scale)
    assert module.scale.tolist() == [1.0, 1.0, 0.5]
    assert module(x).tolist() == [[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]


def test_moments_are_numpys() -> None:
    x = np.random.default_rng(0).normal(size=(10_000, 4)) * [1, 1e-3, 1e3, 1] + [0, 5, 1e5, -1]
    x[:, 3][::3] = np.nan
    x = x.astype(np.float32)
    moments = Split(torch.from_numpy(x)).moments
    np.testing.assert_allclose(moments.mean, np.nanmean(x.astype(float), 0), rtol=1e-12)
    np.testing.assert_allclose(moments.scale, np.nanstd(x.astype(float), 0), rtol=1e-10)
    assert moments.n.tolist() == [10_000, 10_000, 10_000, 6666]
    grey = torch.randint(0, 256, (9000, 1, 2, 2)).to(torch.uint8)
    moments = Split(grey, levels=255).moments
    np.testing.assert_allclose(moments.scale, (grey.double() / 255).std(0, correction=0), rtol=1e-6)


def test_an_optimal_scale_in_standard_units() -> None:
    """It is found in the units in which it is used: the figures are those of the data standardised beforehand."""
    train = data()
    moments = train.moments
    u = Split(((train.x - moments.mean) / moments.scale).float())
    outer, inner = model("dataset.standardize=true", "decoder=gaussian_optimal"), model("decoder=gaussian_optimal")
    learn_units(outer, train)
    for built, x in ((outer, train), (inner, u)):
        calibrate(built, x)
    torch.testing.assert_close(outer.decoder.decoder.sigma, inner.decoder.sigma, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="takes its scale from all numbers of a batch"):
        model("dataset.missing=mask", "decoder=gaussian_optimal")


def model(*overrides: str, x_shape: tuple[int, ...] = (3,)) -> VAE:
    kind = [] if any(o.startswith("decoder=") for o in overrides) else ["decoder=gaussian"]
    config = composed("dataset=arrays", "dataset.path=a.npy", "latent_dim=2", "architecture.hidden=[16]", *kind,
                      *overrides)  # fmt: skip
    torch.manual_seed(0)
    return build_vae(config, x_shape)


def data(n: int = 200, gaps: float = 0.0) -> Split:
    generator = torch.Generator().manual_seed(0)
    x = MEAN + SCALE * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    x[torch.rand(n, 3, generator=generator) < gaps] = torch.nan
    return Split(x.float())


def test_standardised_is_plain_on_standardised_data() -> None:
    """Same weights, same draws: the ELBO moves by the log-determinant, for every unit in which the data come."""
    train = data()
    outer, inner = model("dataset.standardize=true"), model()
    learn_units(outer, train)
    moments = train.moments
    u = ((train.x - moments.mean) / moments.scale).float()
    for built, x in ((outer, train.x), (inner, u)):
        initialise_output_bias(built, Split(x))
    torch.manual_seed(1)
    mine = ELBO(50)(outer, train.x, 0).metrics
    torch.manual_seed(1)
    theirs = ELBO(50)(inner, u, 0).metrics
    torch.testing.assert_close(mine["kl"], theirs["kl"], rtol=1e-3, atol=1e-3)
    shifted = theirs["elbo"] - moments.scale.log().sum().float()
    torch.testing.assert_close(mine["elbo"], shifted, rtol=1e-3, atol=1e-2)
    expected = moments.mean + moments.scale * inner.decode(torch.zeros(1, 2)).mean[0]
    torch.testing.assert_close(outer.decode(torch.zeros(1, 2)).mean[0].double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_start_at_mean_in_standard_units(architecture: str) -> None:
    x = Split(100 + 5 * torch.randn(500, 2, 8, 8) + torch.tensor([0.0, 1000.0]).view(2, 1, 1))
    config = composed("dataset=arrays", "dataset.path=a.npy", "decoder=gaussian", "dataset.standardize=true",
                      f"architecture={architecture}")  # fmt: skip
    built = build_vae(config, (2, 8, 8))
    learn_units(built, x)
    initialise_output_bias(built, x)
    with torch.no_grad():
        at_start = built.sample(50).mean.mean(0)
    torch.testing.assert_close(at_start, x.mean(), rtol=0, atol=5)


def test_units_travel_in_the_state() -> None:
    first, second = (model("dataset.standardize=true", "dataset.missing=mask") for _ in range(2))
    learn_units(first, data())
    with torch.device("meta"):
        empty = model("dataset.standardize=true", "dataset.missing=mask")
    for loaded in (second, empty):
        loaded.load_state_dict(first.state_dict(), assign=True)
        z, x = torch.randn(5, 2), data(5).x
        assert torch.equal(loaded.decode(z).log_prob(x), first.decode(z).log_prob(x))
        assert torch.equal(loaded.encode(x).mean, first.encode(x).mean)


# --- with gaps


@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_missing_is_integrated_out(option: str) -> None:
    """log p of the observed numbers alone: the sum over them, by the elementwise distribution."""
    base = decoder(option)
    made = Masked(base, filler())
    tensors = params(base, 6, 5)
    x = (torch.rand(5, 3, dtype=torch.float64) > 0.5).double()
    gaps = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]]).bool()
    each = base(*tensors)
    assert isinstance(each, Independent)
    expected = each.base_dist.log_prob(x).masked_fill(gaps, 0.0).sum(-1)
    found = made(*tensors).log_prob(x.masked_fill(gaps, torch.nan))
    torch.testing.assert_close(found, expected)
    assert (found[:, 3] == 0).all()  # nothing observed, nothing to score
    torch.testing.assert_close(made(*tensors).log_prob(x), each.log_prob(x))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("standardize", [False, True])
def test_gradients_do_not_meet_the_gaps(option: str, standardize: bool) -> None:
    """Finite, and those of a number that is missing are zero."""
    if standardize and option not in REAL:
        return
    made = Masked(Standardized(decoder(option), units()) if standardize else decoder(option), filler())
    tensors = [tensor.requires_grad_() for tensor in params(made, 5)]
    x = (torch.rand(5, 3, dtype=torch.float64) > 0.5).double()
    x[0, 1] = x[4, 2] = torch.nan
    made(*tensors).log_prob(x).sum().backward()
    for tensor in tensors:
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert (tensor.grad[x.isnan()] == 0).all()
    assert (torch.stack([torch.as_tensor(t.grad) for t in tensors]).abs().sum(0)[~x.isnan()] > 0).all()


@pytest.mark.parametrize("overrides", [[], ["dataset.standardize=true"], ["objective=sgvb_a"]], ids=str)
def test_a_step_with_gaps_trains_everything(overrides: list[str]) -> None:
    train, built = data(gaps=0.3), model("dataset.missing=mask", *overrides)
    learn_units(built, train)
    initialise_output_bias(built, train)
    objective: Any = instantiate(composed(*overrides, "dataset=arrays", "dataset.path=a"), "objective")
    estimate = objective(built, train.batch(slice(0, 50)), 0)
    estimate.loss.backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_the_encoder_sees_the_mean_for_missing_numbers() -> None:
    train, built = data(gaps=0.3), model("dataset.missing=mask", "dataset.standardize=true")
    learn_units(built, train)
    x = train.x[:20]
    filled = torch.where(x.isnan(), train.mean(), x)
    torch.testing.assert_close(built.encode(x).mean, built.encode(filled).mean)
    assert torch.isfinite(built.encode(x).stddev).all()


@pytest.mark.parametrize("n", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_weights_agree_with_quadrature_on_gaps(n: int) -> None:
    train, built = data(30, gaps=0.4), model("dataset.missing=mask", "dataset.standardize=true")
    learn_units(built, train)
    few = train.head(n)
    assert bool(few.x.isnan().any())
    exact = quadrature(built, few)
    scores = importance_weighted(built, few, 20_000)
    assert torch.isfinite(exact.log_px).all()
    difference = (-scores.nll - exact.log_px).abs()
    assert (difference < 5 * scores.nll_mc_stderr + 1e-3).all()


@pytest.mark.parametrize(("span", "n"), [(6, 17), pytest.param(15, 201, marks=pytest.mark.slow)])
def test_a_marginal_integrates_over_what_is_missing(span: float, n: int) -> None:
    """p(x_1, x_2) from the model with a gap equals the numerical integral of p(x_1, x_2, x_3) over x_3."""
    built = model("dataset.missing=mask", "latent_dim=1")
    x = torch.tensor([[0.3, -0.2, torch.nan]])
    t = torch.linspace(-span, span, n)
    full = torch.cat([x[:, :2].expand(n, 2), t.unsqueeze(1)], 1)
    whole = quadrature(built, Split(full), tolerance=1e-6).log_px.exp()
    np.testing.assert_allclose(
        torch.trapezoid(whole, t.double()), quadrature(built, Split(x)).log_px.exp()[0], rtol=1e-3
    )


def test_squared_errors_are_of_what_is_there() -> None:
    built, split = model("dataset.missing=mask"), data(30, gaps=0.5)
    learn_units(built, split)
    with torch.no_grad():
        again = built.eval().decode(built.encode(split.x).mean).mean
    error = (again - split.x)[~split.x.isnan()]
    assert mean_squared_error(built, split) == pytest.approx(float(error.double().square().mean()), rel=1e-6)


def test_no_bits_per_dimension_with_gaps() -> None:
    built = model("dataset.missing=mask", "decoder=bernoulli")
    x = (torch.rand(9, 3) > 0.5).float()
    assert has_mass(built, Split(x))
    x[0, 0] = torch.nan
    assert not has_mass(built, Split(x))
