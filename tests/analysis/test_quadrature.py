"""log p(x) by quadrature against closed forms, brute force, and the draws that may contradict it."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.linear import Linear
from support.making import build_vae
from support.thinned import each_once, every
from torch import Tensor

from vaecli.analysis.importance_sampling import Scores, importance_weighted, widened_estimate
from vaecli.analysis.modes import Joint
from vaecli.analysis.quadrature import Quadrature, in_double, integral, quadrature, searches
from vaecli.datasets.split import Split
from vaecli.decoders.gaussian import Gaussian as GaussianDecoder
from vaecli.models.inference import evaluating
from vaecli.models.load import load_run, load_split
from vaecli.models.vae import VAE
from vaecli.posteriors.gaussian import Gaussian
from vaecli.priors.standard_normal import StandardNormal


def benchmark() -> Any:
    """The script that makes the table in docs/mathematics.md."""
    path = Path(__file__).parents[2] / "benchmarks" / "quadrature.py"
    spec = importlib.util.spec_from_file_location("quadrature_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHMARK = benchmark()


@pytest.mark.parametrize(("sigma", "dim"), each_once(BENCHMARK.SIGMAS, [1, 2]))
def test_linear_gaussian_models_have_closed_forms(dim: int, sigma: float) -> None:
    model, split, truth = BENCHMARK.linear_gaussian(dim, sigma, BENCHMARK.PLACES)
    found = quadrature(model, split)
    off = (found.log_px - truth).abs()
    assert float(off.max()) < 1e-6
    assert (off <= found.error).all()
    assert float(found.error.max()) < 1e-5


@pytest.mark.parametrize("dim", [1, 2])
def test_a_wrong_encoder_changes_no_integral(dim: int) -> None:
    linear = Linear(dim, n=3, sigma=0.02).narrow(0.1, shift=2.0)
    torch.testing.assert_close(quadrature(linear.model, linear.split).log_px, linear.log_p, atol=1e-6, rtol=1e-8)


class Fold(torch.nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.abs().unsqueeze(1)


def fold(sigma: float, scale: float = 0.05) -> VAE:
    """x = |z| + noise: two modes, of which the encoder knows one."""
    encoder = torch.nn.Linear(1, 2)
    encoder.weight.data, encoder.bias.data = torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, math.log(scale)])
    return VAE(encoder, Gaussian(1), Fold(), GaussianDecoder((1,), sigma=sigma), StandardNormal(1), 1, (1,))


@pytest.mark.parametrize("sigma", every(2, [0.002, 0.05, 1.0, 0.3]))
def test_modes_are_all_found_and_counted_once(sigma: float) -> None:
    """Narrow ones apart, and wide ones that overlap across a kink."""
    x = torch.tensor([[0.1], [0.5], [1.0], [4.0]])
    t = torch.linspace(-12, 12, 2_000_001, dtype=torch.float64)
    joint = -0.5 * (((x.double() - t.abs()) / sigma) ** 2 + t**2) - math.log(2 * math.pi * sigma)
    want = torch.trapezoid(joint.exp(), t).log()
    found = quadrature(fold(sigma), Split(x))
    torch.testing.assert_close(found.log_px, want, atol=1e-6, rtol=0)
    assert ((found.log_px - want).abs() <= found.error + 1e-9).all()  # the trapezoidal rule's own error
    assert (found.error < 1e-5).all()


class Bumps(torch.nn.Module):
    """log p(x=0|z) has bumps at (1, 0), (-1, 0), (0, 1), and is flat far away."""

    def forward(self, z: Tensor) -> Tensor:
        places = z.new_tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
        near = torch.exp(-2 * (z.unsqueeze(1) - places).square().sum(2)).sum(1)
        return (3 * (1 - near)).view(-1, 1, 1)


def test_overlapping_modes_in_two_latents() -> None:
    encoder = torch.nn.Linear(1, 4)
    model = VAE(encoder, Gaussian(2), Bumps(), GaussianDecoder((1,), sigma=1.0), StandardNormal(2), 2, (1,))
    t = torch.linspace(-9, 9, 1201, dtype=torch.float64)
    z = torch.cartesian_prod(t, t)
    with torch.no_grad():
        joint = model.decode(z).log_prob(torch.zeros(1).double()) + model.prior().log_prob(z)
    want = (joint.exp().sum() * (t[1] - t[0]) ** 2).log()  # the trapezoidal rule, exact for what decays so fast
    found = quadrature(model, Split(torch.zeros(1, 1)))
    torch.testing.assert_close(found.log_px[0], want, atol=1e-6, rtol=0)
    assert abs(float(found.log_px[0] - want)) <= float(found.error[0])


def narrow_relu(dim: int = 2) -> tuple[VAE, Split]:
    """Untrained networks with kinks, noise of .05, observations of the model's own."""
    config = composed(
        "dataset=beta", "decoder=gaussian_fixed", "decoder.sigma=0.05", f"latent_dim={dim}", "architecture.hidden=[30]"
    )
    model = build_vae(config, (100,)).eval()
    for parameter in model.decoder_network.parameters():
        parameter.data *= 2
    return model, Split(model.sample(3).sample())


@pytest.mark.slow
def test_the_error_is_not_underestimated_with_kinks() -> None:
    model, split = narrow_relu()
    model = in_double(model)
    with evaluating(model):
        for joint, starts in searches(model, split):
            value, error = integral(joint, starts, 1e-6)
            one, other = (BENCHMARK.by_cells(joint, starts, cells) for cells in (60, 50))
            assert abs(value - one) <= error + abs(one - other)
            assert error < 1e-3


def test_a_mode_on_a_ray_is_found_without_a_start() -> None:
    model = fold(0.05).double()
    with evaluating(model):
        ((joint, starts),) = searches(model, Split(torch.tensor([[1.0]])))
        one, _ = integral(joint, starts[starts > 0].unsqueeze(1), 1e-6)
        both, _ = integral(joint, starts, 1e-6)
    assert one == pytest.approx(both, abs=1e-5)


def test_a_missed_mode_is_not_called_exact() -> None:
    model, split = fold(0.05, scale=1.5), Split(torch.tensor([[1.0]]))  # an encoder wide enough for both modes
    draws, whole = importance_weighted(model.double(), split, 5000), quadrature(model, split)
    assert not whole.refused(draws).any()
    assert whole._replace(log_px=whole.log_px - math.log(2)).refused(draws).all()


def test_a_higher_point_on_the_way_is_searched_from() -> None:
    """Only one start, near the lower of two modes, and a box that holds both."""
    model = fold(0.3).double()
    model.prior.loc.fill_(-2.0)
    x = torch.tensor([1.5]).double()
    with evaluating(model):
        joint = Joint(model, model.prior(), x, 1000)
        found, _ = integral(joint, torch.tensor([[1.6]]).double(), 1e-6)
    assert found == pytest.approx(float(quadrature(model, Split(x.unsqueeze(0))).log_px), abs=1e-6)


def scores(nll: float, pareto_k: float, elbo: float = -1000.0) -> Scores:
    one = torch.ones(1, dtype=torch.float64)
    return Scores(elbo * one, one, one, nll * one, 0.1 * one, one, pareto_k * one, 0.5 * one)


@pytest.mark.parametrize(
    ("log_px", "error", "draws", "refused"),
    [
        (-10.0, 1e-6, scores(10.0, 0.3), False),
        (-10.3, 1e-6, scores(10.0, 0.3), False),  # three standard errors below a reliable estimate
        (-10.5, 1e-6, scores(10.0, 0.3), True),  # five
        (-10.5, 0.09, scores(10.0, 0.3), True),
        (-10.45, 0.09, scores(10.0, 0.3), False),
        (-10.5, 1e-6, scores(10.0, 0.9), False),  # the draws are as likely to be wrong
        (-16.9, 1e-6, scores(10.0, 0.9), False),
        (-17.1, 1e-6, scores(10.0, 0.9), True),  # Markov's inequality
        (-17.1, 1e-6, scores(10.0, math.nan), True),
        (-10.0, 1e-6, scores(12.0, 0.9, elbo=-8.1), False),  # four standard errors of the ELBO
        (-10.0, 1e-6, scores(12.0, 0.9, elbo=-7.9), True),
        (-10.0, 0.2, scores(10.0, 0.3), True),
        (-math.inf, math.inf, scores(10.0, 0.3), True),
    ],
)
def test_what_contradicts_an_integral(log_px: float, error: float, draws: Scores, refused: bool) -> None:
    found = Quadrature(torch.tensor([log_px], dtype=torch.float64), torch.tensor([error], dtype=torch.float64))
    assert bool(found.refused(draws)) == refused


def test_quadrature_refuses_three_latents() -> None:
    linear = Linear(3)
    with pytest.raises(ValueError, match="one or two latents"):
        quadrature(linear.model, linear.split)


def test_broken_weights_have_no_integral() -> None:
    linear = Linear(1, n=2)
    linear.model.decoder_network.output.weight.data.fill_(math.nan)  # type: ignore[union-attr]
    assert quadrature(linear.model, linear.split).error.isinf().all()


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["gaussian", "gaussian_fixed sigma=.05", "gaussian_fixed sigma=.02"])
def test_narrow_posteriors_of_trained_curves(decoder: str, tmp_path: Path) -> None:
    from support.command_line import trained

    name, _, sigma = decoder.partition(" ")
    run = trained(
        tmp_path, "dataset=beta", f"decoder={name}", *([f"decoder.{sigma}"] if sigma else []), "latent_dim=2",
        "architecture.hidden=[100,100]", "epochs=60", "optimizer.lr=0.002", "scheduler=cosine", "device=cpu",
    )  # fmt: skip
    loaded = load_run(str(run), device="cpu")
    model, split = in_double(loaded.model), load_split(loaded, "test").head(60)
    draws = widened_estimate(model, split, 2000)
    bound = importance_weighted(model, split, 100)
    found = quadrature(model, split)
    assert float(found.error.max()) < 1e-3
    assert not found.refused(bound._replace(**draws._asdict())).any()
