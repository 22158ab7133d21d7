"""Contracts of the priors, the data that some start from, and what trained models of every kind are good for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.configurations import composed
from support.densities import grid, shaken
from support.making import build_vae, instantiate, prepare
from support.thinned import every
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vaecli import __main__ as cli
from vaecli.analysis.importance_sampling import prior_estimate, widened_estimate
from vaecli.analysis.latent_space import manifold, prior_moments, traverse
from vaecli.analysis.metrics import active_units, kl_per_dim
from vaecli.analysis.quadrature import quadrature
from vaecli.config.catalog import groups
from vaecli.config.instantiate import Trust
from vaecli.datasets.split import Split
from vaecli.models.build import initialise_prior
from vaecli.models.load import load_run
from vaecli.models.vae import VAE
from vaecli.posteriors.gaussian import Gaussian
from vaecli.priors.mixture import GaussianMixture
from vaecli.priors.mixtures import Mixture
from vaecli.priors.standard_normal import StandardNormal
from vaecli.priors.vamp import VampPrior
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("without_hydra")

VARIANTS = [[f"prior={name}"] for name in groups()["prior"]] + [["prior=flow", "prior.kind=coupling"]]
SHAPE = (7,)


class Encoder(nn.Module):
    """x (B, 7) -> q(z|x)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.posterior = Gaussian(dim)
        self.network = nn.Linear(7, self.posterior.n_features)

    def forward(self, x: Tensor) -> Distribution:
        return self.posterior(self.network(x))


def prior(overrides: list[str], dim: int) -> tuple[nn.Module, Encoder]:
    """An option with weights far from where it starts, in double precision, and an encoder for those that ask."""
    torch.manual_seed(1)
    if overrides == ["prior=vamp"]:
        overrides = [*overrides, "prior.components=6"]
    made = instantiate(composed(*overrides), "prior", latent_dim=dim, x_shape=SHAPE)
    return shaken(made).double(), Encoder(dim).double()


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
@pytest.mark.parametrize("dim", [1, 3])
def test_shapes_and_gradients(overrides: list[str], dim: int) -> None:
    module, encoder = prior(overrides, dim)
    p_z = module(encoder)
    assert (p_z.batch_shape, p_z.event_shape) == ((), (dim,))
    assert p_z.mean.shape == p_z.stddev.shape == (dim,)
    z = torch.randn(5, 4, dim, dtype=torch.float64)
    assert p_z.log_prob(z).shape == (5, 4)
    assert p_z.sample((5, 4)).shape == (5, 4, dim)
    assert p_z.sample().shape == (dim,)
    wide = p_z.expand((4,))
    assert wide.batch_shape == (4,)
    assert wide.sample((5,)).shape == (5, 4, dim)
    torch.testing.assert_close(wide.log_prob(z), p_z.log_prob(z))
    if any(True for _ in module.parameters()):
        p_z.log_prob(z).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        masked = dim == 1 and "layers.0.weight" in name  # one latent has none before it
        assert masked or bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
@pytest.mark.parametrize("dim", [1, 2])
def test_density_moments_and_draws_agree(overrides: list[str], dim: int) -> None:
    module, encoder = prior(overrides, dim)
    with torch.no_grad():
        p_z, z = module(encoder), grid(dim, n=201)
        mass = p_z.log_prob(z).exp() * (18 / 200) ** dim
        draws = p_z.sample((50_000,))
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    mean = mass @ z
    stddev = (mass @ (z - mean).square()).sqrt()
    torch.testing.assert_close(draws.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.std(0), stddev, atol=0.03, rtol=0)
    torch.testing.assert_close(p_z.mean, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(p_z.stddev, stddev, atol=0.05, rtol=0)
    low, high = mean - stddev, mean + 2 * stddev
    inside = ((z > low) & (z < high)).all(1)
    share = float(((draws > low) & (draws < high)).all(1).double().mean())
    assert share == pytest.approx(float(mass[inside].sum()), abs=0.02)


def test_a_mixture_is_the_sum_of_its_components() -> None:
    module = GaussianMixture(2, components=3)
    with torch.no_grad():
        module.logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        module.log_scale.normal_()
    p_z, z = module(), torch.randn(4, 5, 2)
    densities = [Normal(module.loc[k], module.log_scale[k].exp()).log_prob(z).sum(-1).exp() for k in range(3)]
    want = sum(w * d for w, d in zip(module.logits.softmax(0), densities, strict=True))
    torch.testing.assert_close(p_z.log_prob(z).exp(), want)


@pytest.mark.parametrize("scale", [1e-4, 0.05, 30.0])
def test_a_mixture_keeps_its_precision_where_squares_cancel(scale: float) -> None:
    loc, scales = 5 * torch.randn(6, 40), torch.full((6, 40), scale)
    z = loc[:3] + scale * torch.randn(3, 40)  # each near one component, far from the others in its own units
    each = Normal(loc.double(), scales.double()).log_prob(z.double().unsqueeze(1)).sum(-1)
    p_z = Mixture(Independent(Normal(loc, scales), 1), torch.zeros(6).log_softmax(0))
    torch.testing.assert_close(p_z.log_prob(z), (each.logsumexp(-1) - math.log(6)).float(), atol=1e-3, rtol=1e-6)


def test_a_mixture_draws_components_by_weight() -> None:
    components = Independent(Normal(torch.tensor([[-50.0], [0.0], [50.0]]), torch.ones(3, 1)), 1)
    p_z = Mixture(components, torch.tensor([0.2, 0.0, 0.8]).log())
    z = p_z.sample((20_000,))
    assert float((z < -25).double().mean()) == pytest.approx(0.2, abs=0.02)
    assert not bool((z.abs() < 25).any())
    assert float(z[z > 25].std()) == pytest.approx(1, abs=0.03)
    assert len(z.unique()) > 19_000
    torch.testing.assert_close(p_z.mean, torch.tensor([30.0]))
    assert float(p_z.stddev) == pytest.approx(math.sqrt(1 + 1600), rel=1e-5)
    assert p_z.sample((0,)).shape == (0, 1)


def test_a_large_mixture_is_scored_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    p_z, z = GaussianMixture(2, components=4)(), torch.randn(3, 50, 2)
    whole = p_z.log_prob(z)
    monkeypatch.setattr("vaecli.priors.mixtures.MAX_DENSITIES", 100)
    torch.testing.assert_close(p_z.log_prob(z), whole)


def test_vamp_is_the_mean_of_its_inputs_posteriors() -> None:
    encoder, module = Encoder(2), VampPrior(2, SHAPE, components=9)
    z = torch.randn(6, 2)
    each = torch.stack([encoder(u.unsqueeze(0)).log_prob(z) for u in module.pseudo_inputs])
    torch.testing.assert_close(module(encoder).log_prob(z), each.exp().mean(0).log())
    module(encoder).log_prob(z).sum().backward()
    assert bool((module.pseudo_inputs.grad != 0).any(1).all())
    assert bool((encoder.network.weight.grad != 0).any())


def test_pseudo_inputs_always_start_from_the_same_data() -> None:
    job = prepare(composed("dataset=digits", "prior=vamp", "prior.components=20", "latent_dim=2", "device=cpu"))
    data = {tuple(x.flatten().tolist()) for x in job.splits.train.batch(slice(None))}
    start = job.model.prior.pseudo_inputs.detach()
    rows = [tuple(u.flatten().tolist()) for u in start]
    assert data.issuperset(rows)
    assert len(set(rows)) == 20
    again = prepare(
        composed("dataset=digits", "prior=vamp", "prior.components=20", "latent_dim=2", "device=cpu", "seed=5")
    )
    assert torch.equal(again.model.prior.pseudo_inputs, start)


def test_more_pseudo_inputs_than_data_repeat_them() -> None:
    model = build_vae(composed("prior=vamp", "prior.components=7", "latent_dim=2"), (1, 8, 8))
    x = torch.rand(3, 1, 8, 8)
    initialise_prior(model, Split(x))
    assert {float(u.detach().sum()) for u in model.prior.pseudo_inputs} == {float(row.sum()) for row in x}
    state = torch.get_rng_state()
    initialise_prior(model, Split((x * 255).to(torch.uint8), levels=255, redraw=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert set(model.prior.pseudo_inputs.unique().tolist()) <= {0.0, 1.0}


# Where other code once took the standard normal for granted


def toy(module: nn.Module, dim: int = 2) -> VAE:
    config = composed("dataset=beta", "decoder=gaussian_identity", f"latent_dim={dim}", "architecture.hidden=[8]")
    model = build_vae(config, SHAPE).eval()
    model.prior = module
    return model


def test_temperature_shrinks_towards_the_priors_mean() -> None:
    module = GaussianMixture(2, components=1)
    module.loc.data.fill_(7.0)
    model = toy(module)
    torch.manual_seed(3)
    plain = model.sample_latents(1000)
    torch.manual_seed(3)
    torch.testing.assert_close(model.sample_latents(1000, 0.25) - 7, 0.25 * (plain - 7), atol=1e-5, rtol=0)
    torch.manual_seed(3)
    normal = toy(StandardNormal(2)).sample_latents(10, 0.5)
    torch.manual_seed(3)
    torch.testing.assert_close(normal, 0.5 * toy(StandardNormal(2)).sample_latents(10))


def test_grids_lie_where_the_prior_does() -> None:
    module = GaussianMixture(3, components=1)
    module.loc.data.copy_(torch.tensor([[5.0, -5.0, 1.0]]))
    module.log_scale.data.copy_(torch.tensor([[2.0, 0.5, 1.0]]).log())
    model = toy(module, 3)
    found = manifold(model, 3, 2.0, dims=(1, 0))
    torch.testing.assert_close(found.z[0, 2], torch.tensor([1.0, -4.0, 1.0]))
    moved = traverse(model, 3, 1.0)
    torch.testing.assert_close(moved.z[0], torch.tensor([[3.0, -5, 1], [5, -5, 1], [7, -5, 1]]))
    start = torch.tensor([0.0, 0.5, 0.0])
    torch.testing.assert_close(traverse(model, 2, 1.0, start, [2]).z[0], torch.tensor([[0.0, 0.5, 0], [0, 0.5, 2]]))
    assert not prior_moments(model).standard
    assert prior_moments(toy(StandardNormal(2))).standard
    with pytest.raises(Exception, match="spacing=quantile"):
        manifold(model, 3, 2.0, spacing="quantile")


@pytest.mark.parametrize(
    ("loc", "scale"), every(2, [([40.0, -3.0], 0.02), ([0.0, 0.0], 1.0), ([0.5, 0.5], 0.001), ([0.0, 900.0], 5.0)])
)
def test_quadrature_finds_the_prior_wherever_it_is(loc: list[float], scale: float) -> None:
    """Under a decoder that ignores z, log p(x) is log p(x|z)."""
    module = GaussianMixture(2, components=2)
    module.loc.data.copy_(torch.tensor([loc, [-1.0, 1.0]]))
    module.log_scale.data[0] = math.log(scale)
    model = toy(module, 2)
    for parameter in model.decoder_network.parameters():
        parameter.data.zero_()
    x = torch.rand(3, *model.x_shape)
    found = quadrature(model, Split(x))
    torch.testing.assert_close(found.log_px, model.double().decode(torch.zeros(3, 2).double()).log_prob(x.double()))
    assert float(found.error.max()) < 1e-5


PAIRS = [("gaussian_full", "flow", 2)]
MORE = [
    ("gaussian_full", "mixture"), ("flow", "vamp"), ("flow", "flow"), ("flow", "standard_normal"), ("gaussian", "flow"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("posterior", "prior", "n"),
    [pytest.param(*pair, marks=pytest.mark.slow) for pair in [*PAIRS, *((*pair, 4) for pair in MORE)]],
)
def test_quadrature_confirms_the_draws(posterior: str, prior: str, n: int) -> None:
    overrides = [
        "dataset=beta",
        "dataset.size=600",
        "decoder=gaussian_identity",
        "latent_dim=2",
        "device=cpu",
        "architecture.hidden=[32]",
        "optimizer.lr=0.005",
        f"posterior={posterior}",
        f"prior={prior}",
    ]
    overrides += ["prior.components=8"] if prior == "vamp" else []
    overrides += ["posterior.hidden=[16]", "posterior.kind=coupling"] if posterior == "flow" else []
    job = prepare(composed(*overrides))
    for step in range(150):
        x = job.splits.train.batch(slice(64 * (step % 7), 64 * (step % 7 + 1)))
        job.optimizer.zero_grad()
        job.objective(job.model, x, step).loss.backward()
        job.optimizer.step()
    few = job.splits.test.head(n)
    exact = quadrature(job.model, few)
    assert float(exact.error.max()) < 1e-4
    for found in (widened_estimate(job.model, few, 4000, 2.5), prior_estimate(job.model, few, 20_000)):
        reliable = found.ess > 30
        off = (-found.nll - exact.log_px) / found.nll_mc_stderr.clamp_min(1e-4)
        assert float(off[reliable].abs().max()) < 4
        assert int(reliable.sum()) >= n / 2


@pytest.mark.parametrize("posterior", groups()["posterior"])
@pytest.mark.parametrize("prior", groups()["prior"])
def test_kl_per_latent_needs_independent_latents(posterior: str, prior: str) -> None:
    config = composed(f"posterior={posterior}", f"prior={prior}", "latent_dim=3", "architecture.hidden=[8]")
    model, split = build_vae(config, (1, 8, 8)), Split(torch.rand(20, 1, 8, 8))
    found = kl_per_dim(model, split)
    assert (found is not None) == ((posterior, prior) == ("gaussian", "standard_normal"))
    assert active_units(model, split).shape == (3,)


# Every command on a trained run

COMMANDS = [
    ("sample", "n=4", "temperature=0.7"), ("reconstruct", "n=2", "draws=2"), ("encode", "format=csv"),
    ("manifold", "n=2"), ("traverse", "steps=2", "index=1"), ("interpolate", "to=2", "steps=2"),
    ("fit", "index=1", "restarts=1"), ("evaluate", "k=20", "limit=2", "estimator=prior"),
    ("evaluate", "k=20", "limit=1", "exact=true"), ("export", "part=encoder", "format=torch"),
]  # fmt: skip
POSTERIORS, PRIORS = groups()["posterior"], ["mixture", "vamp", "flow", "standard_normal"]
NOT_OF_PIXELS = ("bernoulli", "columns")  # the first comes first, the other is for tables
# every decoder, architecture, posterior and prior, crossed by turns
RUNS = [
    (*(options[i % len(options)] for options in (POSTERIORS, PRIORS, groups()["architecture"])), decoder)
    for i, decoder in enumerate(["bernoulli", *(name for name in groups()["decoder"] if name not in NOT_OF_PIXELS)])
]
CROSSINGS = [pytest.param(*run, id="-".join(run), marks=[pytest.mark.slow] * (i != 1)) for i, run in enumerate(RUNS)]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)
    return lambda *args: cli.dispatch(args[0], list(args[1:]), "vae")


@pytest.mark.parametrize(("posterior", "prior", "architecture", "decoder"), CROSSINGS)
def test_every_command_takes_every_option(
    posterior: str, prior: str, architecture: str, decoder: str, command: Callable[..., None], tmp_path: Path
) -> None:
    size = {"vamp": ["prior.components=15"], "flow": ["prior.hidden=[8]"]}.get(prior, [])
    size += {"flow": ["posterior.hidden=[8]"]}.get(posterior, [])
    small = ["architecture.hidden=[16]"] if "mlp" in architecture else ["architecture.channels=[4]"]
    command(
        "train", "dataset=digits", "dataset.binarize=threshold", "dataset.limit=60", "latent_dim=2", "epochs=1",
        f"architecture={architecture}", f"decoder={decoder}", f"posterior={posterior}", f"prior={prior}", "device=cpu",
        "output=run", *size, *small,
    )  # fmt: skip
    for name, *args in COMMANDS:
        command(name, "run=run", *([] if name == "export" else ["device=cpu"]), *args)
    for name in ("samples.png", "latents.csv", "manifold.png", "traversals.png", "encoder.pt2", "interpolation.png"):
        assert (tmp_path / "run" / name).is_file()
    found = json.loads((tmp_path / "run" / "evaluation_test_limit1_k20.json").read_text())
    assert (found["kl_per_dim"] is None) == ((posterior, prior) != ("gaussian", "standard_normal"))
    assert math.isfinite(found["exact_nll"])
    model = load_run("run", device="cpu").model
    encoded = torch.export.load(tmp_path / "run" / "encoder.pt2").module()
    x = torch.rand(3, 1, 8, 8)
    q_z = model.encode(x)
    torch.testing.assert_close(encoded(x)[1], q_z.stddev, rtol=1e-4, atol=1e-5)
    codes = np.loadtxt(tmp_path / "run" / "latents.csv", delimiter=",", skiprows=1)
    assert np.isfinite(codes).all()


CLAIMS = [(name, "standard_normal") for name in groups()["posterior"]] + [("gaussian", n) for n in groups()["prior"]]


@pytest.mark.parametrize(("posterior", "prior"), CLAIMS, ids=map("-".join, CLAIMS))
@pytest.mark.parametrize("dim", [10**10, 10**19])
def test_no_memory_is_taken_for_latents_only_claimed(posterior: str, prior: str, dim: int) -> None:
    config = composed(f"posterior={posterior}", f"prior={prior}")
    config["latent_dim"] = dim
    with torch.device("meta"):
        try:
            model = build_vae(config, (1, 8, 8), trust=Trust())
        except (RuntimeError, TypeError, ValueError, UserError):
            return  # refused, as what does not fit the address space
    assert {t.device.type for t in [*model.parameters(), *model.buffers()]} == {"meta"}


@pytest.mark.parametrize(("posterior", "prior"), CLAIMS, ids=map("-".join, CLAIMS))
def test_a_model_without_memory_takes_over_all_tensors(posterior: str, prior: str) -> None:
    config = composed(f"posterior={posterior}", f"prior={prior}", "latent_dim=3", "architecture.hidden=[8]")
    model = build_vae(config, (1, 8, 8)).eval()
    with torch.device("meta"):
        again = build_vae(config, (1, 8, 8), trust=Trust())
    again.load_state_dict(model.state_dict(), assign=True)
    x, z = torch.rand(4, 1, 8, 8), torch.randn(4, 3)
    again.eval()
    torch.testing.assert_close(again.encode(x).log_prob(z), model.encode(x).log_prob(z))
    torch.testing.assert_close(again.encode(x).stddev, model.encode(x).stddev)
    torch.testing.assert_close(again.prior(again.encode).log_prob(z), model.prior(model.encode).log_prob(z))
    torch.testing.assert_close(again.prior(again.encode).mean, model.prior(model.encode).mean)
