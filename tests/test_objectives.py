"""Objectives against the linear-Gaussian model, which has closed forms for everything, and their own definitions."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import composed
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from vaecli.architectures.mlp import MLP
from vaecli.build import build_vae, instantiate
from vaecli.conf_files import groups
from vaecli.datasets.split import Split
from vaecli.decoders.gaussian import Gaussian as GaussianDecoder
from vaecli.evaluation import kl_per_dim
from vaecli.objectives.elbo import ELBO, log_weight
from vaecli.posteriors.gaussian import Gaussian as GaussianPosterior
from vaecli.priors.standard_normal import StandardNormal
from vaecli.vae import VAE

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


def estimator(option: str, n_samples: int = 1, *overrides: str) -> ELBO:
    objective: ELBO = instantiate(composed(f"objective={option}", f"samples={n_samples}", *overrides), "objective")
    return objective


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


def test_estimator_b_is_log_p_on_average_at_the_true_posterior() -> None:
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
def test_best_diagonal_posterior_leaves_the_hadamard_gap(option: str) -> None:
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


def test_closed_form_kl_equals_its_monte_carlo_estimate() -> None:
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
    estimate = instantiate(composed(f"objective={option}", "samples=2"), "objective")(model, x[:batch], 0)
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
