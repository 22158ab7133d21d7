"""Contracts of the posteriors: densities, draws, inverses, gradients, whatever the option."""

from __future__ import annotations

import math

import pytest
import torch
from support.configurations import composed
from support.densities import grid, shaken
from support.making import instantiate
from support.thinned import every
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from vaecli.analysis.importance_sampling import Widened
from vaecli.config.catalog import groups
from vaecli.flows import Flow, Pushforward, base_points
from vaecli.utils.distributions import draw

OPTIONS = groups()["posterior"]
KINDS = ["iaf", "coupling"]
VARIANTS = [[f"posterior={name}"] for name in OPTIONS] + [["posterior=flow", "posterior.kind=coupling"]]
B = 4


def posterior(overrides: list[str], dim: int) -> nn.Module:
    """An option with weights far from where it starts."""
    torch.manual_seed(1)
    made: nn.Module = instantiate(composed(*overrides), "posterior", latent_dim=dim)
    return shaken(made)


def features(module: nn.Module, n: int = B) -> Tensor:
    torch.manual_seed(2)
    return 0.5 * torch.randn(n, int(module.n_features))  # type: ignore[arg-type]


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
@pytest.mark.parametrize("dim", [1, 3])
def test_shapes_and_gradients(overrides: list[str], dim: int) -> None:
    module = posterior(overrides, dim)
    given = features(module).requires_grad_()
    q_z = module(given)
    assert (q_z.batch_shape, q_z.event_shape) == ((B,), (dim,))
    z = q_z.rsample((5,))
    assert z.shape == (5, B, dim)
    assert q_z.log_prob(z).shape == (5, B)
    assert q_z.mean.shape == q_z.stddev.shape == (B, dim)
    (z.square().sum() + q_z.log_prob(z).sum()).backward()
    assert given.grad is not None
    assert bool((given.grad != 0).any(0).all()), "every feature is used"
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        masked = dim == 1 and name.endswith("layers.0.weight")  # one latent has none before it
        assert masked or bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
@pytest.mark.parametrize("dim", [1, 2])
def test_densities_integrate_to_one_and_have_moments(overrides: list[str], dim: int) -> None:
    module = posterior(overrides, dim).double()
    q_z = module(features(module, 1).double())
    z = grid(dim, n=201)
    with torch.no_grad():
        mass = q_z.log_prob(z.unsqueeze(1)).exp() * (18 / 200) ** dim
    assert mass.dtype == torch.float64
    assert float(mass.sum()) == pytest.approx(1, abs=1e-4)
    mean = (mass * z).sum(0)
    stddev = (mass * (z - mean).square()).sum(0).sqrt()
    # exact for Gaussians, from 128 fixed points for flows
    torch.testing.assert_close(q_z.mean[0], mean, atol=0.05, rtol=0)
    torch.testing.assert_close(q_z.stddev[0], stddev, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
@pytest.mark.parametrize("n", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_draws_follow_the_density(n: int, overrides: list[str]) -> None:
    """E_q[h / q] is the integral of h: here h is a Gaussian density."""
    module = posterior(overrides, 2).double()
    with torch.no_grad():
        q_z = module(features(module, 1).double())
        z = q_z.sample((n,))
        other = Normal(q_z.mean, 0.7 * q_z.stddev).log_prob(z).sum(-1)
        weights = (other - q_z.log_prob(z)).exp()
    assert float(weights.mean()) == pytest.approx(1, abs=4 * float(weights.std()) / n**0.5)
    assert float(weights.std()) < 10


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
def test_a_draw_comes_with_its_density(overrides: list[str]) -> None:
    module = posterior(overrides, 3).double()
    q_z = module(features(module).double())
    for shape in ((6,), (), (2, 3)):
        z, log_q = draw(q_z, shape)
        torch.testing.assert_close(log_q(), q_z.log_prob(z), rtol=1e-9, atol=1e-9)
        assert log_q().shape == (*shape, B)


@pytest.mark.parametrize("overrides", VARIANTS, ids="-".join)
def test_draws_with_and_without_gradients_are_equal(overrides: list[str]) -> None:
    module = posterior(overrides, 3)
    q_z = module(features(module).requires_grad_())
    torch.manual_seed(6)
    z, log_q = draw(q_z, (5,))
    torch.manual_seed(6)
    with torch.no_grad():
        again, log_again = draw(q_z, (5,))
    assert z.requires_grad
    assert not again.requires_grad
    assert torch.equal(z, again)
    assert torch.equal(log_q(), log_again())


@pytest.mark.parametrize("kind", KINDS)
def test_known_densities_have_the_gradient_of_others(kind: str) -> None:
    module = posterior(["posterior=flow", f"posterior.kind={kind}"], 3).double()
    given = features(module).double().requires_grad_()
    slopes = []
    for known in (True, False):
        torch.manual_seed(5)
        q_z = module(given)
        z, log_q = draw(q_z, (2,))
        density = log_q() if known else q_z.log_prob(z)
        slopes.append(torch.autograd.grad(density.sum(), [given, *module.parameters()]))
    for first, second in zip(*slopes, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_of_a_flow_costs_one_pass(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = posterior(["posterior=flow", f"posterior.kind={kind}"], 7)
    q_z = module(features(module))
    passes: list[int] = []
    for one in module.flow.maps:  # type: ignore[union-attr]
        one.layers[0].register_forward_hook(lambda *_: passes.append(1))
    z, log_q = draw(q_z, (3,))
    log_q()
    assert len(passes) == 2  # two maps
    q_z.log_prob(z)
    assert len(passes) == 2 + 2 * ((7 if kind == "iaf" else 2) + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("hidden", [[16, 16], [3], []])
def test_flows_invert_and_have_the_right_jacobians(kind: str, dim: int, hidden: list[int]) -> None:
    flow = shaken(Flow(dim, kind, 3, hidden, 4)).double()  # type: ignore[arg-type]
    context = torch.randn(1, 4, dtype=torch.float64)
    transform = flow(context)
    x = torch.randn(1, dim, dtype=torch.float64)
    z, log_det = transform.call_and_ladj(x)
    torch.testing.assert_close(transform.inv(z), x, rtol=0, atol=1e-10)
    assert float((z - x).detach().norm()) > 0.1
    jacobian = torch.autograd.functional.jacobian(lambda v: transform(v)[0], x)[:, 0]
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet.unsqueeze(0))
    if dim > 1 and (kind == "iaf" or hidden):
        off = jacobian - jacobian.diag().diag()
        assert float(off.abs().max()) > 1e-3, "latents depend on each other"


def test_context_reaches_every_latent() -> None:
    flow = shaken(Flow(6, "iaf", 1, (8,), 3)).double()
    x = torch.zeros(1, 6, dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(lambda c: flow(c)(x)[0], torch.zeros(1, 3, dtype=torch.float64))
    assert bool((slopes.abs() > 1e-6).all())


def test_full_gaussian_is_the_multivariate_normal() -> None:
    module = posterior(["posterior=gaussian_full"], 3).double()
    given = features(module).double()
    q_z = module(given)
    covariance = q_z.scale_tril @ q_z.scale_tril.mT
    assert bool((torch.linalg.eigvalsh(covariance) > 0).all())
    for n in range(B):
        a, below = given[n, 3:6], given[n, 6:]
        want = torch.diag(a.exp())
        want[[1, 2, 2], [0, 0, 1]] = below
        torch.testing.assert_close(covariance[n], want @ want.T, rtol=1e-9, atol=1e-9)
    z = q_z.sample((5,))
    want = MultivariateNormal(given[:, :3], covariance).log_prob(z)
    torch.testing.assert_close(q_z.log_prob(z), want)
    torch.testing.assert_close(q_z.stddev, covariance.diagonal(dim1=-2, dim2=-1).sqrt())


def test_full_gaussian_has_its_kl_in_closed_form() -> None:
    module = posterior(["posterior=gaussian_full"], 4).double()
    q_z = module(features(module).double())
    loc, scale = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64) + 0.5
    p_z = Independent(Normal(loc, scale), 1)
    want = kl_divergence(q_z, MultivariateNormal(loc, torch.diag(scale**2)))
    torch.testing.assert_close(kl_divergence(q_z, p_z), want)
    with pytest.raises(NotImplementedError):
        kl_divergence(q_z, Independent(torch.distributions.Laplace(loc, scale), 1))


def test_scales_have_a_floor() -> None:
    module = posterior(["posterior=gaussian_full", "posterior.min_scale=0.01"], 2)
    q_z = module(torch.full((1, int(module.n_features)), -200.0))  # type: ignore[arg-type]
    assert q_z.scale_tril.diagonal(dim1=-2, dim2=-1).tolist() == [[pytest.approx(0.01)] * 2]


def test_base_points_are_standard_and_always_the_same() -> None:
    points = base_points(5)
    torch.testing.assert_close(points.mean(0), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(points.std(0, correction=0), torch.ones(5))
    torch.manual_seed(99)
    assert torch.equal(points, base_points(5))


def test_moments_of_an_affine_flow_are_exact() -> None:
    loc, scale = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    q_z = Pushforward(torch.distributions.AffineTransform(loc, scale, event_dim=1), base_points(2))
    torch.testing.assert_close(q_z.mean, loc)
    torch.testing.assert_close(q_z.stddev, scale)


def test_importing_flows_keeps_argument_checks() -> None:
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, -1.0)
    assert Distribution._validate_args is not False


@pytest.mark.parametrize("overrides", every(2, VARIANTS), ids="-".join)
def test_a_widened_posterior_is_a_density_and_widened(overrides: list[str]) -> None:
    module = posterior(overrides, 2).double()
    with torch.no_grad():
        q_z = module(features(module, 1).double())
        wide, z = Widened(q_z, 2.0), grid(2, 12.0, 201)
        mass = wide.log_prob(z.unsqueeze(1)).exp() * (24 / 200) ** 2
        assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
        draws, density = draw(wide, (2000,))
        torch.testing.assert_close(wide.log_prob(draws), density(), rtol=1e-8, atol=1e-8)
    n = (100_000,)
    torch.testing.assert_close(wide.sample(n).std(0), 2 * q_z.sample(n).std(0), rtol=0.03, atol=0)
    if overrides == ["posterior=gaussian"]:
        exact = Normal(q_z.mean, 2 * q_z.stddev).log_prob(draws).sum(-1)
        torch.testing.assert_close(wide.log_prob(draws), exact)


def test_an_autoregressive_density_can_be_a_gaussian() -> None:
    """A linear flow is a Gaussian with a full covariance: its density at foreign z against torch's."""
    flow = shaken(Flow(3, "iaf", 1, ())).double()
    (one,) = flow.maps
    layer = one.layers[0]  # type: ignore[union-attr,index]
    with torch.no_grad():
        layer.weight[3:], layer.bias[3:] = 0.0, 0.0  # constant scales: 1
        shear = torch.eye(3, dtype=torch.float64) + (layer.mask * layer.weight)[:3]
    q_z = Pushforward(flow(), base_points(3).double())
    z = torch.randn(7, 3, dtype=torch.float64)
    want = MultivariateNormal(layer.bias[:3], shear @ shear.T).log_prob(z)
    torch.testing.assert_close(q_z.log_prob(z), want)
    assert math.isclose(float(torch.det(shear)), 1.0, rel_tol=1e-9)
