"""Columns of a table: each kind a normalised law with all its constants, gaps integrated out, values that can be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from support.configurations import composed
from support.making import build_vae
from torch import Tensor

from vaecli.analysis.importance_sampling import importance_weighted
from vaecli.analysis.quadrature import quadrature
from vaecli.datasets.split import Split
from vaecli.decoders.columns import Columns
from vaecli.models.build import initialise_output_bias, learn_units
from vaecli.models.vae import VAE
from vaecli.objectives.elbo import ELBO
from vaecli.training.graph import StepGraph
from vaecli.training.step import LossModule
from vaecli.utils.columns import KINDS, ColumnKind

COLUMNS = [
    ColumnKind("real"), ColumnKind("positive"), ColumnKind("positive", zeros=True),
    ColumnKind("interval", low=2, high=5),
    ColumnKind("interval", low=0, high=1, zeros=True), ColumnKind("binary", levels=2), ColumnKind("category", levels=3),
    ColumnKind("ordered", levels=4), ColumnKind("count", whole=True), ColumnKind("constant", low=7.0),
    ColumnKind("real", whole=True), ColumnKind("positive", whole=True),
]  # fmt: skip
NAMES = [f"{one.kind}{'_zeros' * one.zeros}{'_whole' * (one.whole and one.kind != 'count')}" for one in COLUMNS]


def table(n: int = 400, gaps: float = 0.0) -> Tensor:
    """A value of every kind in each row, all driven by one number."""
    rng = np.random.default_rng(0)
    t = rng.normal(size=n)
    share = 1 / (1 + np.exp(-2 * t + rng.normal(size=n)))
    wide = np.clip(1.2 * share - 0.1, 0, 1)
    amount = np.exp(t + 0.3 * rng.normal(size=n))
    x = np.stack([
        3 * t - 5, amount, np.where(t > 0, amount, 0), 2 + 3 * share, wide, t > 0.3, np.digitize(t, [-0.5, 0.5]),
        np.digitize(t + 0.2 * rng.normal(size=n), [-1, 0, 1]), rng.poisson(np.exp(2 + 0.5 * t)), np.full(n, 7),
        np.rint(10 * t), np.maximum(np.rint(20 * amount), 1),
    ], 1).astype("f4")  # fmt: skip
    x[rng.random(x.shape) < gaps] = np.nan
    x[:, 9] = 7
    return torch.from_numpy(x)


def decoder(*columns: ColumnKind, x: Tensor | None = None) -> Columns:
    made = Columns((len(columns),), list(columns)).double().eval()
    made.learn(lambda: iter([table()[:, [COLUMNS.index(one) for one in columns]] if x is None else x]))
    return made


def parameters(made: Columns, *batch: int, spread: float = 0.7) -> Tensor:
    return made.params_at_mean(torch.zeros(1))[0] + spread * torch.randn(*batch, *made.param_shape, dtype=torch.float64)


def model(*overrides: str, train: Split) -> VAE:
    config = composed("dataset=arrays", "dataset.path=a.csv", "decoder=columns", "latent_dim=2",
                      "architecture.hidden=[16]", *overrides)  # fmt: skip
    config["decoder"]["columns"] = [one.values() for one in COLUMNS]
    torch.manual_seed(0)
    built = build_vae(config, train.x_shape)
    learn_units(built, train)
    initialise_output_bias(built, train)
    return built


def test_every_kind_is_here() -> None:
    assert {one.kind for one in COLUMNS} == set(KINDS)


@pytest.mark.parametrize("at", range(len(COLUMNS)), ids=NAMES)
def test_mass_and_density_add_up_to_one(at: int) -> None:
    """The density integrates to one, with the masses of the values that have one; mean and variance are theirs."""
    column = COLUMNS[at]
    made = decoder(column)
    for seed in range(3):
        torch.manual_seed(seed)
        law: Any = made(parameters(made)).base_dist
        masses, ends = atoms(column)
        weights = law.log_prob(masses.unsqueeze(-1)).exp()[:, 0] if len(masses) else masses
        total, first, second = (float((weights * masses**n).sum()) for n in range(3))
        if ends is not None:
            x = nodes(law, ends)
            p = law.log_prob(x.unsqueeze(-1)).exp()[:, 0]
            moments = [float(scipy.integrate.simpson((p * x**n).numpy(), x=x.numpy())) for n in range(3)]
            total, first, second = (a + b for a, b in zip((total, first, second), moments, strict=True))
        assert total == pytest.approx(1, abs=2e-5)
        if column.kind not in ("binary", "category", "ordered"):  # a category has no mean
            kinks = column.kind == "interval" and column.zeros  # of which the rule of 24 nodes knows nothing
            assert float(law.mean) == pytest.approx(first, rel=1e-2 if kinks else 1e-3, abs=1e-6)
            assert float(law.variance) == pytest.approx(second - first**2, rel=2e-2 if kinks else 5e-3, abs=1e-6)


def atoms(column: ColumnKind) -> tuple[Tensor, tuple[float, float] | None]:
    """The values with a mass of their own, and the ends of where there is a density, if there is one."""
    by_kind: dict[str, Any] = {
        "positive": ([0.0] if column.zeros else [], (1e-9, np.inf)), "real": ([], (-np.inf, np.inf)),
        "interval": ([column.low, column.high] if column.zeros else [], (column.low, column.high)),
        "count": (range(20_000), None), "constant": ([column.low], None),
    }  # fmt: skip
    values, ends = by_kind.get(column.kind, (range(column.levels or 0), None))
    return torch.tensor(list(values), dtype=torch.float64), ends


def nodes(law: Any, ends: tuple[float, float]) -> Tensor:
    """Where to evaluate a density: dense in the middle, or on a logarithmic scale towards a finite end."""
    low, high = ends
    if np.isinf(low):
        return law.mean + law.stddev * torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    if np.isinf(high):
        return torch.linspace(-25, 14, 200_001, dtype=torch.float64).exp()
    inner = torch.sigmoid(torch.linspace(-13.5, 13.5, 200_001, dtype=torch.float64))
    return low + (high - low) * inner


@pytest.mark.parametrize("at", range(len(COLUMNS)), ids=NAMES)
def test_draws_are_possible_values_and_follow_the_law(at: int) -> None:
    column = COLUMNS[at]
    made = decoder(column)
    p_x = made(parameters(made))
    x = p_x.sample((20_000,))[:, 0]
    masses, ends = atoms(column)
    known = torch.isin(x, masses)
    if column.whole:
        assert torch.equal(x, x.round())
        assert float(x.min()) >= (1 if column.kind == "positive" else 0 if column.kind == "count" else -np.inf)
        return
    if ends is None:
        assert bool(known.all())
    elif column.kind != "real":
        assert bool((known | ((x > ends[0]) & (x < ends[1]))).all())
    for value in masses[:8]:
        share, p = float((x == value).double().mean()), float(p_x.log_prob(value.reshape(1)).exp())
        assert share == pytest.approx(p, abs=5 * (p * (1 - p) / len(x)) ** 0.5 + 1e-9)


def test_laws_are_scipys() -> None:
    """Log-normal, logit-normal and negative binomial, by the parameters that the docstrings give."""
    made = decoder(COLUMNS[0], COLUMNS[1], COLUMNS[8])
    params = parameters(made, 50)
    x = made(params).sample()
    groups = {type(group).__name__: (group, own) for group, own in zip(made.groups, params.split(2, -1), strict=True)}
    for j, name in enumerate(("Real", "Positive", "Count")):
        group: Any = groups[name][0]
        a, b = groups[name][1].unbind(-1)
        width = 0.01 + np.logaddexp(b, 0)
        if name == "Count":
            m, r = group.mean[0, 1] * (group.scale[0, 0] * a).exp(), width
            expected = scipy.stats.nbinom.logpmf(x[:, j], r, r / (r + m))
        else:
            loc, scale = group.mean[0, 0] + group.scale[0, 0] * a, group.scale[0, 0] * width
            law = scipy.stats.norm(loc, scale) if name == "Real" else scipy.stats.lognorm(scale, scale=loc.exp())
            expected = law.logpdf(x[:, j])
        np.testing.assert_allclose(made(params).base_dist.log_prob(x)[:, j], expected, rtol=1e-8, atol=1e-8)


def test_columns_are_independent_and_in_order() -> None:
    """Whatever order the columns come in, each scores what it scores alone."""
    for order in itertools.islice(itertools.permutations(range(len(COLUMNS))), 0, 4000, 1300):
        columns, x = [COLUMNS[i] for i in order], table(20)[:, list(order)].double()
        made = decoder(*columns)
        params = made.params_at_mean(torch.zeros(1))[0]
        alone = [decoder(one) for one in columns]
        each = [one(one.params_at_mean(torch.zeros(1))[0]).log_prob(x[:, j : j + 1]) for j, one in enumerate(alone)]
        torch.testing.assert_close(made(params).base_dist.log_prob(x), torch.stack(each, -1), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(made(params).log_prob(x), torch.stack(each, -1).sum(-1), rtol=1e-6, atol=1e-6)


def test_gaps_are_integrated_out() -> None:
    made, x = decoder(*COLUMNS), table(30).double()
    params = parameters(made, 6, 30)
    gaps = torch.rand(30, len(COLUMNS)) < 0.4
    each = made(params).base_dist.log_prob(x)
    found = made(params).log_prob(x.masked_fill(gaps, torch.nan))
    torch.testing.assert_close(found, each.masked_fill(gaps, 0.0).sum(-1))
    assert made(params).log_prob(torch.full_like(x, torch.nan)).abs().max() == 0


def test_a_pass_with_gaps_trains_everything() -> None:
    train = Split(table(300, gaps=0.2))
    built = model(train=train)
    estimate = ELBO()(built.train(), train.x, 0)
    estimate.loss.backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad != 0).any()), name


def test_it_starts_at_the_columns_own_distributions() -> None:
    """Before the first step, what is decoded has about the likelihood of independent columns, not far from the best."""
    train = Split(table(2000))
    built = model(train=train).eval()
    own: Any = built.decoder
    fixed = own(own.params_at_mean(torch.zeros(1))[0])
    start = float(fixed.log_prob(train.x).mean())
    with torch.no_grad():
        first = float(built.decode(0.1 * torch.randn(len(train), 2)).log_prob(train.x).mean())
    assert first == pytest.approx(start, rel=0.1)
    codes = fixed.base_dist.log_prob(train.x)[:, 6].mean()
    shares = torch.bincount(train.x[:, 6].long()) / len(train)
    assert float(codes) == pytest.approx(float((shares * shares.log()).sum()), rel=1e-3)


def test_the_encoder_learns_to_do_without() -> None:
    """While training about a tenth of the cells is hidden; in evaluation none but those that are missing."""
    train = Split(table(2000))
    built = model(train=train)
    transform: Any = built.encoder_network[0]
    hidden = torch.stack([transform.hidden(train.x) for _ in range(20)]).float()
    assert float(hidden.mean()) == pytest.approx(0.1, abs=0.005)
    assert float(hidden.mean(2).std()) > 0.1  # more in some rows than in others
    built.eval()
    torch.testing.assert_close(built.encode(train.x[:9]).mean, built.encode(train.x[:9]).mean)
    seen = transform(train.x)
    assert bool((seen[:, -len(COLUMNS) :] == 0).all())


@pytest.mark.slow
def test_a_step_is_recorded_and_replayed() -> None:
    """The recorded pass gives the figures of the eager one to the last bit, hidden cells and all."""
    train = Split(table(64, gaps=0.1))
    built = model(train=train).train()
    loss = LossModule(built, ELBO())
    step = torch.zeros((), dtype=torch.int64)
    graph = StepGraph(loss, train.x, step)
    torch.manual_seed(3)
    replayed, _ = graph(train.x, step)
    torch.manual_seed(3)
    eager = loss(train.x, step)
    torch.testing.assert_close(replayed.loss, eager.loss.detach(), rtol=0, atol=0)


@pytest.mark.slow
def test_weights_agree_with_quadrature() -> None:
    """log p(x) of rows of all kinds, with gaps, by importance sampling and by quadrature over two latents."""
    train = Split(table(200, gaps=0.2))
    built, few = model(train=train).eval(), train.head(3)
    exact, scores = quadrature(built, few), importance_weighted(built, few, 20_000)
    difference = (-scores.nll - exact.log_px).abs()
    assert bool((difference < 5 * scores.nll_mc_stderr + 1e-3).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absurd_parameters_leave_densities_finite(dtype: torch.dtype) -> None:
    made, x = decoder(*COLUMNS).to(dtype), table(5).to(dtype)
    for value in (-1e15, -1e4, -100, 0, 100, 1e4, 1e15):
        params = torch.full((5, *made.param_shape), value, dtype=dtype, requires_grad=True)
        log_p = made(params).log_prob(x)
        log_p.sum().backward()
        assert not bool(log_p.isnan().any())
        assert params.grad is not None
        assert not bool(params.grad.isnan().any())
