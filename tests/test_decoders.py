"""Decoders: every option of conf/decoder is a normalised density with all its constants."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import composed
from torch import Tensor

from vaecli.build import instantiate
from vaecli.conf_files import groups
from vaecli.decoders.base import DataRange, Decoder
from vaecli.decoders.bernoulli import Bernoulli
from vaecli.decoders.gaussian import Gaussian

OPTIONS = [*groups()["decoder"], "gaussian decoder.loc=sigmoid", "gaussian_fixed decoder.loc=sigmoid"]
GAUSSIANS = [name for name in OPTIONS if name.startswith("gaussian")]


def make(option: str, x_shape: tuple[int, ...], *overrides: str) -> Decoder:
    """`option` may have overrides after it."""
    decoder: Decoder = instantiate(composed(*f"decoder={option}".split(), *overrides), "decoder", x_shape=x_shape)
    return decoder


def params(decoder: Decoder, *batch: int) -> list[Tensor]:
    return [torch.randn(*batch, *decoder.x_shape, dtype=torch.float64) for _ in range(decoder.n_params)]


def total(p_x: Any) -> float:
    """The sum or integral of the density of one number, over everything it can be."""
    if p_x.support.is_discrete:
        values = p_x.base_dist.enumerate_support().double()
        return float(p_x.log_prob(values).exp().sum())
    t = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    x = p_x.mean + p_x.stddev * t
    return float(torch.trapezoid(p_x.log_prob(x.unsqueeze(-1)).exp(), x))


def reference(decoder: Decoder, tensors: list[Tensor], x: Tensor) -> np.ndarray:
    """The log-density of each number, from scipy and the textbook."""
    first, *rest = (tensor.numpy() for tensor in tensors)
    if isinstance(decoder, Bernoulli):
        return scipy.stats.bernoulli.logpmf(x.numpy(), 1 / (1 + np.exp(-first)))
    assert isinstance(decoder, Gaussian)
    loc = 1 / (1 + np.exp(-first)) if decoder.squeeze else first
    scale = decoder.sigma if decoder.sigma is not None else decoder.min_scale + np.logaddexp(rest[0], 0)
    return scipy.stats.norm.logpdf(x.numpy(), loc, scale)


@pytest.mark.parametrize("option", OPTIONS)
def test_shapes(option: str) -> None:
    decoder = make(option, (2, 3, 4))
    p_x = decoder(*params(decoder, 5, 6))
    assert p_x.batch_shape == (5, 6)
    assert p_x.event_shape == (2, 3, 4)
    assert p_x.sample().shape == p_x.mean.shape == (5, 6, 2, 3, 4)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_each_number_integrates_to_one(option: str, seed: int) -> None:
    torch.manual_seed(seed)
    decoder = make(option, (1,))
    assert total(decoder(*params(decoder))) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("option", OPTIONS)
def test_numbers_are_independent(option: str) -> None:
    """log p(x|z) is the sum over the numbers of x, so the whole is normalised when each number is."""
    whole, one = make(option, (1, 2, 3)), make(option, (1,))
    tensors = params(whole, 4)
    x = whole(*tensors).sample()
    single = one(*(tensor.reshape(24, 1) for tensor in tensors)).log_prob(x.reshape(24, 1))
    torch.testing.assert_close(whole(*tensors).log_prob(x), single.reshape(4, 6).sum(-1))


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in GAUSSIANS])
def test_binary_images_sum_to_one(option: str) -> None:
    decoder = make(option, (1, 3, 3))
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)), dtype=torch.float64).reshape(512, 1, 3, 3)
    assert float(decoder(*params(decoder)).log_prob(x).exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_agrees_with_scipy(option: str) -> None:
    decoder = make(option, (1, 4, 5))
    tensors = params(decoder, 7)
    x = decoder(*tensors).sample()
    expected = reference(decoder, tensors, x).reshape(7, -1).sum(-1)
    np.testing.assert_allclose(decoder(*tensors).log_prob(x).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_parameter_gets_a_gradient(option: str) -> None:
    decoder = make(option, (1, 2, 2))
    tensors = [tensor.requires_grad_() for tensor in params(decoder, 3)]
    x = decoder(*tensors).sample()
    decoder(*tensors).log_prob(x).sum().backward()
    for tensor in tensors:
        assert tensor.grad is not None
        assert bool((tensor.grad != 0).all())


@pytest.mark.parametrize("option", OPTIONS)
def test_start_gives_the_mean(option: str) -> None:
    decoder = make(option, (1, 3, 3))
    mean = torch.linspace(0.01, 0.99, 9).reshape(1, 3, 3)
    start = decoder.start(mean)
    assert start is not None
    assert start.shape == (decoder.n_params, 1, 3, 3)
    torch.testing.assert_close(decoder(*start).mean, mean)


def test_identity_gaussian_keeps_its_constant() -> None:
    mean = torch.rand(1, 28, 28)
    assert float(make("gaussian_identity", (1, 28, 28))(mean).log_prob(mean)) == pytest.approx(-720.45, abs=0.005)


def test_fixed_sigma() -> None:
    decoder = make("gaussian_fixed", (1,), "decoder.sigma=0.25")
    loc, x = torch.tensor([0.5]), torch.tensor([0.9])
    assert float(decoder(loc).log_prob(x)) == pytest.approx(scipy.stats.norm.logpdf(0.9, 0.5, 0.25), rel=1e-6)


def test_bernoulli_on_grey_values_is_the_expectation_over_binary_draws() -> None:
    logits, grey = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    p_x = make("bernoulli", (6,))(logits)
    b = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)
    weight = (b * grey + (1 - b) * (1 - grey)).prod(-1)
    torch.testing.assert_close(p_x.log_prob(grey), (weight * p_x.log_prob(b)).sum())


def test_bernoulli_is_finite_for_absurd_logits() -> None:
    p_x = make("bernoulli", (2,))(torch.tensor([1e4, -1e4]))
    assert float(p_x.log_prob(torch.tensor([0.0, 1.0]))) == -2e4
    assert float(p_x.log_prob(torch.tensor([1.0, 0.0]))) == 0


def test_start_of_pixels_that_never_change_is_finite() -> None:
    start = make("bernoulli", (2,)).start(torch.tensor([0.0, 1.0]))
    assert start is not None
    assert bool(start.isfinite().all())


@pytest.mark.parametrize("min_scale", [0.01, 1e-4, 2.0])
def test_learned_scale_has_a_smooth_floor(min_scale: float) -> None:
    decoder = make("gaussian", (5,), f"decoder.min_scale={min_scale}")
    a = torch.tensor([-1e4, -20.0, 0.0, 5.0, 20.0], dtype=torch.float64, requires_grad=True)
    scale = decoder(torch.zeros(5, dtype=torch.float64), a).base_dist.scale
    (gradient,) = torch.autograd.grad(scale.sum(), a)
    scale = scale.detach()
    assert bool((scale >= min_scale * (1 - 1e-12)).all())
    torch.testing.assert_close(scale, min_scale + torch.logaddexp(a.detach(), torch.zeros(5, dtype=torch.float64)))
    assert float(scale[1] - min_scale) == pytest.approx(math.exp(-20), rel=1e-5)  # an exponential where it is small
    assert float(scale[-1] - min_scale) == pytest.approx(20, rel=1e-5)  # and a line where it is large
    torch.testing.assert_close(gradient, a.detach().sigmoid())


@pytest.mark.parametrize("raw_scale", [-1e30, -1e4, 100.0, 1e4, 1e15])
def test_learned_gaussian_is_finite_for_absurd_scales(raw_scale: float) -> None:
    a = torch.tensor([raw_scale], requires_grad=True)
    loc = torch.tensor([0.3], requires_grad=True)
    log_px = make("gaussian", (1,))(loc, a).log_prob(torch.tensor([0.7]))
    log_px.backward()
    assert bool(log_px.isfinite())
    assert a.grad is not None
    assert loc.grad is not None
    assert bool(a.grad.isfinite().all())
    assert bool(loc.grad.isfinite().all())


def test_learned_gaussian_is_bounded_where_the_data_never_vary() -> None:
    """With the mean exact, the density cannot exceed that of the floor."""
    decoder, mean = make("gaussian", (784,)), torch.zeros(784)
    highest = -784 * (math.log(0.01) + 0.5 * math.log(2 * math.pi))
    assert float(decoder(mean, torch.full((784,), -50.0)).log_prob(mean)) == pytest.approx(highest, rel=1e-5)


@pytest.mark.parametrize("data", [DataRange(-0.1, 1, False), DataRange(0, 1.5, False), DataRange(-9, 4, False)])
def test_bernoulli_refuses_what_it_cannot_score(data: DataRange) -> None:
    with pytest.raises(ValueError, match="decoder=gaussian_identity"):
        make("bernoulli", (1,)).check(data)


def test_bernoulli_warns_of_grey_values_only() -> None:
    decoder = make("bernoulli", (1,))
    assert decoder.check(DataRange(0, 1, binary=True)) is None
    assert "dataset.binarize=dynamic" in (decoder.check(DataRange(0, 1, binary=False)) or "")


@pytest.mark.parametrize("option", GAUSSIANS)
def test_gaussians_take_any_real_data_unless_their_mean_is_squeezed(option: str) -> None:
    decoder = make(option, (1,))
    assert decoder.check(DataRange(0, 1, binary=False)) is None
    if "sigmoid" not in option:
        assert decoder.check(DataRange(-90, 4, binary=False)) is None
        return
    with pytest.raises(ValueError, match=r"use decoder\.loc=linear"):
        decoder.check(DataRange(-90, 4, binary=False))
