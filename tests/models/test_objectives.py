"""Objectives against the linear-Gaussian model, which has closed forms for everything, and their own definitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.making import build_vae, instantiate, prepare
from support.thinned import every
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    SoftplusTransform,
    TransformedDistribution,
    kl_divergence,
)  # fmt: skip

from vaecli.analysis.metrics import kl_per_dim
from vaecli.architectures.mlp import MLP
from vaecli.config.catalog import groups
from vaecli.datasets.split import Split
from vaecli.decoders.gaussian import Gaussian as GaussianDecoder
from vaecli.models.vae import VAE
from vaecli.objectives.base import Estimate, log_weight
from vaecli.posteriors.gaussian import Gaussian as GaussianPosterior
from vaecli.priors.standard_normal import StandardNormal
from vaecli.utils.errors import UserError

X_SHAPE, P, D, B = (1, 2, 3), 6, 2, 4
SIGMA = 0.7
OBJECTIVES = groups()["objective"]
ESTIMATORS = [name for name in ("elbo", "sgvb_a") if name in OBJECTIVES]


class Linear:
    """p(x|z) = N(W z + b, sigma^2 I) in double precision, with a linear encoder that is set to any Gaussian q(z|x)."""

    def __init__(self, orthogonal: bool = True) -> None:
        generator = torch.Generator().manual_seed(3)
        w, b = (torch.randn(*size, dtype=torch.float64, generator=generator) for size in ((P, D), (P,)))
        if orthogonal:
            w = torch.linalg.qr(w).Q * torch.tensor([1.5, 0.6], dtype=torch.float64)
        self.w, self.b = w, b
        networks = MLP(hidden=[])
        posterior, decoder = GaussianPosterior(D), GaussianDecoder(X_SHAPE, sigma=SIGMA)
        self.model = VAE(
            networks.encoder(X_SHAPE, posterior.n_features), posterior, networks.decoder(D, 1, X_SHAPE), decoder,
            StandardNormal(D), D, X_SHAPE,
        ).double()  # fmt: skip
        output = self.model.decoder_network.output
        assert isinstance(output, nn.Linear)
        output.weight.data, output.bias.data = w.clone(), b.clone()
        self.m = w.T @ w + SIGMA**2 * torch.eye(D, dtype=torch.float64)
        self.covariance = SIGMA**2 * torch.linalg.inv(self.m)  # S, of the true posterior
        self.x = (torch.randn(B, D, dtype=torch.float64, generator=generator) @ w.T + b).reshape(B, *X_SHAPE)

    def set_posterior(self, shift: float = 0.0, scale: float = 1.0, best: bool = False) -> None:
        """q(z|x) with the true posterior's mean plus `shift` and its marginal scales times `scale`.

        best: the scales of the diagonal Gaussian nearest to the true posterior instead.
        """
        variances = SIGMA**2 / self.m.diagonal() if best else self.covariance.diagonal()
        a = torch.linalg.solve(self.m, self.w.T)
        linear = self.model.encoder_network[-1]  # type: ignore[index]
        linear.weight.data = torch.cat([a, torch.zeros_like(a)])
        linear.bias.data = torch.cat([shift - a @ self.b, (variances.sqrt() * scale).log()])

    def log_p(self) -> Tensor:
        """log p(x), (B,)."""
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(P, dtype=torch.float64)
        return MultivariateNormal(self.b, covariance).log_prob(self.x.flatten(1))

    def gap(self) -> Tensor:
        """KL(q(z|x) || p(z|x)), (B,)."""
        mean = torch.linalg.solve(self.m, self.w.T @ (self.x.flatten(1) - self.b).T).T
        q = self.model.encode(self.x)
        q_full = MultivariateNormal(q.mean, torch.diag_embed(q.variance))
        return kl_divergence(q_full, MultivariateNormal(mean, self.covariance.expand(B, D, D)))


def estimator(option: str, n_samples: int = 1, *overrides: str, steps_per_epoch: int = 1) -> Any:
    config = composed(f"objective={option}", f"samples={n_samples}", *overrides)
    return instantiate(config, "objective", steps_per_epoch=steps_per_epoch, n_samples=n_samples)


def draws(model: VAE, x: Tensor, n: int, option: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An estimator's ELBO from n draws, (B,), and the standard error of that mean."""
    torch.manual_seed(seed)
    elbo = estimator(option, n)(model, x, 0).metrics["elbo"]
    torch.manual_seed(seed)
    out = model(x, n)
    values = log_weight(out, x) if option == "sgvb_a" else out.p_x.log_prob(x)
    return elbo.detach(), values.detach().std(0) / math.sqrt(n)


def test_estimator_a_is_exact_at_the_true_posterior() -> None:
    """With q = p(z|x), log p(x|z) + log p(z) - log q(z|x) is log p(x) for every z."""
    linear = Linear()
    linear.set_posterior()
    out = linear.model(linear.x, 5)
    torch.testing.assert_close(log_weight(out, linear.x), linear.log_p().expand(5, B))
    for n in (1, 7):
        torch.testing.assert_close(estimator("sgvb_a", n)(linear.model, linear.x, 0).metrics["elbo"], linear.log_p())


def test_estimator_b_averages_log_p_at_the_posterior() -> None:
    linear = Linear()
    linear.set_posterior()
    elbo, error = draws(linear.model, linear.x, 20_000, "elbo")
    assert float(error.max()) < 0.02
    assert bool(((elbo - linear.log_p()).abs() < 4 * error).all())


def test_variance_of_estimator_b_at_the_true_posterior() -> None:
    """One draw has the variance mu^T S mu + tr((I - S)^2) / 2."""
    linear = Linear()
    linear.set_posterior()
    s, mean = linear.covariance, linear.model.encode(linear.x).mean
    exact = ((mean @ s) * mean).sum(-1) + 0.5 * torch.trace(torch.linalg.matrix_power(torch.eye(D).double() - s, 2))
    found = linear.model(linear.x, 100_000).p_x.log_prob(linear.x).var(0)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0)


@pytest.mark.parametrize("option", ESTIMATORS)
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.5), (0.3, 1.0), (-0.5, 0.4)])
def test_bound_lies_below_log_p_by_exactly_the_kl(option: str, shift: float, scale: float) -> None:
    linear = Linear()
    linear.set_posterior(shift, scale)
    gap = linear.gap().detach()
    assert float(gap.min()) > 0.1
    elbo, error = draws(linear.model, linear.x, 20_000, option)
    assert bool(((linear.log_p() - gap - elbo).abs() < 4 * error).all())
    assert bool((error < gap / 5).all())


@pytest.mark.parametrize("option", ESTIMATORS)
def test_the_best_diagonal_leaves_the_hadamard_gap(option: str) -> None:
    linear = Linear(orthogonal=False)
    linear.set_posterior(best=True)
    gap = 0.5 * (linear.m.diagonal().log().sum() - torch.logdet(linear.m))
    torch.testing.assert_close(linear.gap(), gap.expand(B))
    elbo, error = draws(linear.model, linear.x, 20_000, option)
    assert bool(((linear.log_p() - gap - elbo).abs() < 4 * error).all())


@pytest.mark.parametrize("option", ESTIMATORS)
def test_gradient_is_that_of_the_bound(option: str) -> None:
    """The encoder's gradient, over many draws, against that of the bound in closed form: z carries it."""
    linear = Linear()
    linear.set_posterior(0.4, 1.5)
    bias: Tensor = linear.model.encoder_network[-1].bias  # type: ignore[index]
    q = linear.model.encode(linear.x)
    error = linear.x.flatten(1) - linear.b - q.mean @ linear.w.T
    squares = (error**2).sum(-1) + (q.variance * (linear.w**2).sum(0)).sum(-1)
    kl = (0.5 * (q.mean**2 + q.variance - 1) - q.stddev.log()).sum(-1)
    bound = -P / 2 * math.log(2 * math.pi * SIGMA**2) - squares / (2 * SIGMA**2) - kl
    torch.testing.assert_close(bound, linear.log_p() - linear.gap())
    (exact,) = torch.autograd.grad(bound.mean(), bias)
    loss = estimator(option, 100_000)(linear.model, linear.x, 0).loss
    (found,) = torch.autograd.grad(-loss, bias)
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.02)


def test_mean_over_draws_of_log_weight_is_estimator_a() -> None:
    linear = Linear()
    linear.set_posterior(0.3, 1.4)
    elbo, _ = draws(linear.model, linear.x, 50, "sgvb_a", seed=1)
    torch.manual_seed(1)
    torch.testing.assert_close(elbo, log_weight(linear.model(linear.x, 50), linear.x).mean(0))


def test_log_mean_exp_of_log_weight_approaches_log_p() -> None:
    linear = Linear(orthogonal=False)
    linear.set_posterior(0.2, 1.3)
    log_w = log_weight(linear.model(linear.x, 50_000), linear.x)
    torch.testing.assert_close(log_w.logsumexp(0) - math.log(50_000), linear.log_p(), rtol=0, atol=0.01)


def real_model(*overrides: str) -> tuple[VAE, Tensor]:
    """A network with random weights, blown up so that q(z|x) is far from the prior, and observations."""
    torch.manual_seed(5)
    config = composed("latent_dim=3", "architecture.hidden=[16]", "decoder=gaussian_identity", *overrides)
    model = build_vae(config, (1, 4, 4)).double()
    with torch.no_grad():
        for p in model.encoder_network.parameters():
            p.mul_(2.5)
    return model, torch.rand(6, 1, 4, 4, dtype=torch.float64)


def test_closed_form_kl_equals_its_estimate() -> None:
    model, x = real_model()
    n = 40_000
    out = model(x, n)
    sampled = out.q_z.log_prob(out.z) - out.p_z.log_prob(out.z)
    exact = estimator("elbo")(model, x, 0).metrics["kl"]
    error = sampled.std(0) / math.sqrt(n)
    assert bool(((sampled.mean(0) - exact).abs() < 4 * error).all())
    assert bool((error < exact / 20).all())
    m, s = out.q_z.mean, out.q_z.stddev
    torch.testing.assert_close(exact, (0.5 * (m**2 + s**2 - 1 - 2 * s.log())).sum(-1))


def test_kl_per_latent_adds_up() -> None:
    model, x = real_model()
    total = estimator("elbo")(model, x, 0).metrics["kl"].mean().item()
    per_dim = kl_per_dim(model.float(), Split(x.float()))
    assert per_dim.shape == (3,)
    assert float(per_dim.detach().sum()) == pytest.approx(total, rel=1e-5)


def test_both_estimators_agree_in_expectation() -> None:
    model, x = real_model()
    with torch.no_grad():
        a, error_a = draws(model, x, 4000, "sgvb_a", seed=1)
        b, error_b = draws(model, x, 4000, "elbo", seed=2)
    assert bool(((a - b).abs() < 4 * (error_a**2 + error_b**2).sqrt()).all())


@pytest.mark.parametrize("option", ESTIMATORS)
def test_samples_are_distinct_independent_draws(option: str) -> None:
    """The variance of the estimate falls as 1/L, and its mean stays: L draws are averaged outside the logarithm."""
    model, x = real_model()
    copies = x[:1].expand(4000, 1, 4, 4)
    z = model(copies[:3], 8).z
    assert z.shape == (8, 3, 3)
    assert len(torch.unique(z)) == z.numel()
    torch.manual_seed(1)
    with torch.no_grad():
        one, many = (estimator(option, n)(model, copies, 0).metrics["elbo"] for n in (1, 8))
    assert float(one.var() / many.var()) == pytest.approx(8, rel=0.2)
    assert abs(float(one.mean() - many.mean())) < 4 * math.sqrt(float(one.var() + many.var()) / 4000)


@pytest.mark.parametrize("option", ESTIMATORS)
def test_samples_give_the_mean_over_the_draws(option: str) -> None:
    model, x = real_model()
    torch.manual_seed(7)
    estimate = estimator(option, 5)(model, x, 0)
    torch.manual_seed(7)
    out = model(x, 5)
    torch.testing.assert_close(estimate.metrics["log_px"], torch.stack([
        Independent(Normal(model.decode(z).mean, 1.0), 3).log_prob(x) for z in out.z
    ]).mean(0))  # fmt: skip
    if option == "sgvb_a":
        prior = Normal(torch.tensor(0.0).double(), 1.0)
        q = Normal(out.q_z.mean, out.q_z.stddev)
        per_draw = [(q.log_prob(z) - prior.log_prob(z)).sum(-1) for z in out.z]
        torch.testing.assert_close(estimate.metrics["kl"], torch.stack(per_draw).mean(0))


@pytest.mark.parametrize("option", ESTIMATORS)
@pytest.mark.parametrize("weight", [0.0, 0.25, 4.0])
def test_kl_weight_acts_on_the_loss_alone(option: str, weight: float) -> None:
    model, x = real_model()
    estimates = []
    for value in (1.0, weight):
        torch.manual_seed(2)
        estimates.append(estimator(option, 3, f"objective.kl_weight={value}")(model, x, 0))
    plain, weighted = estimates
    for name, metric in plain.metrics.items():
        torch.testing.assert_close(weighted.metrics[name], metric, rtol=0, atol=0)
    m = plain.metrics
    torch.testing.assert_close(m["elbo"], m["log_px"] - m["kl"])
    torch.testing.assert_close(plain.loss, -m["elbo"].mean())
    torch.testing.assert_close(weighted.loss, -(m["log_px"] - weight * m["kl"]).mean())


@pytest.mark.parametrize("option", OBJECTIVES)
@pytest.mark.parametrize("batch", [1, 6])
def test_metrics_are_per_observation(option: str, batch: int) -> None:
    model, x = real_model()
    estimate = estimator(option, 2)(model, x[:batch], 0)
    assert estimate.metrics.keys() >= {"elbo", "bound", "log_px", "kl"}
    for name, value in estimate.metrics.items():
        assert value.shape == (batch,), name
    assert estimate.loss.shape == ()


def test_output_shapes() -> None:
    model, x = real_model()
    out = model(x, 5)
    assert out.z.shape == (5, 6, 3)
    assert (out.q_z.batch_shape, out.q_z.event_shape) == ((6,), (3,))
    assert (out.p_z.batch_shape, out.p_z.event_shape) == ((), (3,))
    assert (out.p_x.batch_shape, out.p_x.event_shape) == ((5, 6), (1, 4, 4))


def test_temperature_scales_the_prior() -> None:
    model, _ = real_model()
    torch.manual_seed(4)
    cold = model.sample_latents(20_000, 0.5)
    torch.manual_seed(4)
    torch.testing.assert_close(cold, 0.5 * model.sample_latents(20_000))
    torch.testing.assert_close(cold.std(0), torch.full((3,), 0.5).double(), rtol=0.03, atol=0)
    assert model.sample(7).mean.shape == (7, 1, 4, 4)


class FullCovariance(nn.Module):
    """q(z|x) = N(m, C C^T)."""

    n_features = 3 + 3 + 3

    def forward(self, features: Tensor) -> Distribution:
        loc, log_scale, off = features.split(3, -1)
        below = torch.zeros(len(off), 3, 3, dtype=off.dtype)
        below[:, *torch.tril_indices(3, 3, -1)] = off
        c = below + torch.diag_embed((0.5 * log_scale).exp())
        return MultivariateNormal(loc, scale_tril=c, validate_args=False)


class Flow(nn.Module):
    """A Gaussian through an elementwise map with parameters of its own, that remembers where its draws came from."""

    n_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.log_scale = (nn.Parameter(torch.tensor(v)) for v in ([0.3, -0.2, 0.1], [0.4, 0.0, -0.3]))

    def forward(self, features: Tensor) -> Distribution:
        loc, log_scale = features.chunk(2, -1)
        steps = [AffineTransform(self.shift, self.log_scale.exp(), cache_size=1), SoftplusTransform(cache_size=1)]
        base = Independent(Normal(loc, (0.5 * log_scale).exp()), 1)
        return TransformedDistribution(base, steps, validate_args=False)


class Mixture(nn.Module):
    """A prior without a closed-form KL divergence."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([[-1.0, 0.0, 0.5], [1.0, 0.5, 0.0]]))

    def forward(self, encode: Any = None) -> Distribution:
        parts = Independent(Normal(self.loc, torch.ones_like(self.loc)), 1)
        return MixtureSameFamily(Categorical(logits=self.loc.new_zeros(2)), parts, validate_args=False)


def model_with(posterior: nn.Module, prior: nn.Module) -> tuple[VAE, Tensor]:
    torch.manual_seed(6)
    networks, decoder = MLP(hidden=[]), GaussianDecoder(X_SHAPE, sigma=SIGMA)
    model = VAE(
        networks.encoder(X_SHAPE, posterior.n_features), posterior, networks.decoder(3, 1, X_SHAPE), decoder,
        prior, 3, X_SHAPE,
    ).double()  # fmt: skip
    return model, torch.rand(1, *X_SHAPE, dtype=torch.float64)


MODELS = {
    "gaussian": lambda: model_with(GaussianPosterior(3), StandardNormal(3)),
    "full": lambda: model_with(FullCovariance(), StandardNormal(3)),
    "flow": lambda: model_with(Flow(), Mixture()),
}


def gradients(objective: Any, model: VAE, x: Tensor, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """n independent gradients for one observation, of q's parameters and of the others, (n, numbers)."""
    torch.manual_seed(seed)
    parameters = dict(model.named_parameters())
    ours = [name.startswith(("encoder_network", "posterior")) for name in parameters]
    rows = []
    for _ in range(n):
        loss = objective(model, x, 0).loss
        rows.append(torch.autograd.grad(loss, list(parameters.values())))
    parts = [
        torch.stack([torch.cat([g.flatten() for g, q in zip(row, ours, strict=True) if q is wanted]) for row in rows])
        for wanted in (True, False)
    ]
    return parts[0], parts[1]


KINDS = ["flow", "gaussian", "full"]


@pytest.mark.parametrize(("kind", "weight"), every(6, itertools.product(KINDS, [0.4, 1.0])))
def test_dreg_has_the_mean_of_the_iwae_gradient(kind: str, weight: float) -> None:
    """For any reparametrised posterior, and with less variance; what is not the encoder's is not touched."""
    model, x = MODELS[kind]()
    overrides = ("objective.k=4", f"objective.kl_weight={weight}")
    plain, doubly = (estimator(option, 400, *overrides) for option in ("iwae", "dreg"))
    (a, others_a), (_, others_same) = (gradients(one, model, x, 150, seed=1) for one in (plain, doubly))
    b, _ = gradients(doubly, model, x, 150, seed=2)
    torch.testing.assert_close(others_same, others_a)
    error = ((a.var(0) + b.var(0)) / 150).sqrt()
    assert float(((a.mean(0) - b.mean(0)) / error).abs().max()) < 4.5
    assert float((error / a.mean(0).norm()).max()) < 0.02
    assert float(b.var(0).sum()) < float(a.var(0).sum())


@pytest.mark.parametrize("kind", every(3, KINDS))
def test_stl_has_the_mean_of_the_elbo_gradient(kind: str) -> None:
    model, x = MODELS[kind]()
    plain, path = estimator("sgvb_a", 1000), estimator("stl", 1000)
    (a, others_a), (_, others_same) = (gradients(one, model, x, 150, seed=1) for one in (plain, path))
    b, _ = gradients(path, model, x, 150, seed=2)
    torch.testing.assert_close(others_same, others_a)
    error = ((a.var(0) + b.var(0)) / 150).sqrt()
    assert float(((a.mean(0) - b.mean(0)) / error).abs().max()) < 4.5
    assert float((error / a.mean(0).norm()).max()) < 0.02


@pytest.mark.parametrize("option", ["stl", "dreg"])
def test_path_gradient_is_zero_at_the_true_posterior(option: str) -> None:
    linear = Linear()
    linear.set_posterior()
    encoder = list(linear.model.encoder_network.parameters())
    for name, zero in ((option, True), ("sgvb_a", False)):
        found = torch.autograd.grad(estimator(name, 3)(linear.model, linear.x, 0).loss, encoder)
        assert (max(float(g.abs().max()) for g in found) < 1e-9) is zero


def test_the_iwae_bound_rises_with_k_to_log_p() -> None:
    linear = Linear(orthogonal=False)
    linear.set_posterior(0.3, 1.4)
    gap, n = linear.gap().detach(), 2000
    bounds = []
    with torch.no_grad():
        for k in (1, 4, 16, 256):
            iwae = estimator("iwae", 1, f"objective.k={k}")
            copies = linear.x.expand(n, B, *X_SHAPE).flatten(0, 1)
            each = iwae(linear.model, copies, 0).metrics["bound"].unflatten(0, (n, B))
            bounds.append((each.mean(0), each.std(0) / math.sqrt(n)))
    short = [linear.log_p() - mean for mean, _ in bounds]
    assert bool(((short[0] - gap).abs() < 4 * bounds[0][1]).all())  # L_1 is the ELBO
    for (low, low_error), (high, high_error) in itertools.pairwise(bounds):
        assert bool((high - low > 3 * (low_error**2 + high_error**2).sqrt()).all())
    assert bool((short[-1].abs() < 0.03 * gap).all())


def same_draws(model: VAE, x: Tensor, option: str, *args: Any, step: int = 0) -> Estimate:
    torch.manual_seed(2)
    found: Estimate = estimator(option, *args)(model, x, step)
    return found


@pytest.mark.parametrize(("single", "option"), [("sgvb_a", "iwae"), ("stl", "dreg")])
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_one_draw_inside_the_logarithm_is_the_elbo(single: str, option: str, weight: float) -> None:
    model, x = real_model()
    weighted = f"objective.kl_weight={weight}"
    one = same_draws(model, x, single, 5, weighted)
    other = same_draws(model, x, option, 5, weighted, "objective.k=1")
    torch.testing.assert_close(one.loss, other.loss)
    for name, metric in one.metrics.items():
        torch.testing.assert_close(metric, other.metrics[name])
    torch.testing.assert_close(other.metrics["bound"], other.metrics["elbo"])
    parameters = list(model.parameters())
    ones, others = (torch.autograd.grad(estimate.loss, parameters) for estimate in (one, other))
    for g, h in zip(ones, others, strict=True):
        torch.testing.assert_close(g, h)


@pytest.mark.parametrize("option", ["iwae", "dreg"])
def test_samples_average_outside_the_log_k_inside(option: str) -> None:
    model, x = real_model()
    found = same_draws(model, x, option, 3, "objective.k=4")
    torch.manual_seed(2)
    log_w = log_weight(model(x, 12), x).reshape(3, 4, 6)
    bound = (log_w.exp().mean(1)).log().mean(0)
    torch.testing.assert_close(found.metrics["bound"], bound)
    torch.testing.assert_close(found.loss, -bound.mean())


@pytest.mark.parametrize("option", OBJECTIVES)
@pytest.mark.parametrize("step", [0, 3])
def test_elbo_is_the_same_under_every_objective(option: str, step: int) -> None:
    """From the same draws, whatever the loss: one figure with the closed-form KL, one with the sampled one."""
    model, x = real_model()
    draws = (2, "objective.k=3") if option in ("iwae", "dreg") else (6,)
    found = same_draws(model, x, option, *draws, step=step).metrics
    exact, sampled = (same_draws(model, x, name, 6).metrics for name in ("elbo", "sgvb_a"))
    torch.testing.assert_close(found["log_px"], exact["log_px"])
    torch.testing.assert_close(found["elbo"], found["log_px"] - found["kl"])
    closed = getattr(estimator(option), "analytic_kl", False)
    torch.testing.assert_close(found["elbo"], (exact if closed else sampled)["elbo"])


def test_free_bits() -> None:
    model, x = real_model()
    q = model.encode(x)
    kl = (0.5 * (q.mean**2 + q.variance - 1) - q.stddev.log()).mean(0)
    kl = kl.detach()
    middle = float(kl.median())
    plain = same_draws(model, x, "elbo")
    log_px = plain.metrics["log_px"].mean()
    for free in (0.0, middle, 100.0):
        found = same_draws(model, x, "free_bits", 1, f"objective.free_bits={free}")
        torch.testing.assert_close(found.loss, kl.clamp_min(free).sum() - log_px)
        torch.testing.assert_close(found.metrics["kl"], plain.metrics["kl"])
    weights = list(model.encoder_network.parameters())
    fit = torch.autograd.grad(-log_px, weights)
    for g, h in zip(torch.autograd.grad(found.loss, weights), fit, strict=True):
        torch.testing.assert_close(g, h)  # all below the floor: the KL term has no gradient


@pytest.mark.parametrize("free", [0.01, 1000.0])
def test_free_bits_of_tied_latents_are_one_group(free: float) -> None:
    model, x = MODELS["full"]()
    plain = same_draws(model, x, "elbo").metrics
    found = same_draws(model, x, "free_bits", 1, f"objective.free_bits={free}")
    expected = plain["kl"].mean().clamp_min(3 * free) - plain["log_px"].mean()
    torch.testing.assert_close(found.loss, expected)


@pytest.mark.parametrize("option", [name for name in OBJECTIVES if name not in ("sgvb_a", "iwae", "dreg", "stl")])
def test_kl_without_a_closed_form_uses_the_same_draws(option: str) -> None:
    model, x = MODELS["flow"]()
    found, sampled = (same_draws(model, x, name, 5) for name in (option, "sgvb_a"))
    for name, metric in sampled.metrics.items():
        torch.testing.assert_close(found.metrics[name], metric)


def weights(objective: Any, steps: int) -> list[float]:
    return [float(objective.weight(step)) for step in range(steps)]


def test_the_weight_rises_once() -> None:
    objective = estimator("warm_up", 1, "objective.warm_up=2", "objective.kl_weight=3", steps_per_epoch=4)
    assert weights(objective, 10) == pytest.approx([3 / 8 * n for n in range(1, 9)] + [3, 3], rel=1e-12)
    assert weights(estimator("warm_up", 1, "objective.warm_up=0"), 3) == [1, 1, 1]


def test_the_weight_rises_in_cycles() -> None:
    objective = estimator("cyclic", 1, "objective.warm_up=1", "objective.cycle=1.5", steps_per_epoch=4)
    assert weights(objective, 14) == [0.25, 0.5, 0.75, 1, 1, 1] * 2 + [0.25, 0.5]


@pytest.mark.parametrize("option", OBJECTIVES)
def test_a_loss_depends_on_its_step_not_earlier_ones(option: str) -> None:
    """What a resumed run needs. The weight enters the loss in full, and no metric."""
    model, x = real_model()
    overrides = ("objective.warm_up=1",)
    objective = estimator(option, 2, *overrides, steps_per_epoch=8)
    for step in (0, 3, 7, 30):
        torch.manual_seed(2)
        used = objective(model, x, step)
        torch.manual_seed(2)
        fresh = estimator(option, 2, *overrides, steps_per_epoch=8)(model, x, step)
        assert torch.equal(used.loss, fresh.loss)
        if option in ("elbo", "sgvb_a", "beta_vae", "warm_up", "cyclic", "stl"):
            m, beta = used.metrics, objective.kl_weight * min(1, (step + 1) / 8)
            torch.testing.assert_close(used.loss, -(m["log_px"] - beta * m["kl"]).mean())


def test_capacity() -> None:
    model, x = real_model()
    plain = same_draws(model, x, "elbo").metrics
    kl, log_px = (plain[name].mean().item() for name in ("kl", "log_px"))
    overrides = ("objective.capacity=12", "objective.kl_weight=7", "objective.warm_up=3")
    for step, capacity in ((0, 4.0), (1, 8.0), (2, 12.0), (9, 12.0)):
        found = same_draws(model, x, "capacity", 1, *overrides, step=step)
        assert found.loss.item() == pytest.approx(7 * abs(kl - capacity) - log_px, rel=1e-9)


@pytest.mark.parametrize("override", [
    "iwae objective.k=0", "dreg objective.k=2.5", "free_bits objective.free_bits=-1",
    "capacity objective.capacity=.inf", "warm_up objective.warm_up=-1", "cyclic objective.cycle=0",
])  # fmt: skip
def test_a_bad_value_is_refused_by_its_key(override: str) -> None:
    option, value = override.split(" ")
    with pytest.raises(UserError, match=value.partition("=")[0]):
        estimator(option, 1, value)


def test_a_cycle_shorter_than_its_rise_is_refused() -> None:
    with pytest.raises(UserError, match=r"objective=cyclic: cycle=1 .*warm_up=2"):
        estimator("cyclic", 1, "objective.cycle=1", "objective.warm_up=2")


def test_objectives_learn_how_long_an_epoch_is() -> None:
    job = prepare(composed("objective=warm_up", "dataset=digits", "dataset.limit=70", "batch_size=32"))
    assert job.objective.steps_per_epoch == 3  # type: ignore[attr-defined]
