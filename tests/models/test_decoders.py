"""Decoders: every option of conf/decoder is a normalised density or mass with all its constants."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from support.configurations import ELEMENTWISE, GREY, composed, filled
from support.making import fill_from_data, instantiate, options_of
from torch import Tensor
from torch.distributions import Independent

from vaecli.datasets.split import Split
from vaecli.decoders.base import DataFacts, Decoder
from vaecli.decoders.location import LocationDecoder
from vaecli.models.build import data_facts
from vaecli.utils.errors import UserError

LOCATED = options_of("decoder", LocationDecoder)
SQUEEZED = [f"{name} decoder.loc=sigmoid" for name in LOCATED]
FIXED = ["laplace decoder.scale=0.3", "discretized_logistic decoder.levels=2", "categorical decoder.levels=2"]
OPTIONS = [
    *ELEMENTWISE,
    *SQUEEZED,
    *FIXED,
    "poisson decoder.step=1",
    "negative_binomial decoder.step=1",
    "zero_inflated decoder.step=1",
]
REAL = [*LOCATED, *SQUEEZED, "laplace decoder.scale=0.3", "continuous_bernoulli"]
MASS = [name for name in OPTIONS if name not in REAL]


def make(option: str, x_shape: tuple[int, ...], *overrides: str) -> Decoder:
    """A decoder of digits' grey levels in evaluation mode; `option` may have overrides after it."""
    config = filled(*f"decoder={option}".split(), *overrides)
    decoder: Decoder = instantiate(config, "decoder", x_shape=x_shape)
    return decoder.double().eval()


def params(decoder: Decoder, *batch: int) -> list[Tensor]:
    return [torch.randn(*batch, *decoder.x_shape, dtype=torch.float64) for _ in range(decoder.n_params)]


def total(p_x: Any) -> float:
    """The sum or integral of the density of one number, over everything it can be."""
    if p_x.support.is_discrete:
        values = grid(p_x)
        assert bool(p_x.support.check(values).all())
        return float(p_x.log_prob(values).exp().sum())
    t = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    x = p_x.mean + p_x.stddev * t
    if p_x.support.base_constraint is torch.distributions.constraints.unit_interval:
        x = torch.linspace(0, 1, 60_001, dtype=torch.float64)
    return float(scipy.integrate.simpson(p_x.log_prob(x.unsqueeze(-1)).exp().numpy(), x=x.numpy()))


def grid(p_x: Any, most: int = 20_000) -> Tensor:
    """All the values (n, 1) of one number, or the first so many."""
    if p_x.base_dist.has_enumerate_support:
        values: Tensor = p_x.base_dist.enumerate_support().double()
        return values
    n = p_x.base_dist.levels or most
    return torch.arange(n, dtype=torch.float64).unsqueeze(-1) * p_x.base_dist.step


def logistic_bins(decoder: Any, loc: np.ndarray, a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """From the distribution function, whose tails belong to the first and the last level."""
    scale = decoder.min_scale * decoder.step + np.logaddexp(a, 0)
    upper = np.where(x > 1 - decoder.step / 2, np.inf, x + decoder.step / 2)
    lower = np.where(x < decoder.step / 2, -np.inf, x - decoder.step / 2)
    return np.log(scipy.stats.logistic.cdf(upper, loc, scale) - scipy.stats.logistic.cdf(lower, loc, scale))


def levels(decoder: Any, *rest: np.ndarray) -> np.ndarray:
    *logits, x = rest
    chances = np.exp(logits) / np.exp(logits).sum(0)
    return np.log(np.take_along_axis(chances, np.rint(x / decoder.step).astype(int)[None], 0)[0])


def negative_binomial(decoder: Any, a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    mean, r = np.logaddexp(a, 0) / decoder.step, decoder.min_count + np.logaddexp(b, 0)
    return scipy.stats.nbinom.logpmf(np.rint(x / decoder.step), r, r / (r + mean))


def zero_inflated(decoder: Any, a: np.ndarray, b: np.ndarray, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    extra = 1 / (1 + np.exp(-c))
    mass: np.ndarray = np.log(extra * (x == 0) + (1 - extra) * np.exp(negative_binomial(decoder, a, b, x)))
    return mass


def location_scale(law: Any, decoder: Any, loc: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    *a, x = rest
    scale = decoder.min_scale + np.logaddexp(a[0], 0) if a else decoder.scale
    return law.logpdf(x, 1 / (1 + np.exp(-loc)) if decoder.squeeze else loc, scale)


def optimal(decoder: Any, loc: np.ndarray, x: np.ndarray) -> np.ndarray:
    return scipy.stats.norm.logpdf(x, 1 / (1 + np.exp(-loc)) if decoder.squeeze else loc, decoder.sigma)


def reference(option: str, decoder: Any, tensors: list[Tensor], x: Tensor) -> np.ndarray:
    """The log-density of each number, from SciPy and the textbook."""
    laws: dict[str, Any] = {
        "bernoulli": lambda d, a, x: scipy.stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-a))),
        "continuous_bernoulli": lambda d, a, x: x * a - np.log(np.expm1(a) / a),
        "laplace": lambda *args: location_scale(scipy.stats.laplace, *args),
        "gaussian_optimal": optimal,
        "discretized_logistic": logistic_bins,
        "categorical": levels,
        "poisson": lambda d, a, x: scipy.stats.poisson.logpmf(np.rint(x / d.step), np.logaddexp(a, 0) / d.step),
        "negative_binomial": negative_binomial,
        "zero_inflated": zero_inflated,
    }
    law = laws.get(option.split()[0], lambda *args: location_scale(scipy.stats.norm, *args))
    return law(decoder, *(tensor.numpy() for tensor in tensors), x.numpy())


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("training", [False, True])
def test_shapes(option: str, training: bool) -> None:
    decoder = make(option, (2, 3, 4)).train(training)
    p_x = decoder(*params(decoder, 5, 6))
    assert isinstance(p_x, Independent)
    assert p_x.batch_shape == (5, 6)
    assert p_x.event_shape == (2, 3, 4)
    assert p_x.sample().shape == p_x.mean.shape == p_x.variance.shape == (5, 6, 2, 3, 4)
    assert p_x.sample((7,)).shape == (7, 5, 6, 2, 3, 4)
    x = p_x.sample()[0]  # (6, 2, 3, 4), scored under the 5 draws of z
    assert p_x.log_prob(x).shape == (5, 6)
    assert p_x.base_dist.log_prob(x).shape == (5, 6, 2, 3, 4)
    torch.testing.assert_close(p_x.base_dist.log_prob(x).sum((-3, -2, -1)), p_x.log_prob(x))


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


def test_binary_images_sum_to_one() -> None:
    decoder = make("bernoulli", (1, 3, 3))
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)), dtype=torch.float64).reshape(512, 1, 3, 3)
    assert float(decoder(*params(decoder)).log_prob(x).exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_agrees_with_scipy(option: str) -> None:
    decoder = make(option, (1, 4, 5))
    tensors = params(decoder, 7)
    x = decoder(*tensors).sample()
    expected = reference(option, decoder, tensors, x).reshape(7, -1).sum(-1)
    np.testing.assert_allclose(decoder(*tensors).log_prob(x).numpy(), expected, rtol=1e-11)


@pytest.mark.parametrize("option", OPTIONS)
def test_draws_have_the_mean_and_the_variance(option: str) -> None:
    decoder = make(option, (4,))
    p_x = decoder(*params(decoder))
    x = p_x.sample((200_000,))
    assert bool(p_x.support.check(x).all())
    away = (x - p_x.mean).square()
    assert bool(((x.mean(0) - p_x.mean).abs() < 5 * x.std(0) / len(x) ** 0.5).all())
    assert bool(((away.mean(0) - p_x.variance).abs() < 5 * away.std(0) / len(x) ** 0.5 + 1e-12).all())


@pytest.mark.parametrize("option", MASS)
def test_mean_and_variance_are_those_of_the_masses(option: str) -> None:
    decoder = make(option, (1,))
    p_x = decoder(*params(decoder))
    x = grid(p_x)
    mass = p_x.log_prob(x).exp().unsqueeze(-1)
    torch.testing.assert_close(p_x.mean, (mass * x).sum(0))
    torch.testing.assert_close(p_x.variance, (mass * (x - p_x.mean).square()).sum(0))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("training", [False, True])
def test_every_parameter_gets_a_gradient(option: str, training: bool) -> None:
    decoder = make(option, (1, 2, 2)).train(training)
    tensors = [tensor.requires_grad_() for tensor in params(decoder, 3)]
    x = decoder(*tensors).sample()
    decoder(*tensors).log_prob(x).sum().backward()
    for tensor in tensors:
        assert tensor.grad is not None
        assert bool((tensor.grad != 0).all())


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absurd_parameters_leave_everything_finite(option: str, dtype: torch.dtype) -> None:
    decoder = make(option, (1,)).to(dtype)
    absurd = torch.tensor([[-1e15, -1e4, -100, -50, -1e-8, 0, 1e-8, 50, 100, 1e4, 1e15]], dtype=dtype).T
    x = torch.tensor([0.0, 0.5, 1.0], dtype=dtype).reshape(3, 1, 1)
    for at in range(min(decoder.n_params, 3)):
        tensors = [absurd.clone() if i == at else torch.full_like(absurd, 0.3) for i in range(decoder.n_params)]
        tensors = [tensor.requires_grad_() for tensor in tensors]
        log_px = decoder(*tensors).log_prob(x)
        log_px.sum().backward()
        assert bool(log_px.isfinite().all())
        assert all(tensor.grad is not None and bool(tensor.grad.isfinite().all()) for tensor in tensors)


@pytest.mark.parametrize("option", OPTIONS)
def test_start_gives_the_mean(option: str) -> None:
    decoder = make(option, (1, 3, 3)).float()
    mean = torch.linspace(0.01, 0.99, 9).reshape(1, 3, 3)
    start = decoder.params_at_mean(mean)
    assert start is not None
    assert start.shape == (decoder.n_params, 1, 3, 3)
    torch.testing.assert_close(decoder(*start).mean, mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("option", OPTIONS)
def test_start_of_pixels_that_never_change_is_finite(option: str) -> None:
    start = make(option, (2,)).params_at_mean(torch.tensor([0.0, 1.0]))
    assert start is not None
    assert bool(start.isfinite().all())


def test_identity_gaussian_keeps_its_constant() -> None:
    mean = torch.rand(1, 28, 28)
    assert float(make("gaussian_identity", (1, 28, 28))(mean).log_prob(mean)) == pytest.approx(-720.45, abs=0.005)


@pytest.mark.parametrize(
    ("option", "law"),
    [("gaussian_fixed decoder.sigma=0.25", scipy.stats.norm), ("laplace decoder.scale=0.25", scipy.stats.laplace)],
)
def test_fixed_scale(option: str, law: Any) -> None:
    loc, x = torch.tensor([0.5]), torch.tensor([0.9])
    assert float(make(option, (1,))(loc).log_prob(x)) == pytest.approx(law.logpdf(0.9, 0.5, 0.25), rel=1e-6)


@pytest.mark.parametrize("option", ["gaussian", "gaussian_identity"])
def test_gaussian_gradients_are_those_of_its_log_density(option: str) -> None:
    decoder = make(option, (2, 3))
    params = torch.randn(decoder.n_params, 4, 2, 3, dtype=torch.double, requires_grad=True)
    x = torch.randn(4, 2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, x: decoder(*p).log_prob(x), (params, x))
    assert torch.autograd.gradgradcheck(lambda p, x: decoder(*p).log_prob(x), (params, x))


def test_bernoulli_on_grey_is_the_mean_over_draws() -> None:
    logits, grey = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    p_x = make("bernoulli", (6,))(logits)
    b = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)
    weight = (b * grey + (1 - b) * (1 - grey)).prod(-1)
    torch.testing.assert_close(p_x.log_prob(grey), (weight * p_x.log_prob(b)).sum())


def test_bernoulli_on_grey_is_at_most_minus_entropy() -> None:
    decoder = make("bernoulli", (6,))
    grey = torch.tensor([[0.0, 1.0, 0.2, 0.5, 0.7, 1e-5]], dtype=torch.float64)
    entropy = sum(scipy.stats.entropy([p, 1 - p]) for p in grey[0].tolist())
    best = decoder(torch.logit(grey).clamp(-500, 500)).log_prob(grey)
    assert float(best) == pytest.approx(-entropy, rel=1e-7)


def test_bernoulli_is_finite_for_absurd_logits() -> None:
    p_x = make("bernoulli", (2,))(torch.tensor([1e4, -1e4]))
    assert float(p_x.log_prob(torch.tensor([0.0, 1.0]))) == -2e4
    assert float(p_x.log_prob(torch.tensor([1.0, 0.0]))) == 0


@pytest.mark.parametrize("option", ["gaussian", "laplace"])
@pytest.mark.parametrize("min_scale", [0.01, 1e-4, 2.0])
def test_learned_scale_has_a_smooth_floor(option: str, min_scale: float) -> None:
    decoder = make(option, (5,), f"decoder.min_scale={min_scale}")
    a = torch.tensor([-1e4, -20.0, 0.0, 5.0, 20.0], dtype=torch.float64, requires_grad=True)
    scale = decoder(torch.zeros(5, dtype=torch.float64), a).base_dist.scale
    (gradient,) = torch.autograd.grad(scale.sum(), a)
    scale = scale.detach()
    assert bool((scale >= min_scale * (1 - 1e-12)).all())
    torch.testing.assert_close(scale, min_scale + torch.logaddexp(a.detach(), torch.zeros(5, dtype=torch.float64)))
    assert float(scale[1] - min_scale) == pytest.approx(math.exp(-20), rel=1e-5)  # an exponential where it is small
    assert float(scale[-1] - min_scale) == pytest.approx(20, rel=1e-5)  # and a line where it is large
    torch.testing.assert_close(gradient, a.detach().sigmoid())


def test_learned_gaussian_is_bounded_on_constant_data() -> None:
    """With the mean exact, the density cannot exceed that of the floor."""
    decoder, mean = make("gaussian", (784,)), torch.zeros(784)
    highest = -784 * (math.log(0.01) + 0.5 * math.log(2 * math.pi))
    assert float(decoder(mean, torch.full((784,), -50.0)).log_prob(mean)) == pytest.approx(highest, rel=1e-5)


# gaussian_optimal


@pytest.mark.parametrize("loc", ["linear", "sigmoid"])
def test_the_optimal_scale_of_a_batch(loc: str) -> None:
    """The sum over the batch is -P/2 (log 2 pi sigma^2 + 1) for each of its rows, and no other scale does better."""
    decoder = make(f"gaussian_optimal decoder.loc={loc}", (2, 5)).train()
    raw, x = torch.randn(3, 4, 2, 5, dtype=torch.float64, requires_grad=True), torch.rand(4, 2, 5, dtype=torch.float64)
    location = raw.sigmoid() if loc == "sigmoid" else raw
    variance = (x - location).square().mean()
    best = float(variance.detach())
    direct = -10 / 2 * ((2 * math.pi * variance).log() + 1)
    log_px = decoder(raw).log_prob(x)
    assert log_px.shape == (3, 4)
    torch.testing.assert_close(log_px.mean(), direct)
    found, expected = (torch.autograd.grad(value, raw, retain_graph=True)[0] for value in (log_px.mean(), direct))
    torch.testing.assert_close(found, expected)
    decoder.eval()
    for factor in (0.9, 1.0, 1.1):
        assert decoder.calibrate is not None
        decoder.calibrate(best * factor**2)
        held = float(decoder(raw).log_prob(x).mean().detach())
        assert float(direct.detach()) - held == pytest.approx(10 * (math.log(factor) + factor**-2 / 2 - 0.5), abs=1e-9)


def test_the_optimal_scale_has_a_floor() -> None:
    decoder = make("gaussian_optimal decoder.min_scale=0.1", (3,))
    loc, x = torch.zeros(3, requires_grad=True), torch.tensor([0.0, 1e-4, 0.0])
    highest = float(scipy.stats.norm.logpdf(x.numpy(), 0, 0.1).sum())
    trained = decoder.train()(loc).log_prob(x)
    assert float(trained.detach()) == pytest.approx(highest, rel=1e-6)
    (gradient,) = torch.autograd.grad(trained, loc)
    torch.testing.assert_close(gradient, (x - loc.detach()) / 0.01)
    assert decoder.calibrate is not None
    decoder.calibrate(1e-8)
    assert float(decoder.eval()(loc.detach()).log_prob(x)) == pytest.approx(highest, rel=1e-6)


def test_a_calibrated_density_integrates_to_one() -> None:
    decoder, other = make("gaussian_optimal", (1,)), make("gaussian_optimal", (1,))
    assert decoder.calibrate is not None
    decoder.calibrate(0.0625)
    other.load_state_dict(decoder.state_dict())
    p_x = other(torch.tensor([0.3], dtype=torch.float64))
    assert total(p_x) == pytest.approx(1, abs=1e-12)
    assert float(p_x.stddev) == 0.25


def test_whose_training_figures_are_no_bound() -> None:
    assert [name for name in ELEMENTWISE if not make(name, (1,)).training_bound] == ["gaussian_optimal"]


# Which data they take

BINARY, IMAGES, DIGITS = DataFacts(0, 1, True, 1.0), DataFacts(0, 1, False, 1 / 255), DataFacts(0, 1, False, 1 / 16)
UNIT, CURVES, COUNTS = DataFacts(0, 1, False), DataFacts(-90, 4, False), DataFacts(0, 7, False, 1.0)
WHOLE = DataFacts(-3, 7, False, 1.0)
DATA = {"binary": BINARY, "images": IMAGES, "digits": DIGITS, "unit": UNIT, "curves": CURVES, "counts": COUNTS,
        "whole": WHOLE}  # fmt: skip
TAKEN = {
    "bernoulli": {"binary", "images", "digits", "unit"},
    "continuous_bernoulli": {"binary", "images", "digits", "unit"},
    "discretized_logistic": {"binary", "images", "digits"},
    "categorical": {"binary", "images", "digits"},
    "poisson": {"binary", "images", "digits", "counts"},
    "negative_binomial": {"binary", "images", "digits", "counts"},
    "zero_inflated": {"binary", "images", "digits", "counts"},
} | {name: set(DATA) for name in LOCATED}
SETTLED = {
    "binary": {"levels": 2, "step": 1}, "images": {"levels": 256, "step": 1 / 255},
    "digits": {"levels": 17, "step": 1 / 16}, "counts": {"step": 1},
}  # fmt: skip


def suited(option: str, data: DataFacts, **settings: Any) -> Decoder:
    """An option filled in from the data; ValueError where it refuses them."""
    node = {**filled(f"decoder={option}")["decoder"]}
    cls = type(make(option, (1,)))
    node |= {key: None for key in ("levels", "step") if key in node} | settings
    node = cls.fill_from_data(node, data)
    decoder: Decoder = instantiate({"decoder": node}, "decoder", x_shape=(1,))
    decoder.check(data)
    return decoder


@pytest.mark.parametrize(("option", "name"), list(itertools.product(TAKEN, DATA)))
def test_data_are_taken_or_another_option_is_named(option: str, name: str) -> None:
    data = DATA[name]
    if name in TAKEN[option]:
        decoder = suited(option, data)
        for key, value in SETTLED.get(name, {}).items():
            assert getattr(decoder, key, None) in (None, value)
        return
    with pytest.raises(ValueError, match=rf"\[{data.low:g}, {data.high:g}\]: use decoder=\w+$") as refused:
        suited(option, data)
    remedy = str(refused.value).rpartition("=")[2]
    assert name in TAKEN[remedy]


@pytest.mark.parametrize("option", ["discretized_logistic", "categorical"])
def test_levels_that_are_given_have_to_hold_the_data(option: str) -> None:
    assert getattr(suited(option, DIGITS, levels=33), "levels", None) == 33
    with pytest.raises(ValueError, match=r"has 256 grey levels, but the data have 17: use decoder\.levels=17"):
        suited(option, DIGITS, levels=256)


@pytest.mark.parametrize("option", ["poisson", "negative_binomial"])
def test_a_step_that_is_given_has_to_hold_the_data(option: str) -> None:
    assert suited(option, DIGITS, step=1 / 32).step == 1 / 32
    with pytest.raises(ValueError, match=r"but the data come in steps of 0.0625: use decoder\.step=0\.0625"):
        suited(option, DIGITS, step=1.0)


def test_bernoulli_warns_of_grey_values_only() -> None:
    decoder = make("bernoulli", (1,))
    assert decoder.check(BINARY) is None
    for word in ("dataset.binarize=dynamic", "decoder=discretized_logistic"):
        assert word in (decoder.check(IMAGES) or "")


def test_continuous_bernoulli_warns_of_binary_data() -> None:
    decoder = make("continuous_bernoulli", (1,))
    assert decoder.check(UNIT) is None
    assert "decoder=bernoulli" in (decoder.check(BINARY) or "")


@pytest.mark.parametrize("option", SQUEEZED)
def test_a_squeezed_mean_stays_in_the_unit_interval(option: str) -> None:
    decoder = make(option, (1,))
    assert decoder.check(UNIT) is None
    with pytest.raises(ValueError, match=r"use decoder\.loc=linear"):
        decoder.check(CURVES)


BYTES = torch.arange(256, dtype=torch.uint8).reshape(-1, 2)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (Split(BYTES, levels=255), IMAGES),
        (Split(BYTES % 17, levels=16), DIGITS),
        (Split(BYTES % 2), BINARY),
        (Split((BYTES % 2).float()), BINARY),
        (Split(BYTES, levels=255, redraw=True), BINARY),
        (Split(BYTES / 255), IMAGES),
        (Split((BYTES % 8).float()), COUNTS),
        (Split(BYTES % 8), COUNTS),
        (Split(torch.tensor([[-3.0, 7.0]])), WHOLE),
        (Split(torch.tensor([[0.0, 0.3, 1.0]])), UNIT),
        (Split(torch.tensor([[-90.0, 0.5, 4.0]])), CURVES),
    ],
)
def test_what_a_decoder_is_told_of_the_data(split: Split, expected: DataFacts) -> None:
    assert data_facts(split) == expected
    if expected.low >= 0 and expected.step is not None:
        assert fill_from_data(composed("decoder=poisson"), split)["decoder"]["step"] == pytest.approx(
            expected.step, rel=1e-15
        )


def test_a_decoder_s_own_grid_is_recognised() -> None:
    sixteenths = Split((BYTES % 17) / 16)
    assert data_facts(sixteenths).step is None
    assert data_facts(sixteenths, 1 / 16).step == 1 / 16


def test_settling_changes_nothing_the_user_gave() -> None:
    config = composed("decoder=categorical", "decoder.levels=33")
    assert fill_from_data(config, GREY) == config
    config = composed("decoder=categorical")
    assert fill_from_data(config, GREY) == {**config, "decoder": {**config["decoder"], "levels": 17}}
    assert config["decoder"]["levels"] is None
    with pytest.raises(UserError, match="use decoder=gaussian_identity, or experiment=beta_curves"):
        fill_from_data(config, Split(torch.tensor([[-90.0, 0.5, 4.0]])), "beta_curves")


@pytest.mark.parametrize("override", ["levels=1", "levels=2.5", "levels=abc", "levels=70000"])
@pytest.mark.parametrize("option", ["categorical", "discretized_logistic"])
def test_a_bad_number_of_levels_is_refused(option: str, override: str) -> None:
    with pytest.raises(UserError, match=r"decoder\.levels="):
        make(option, (1,), f"decoder.{override}")
