"""The evidence lower bound, by either SGVB estimator."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor
from torch.distributions import kl_divergence

from vaecli.vae import VAE, VAEOutput
from vaecli.validation import NonNegativeFloat, PositiveInt


class Estimate(NamedTuple):
    """What an objective returns for a batch of B observations."""

    loss: Tensor  # scalar, to minimise
    metrics: dict[str, Tensor]  # each (B,), in nats: elbo, bound, log_px, kl


class Objective(Protocol):
    def __call__(self, model: VAE, x: Tensor, step: int) -> Estimate: ...


def log_weight(out: VAEOutput, x: Tensor) -> Tensor:
    """log w = log p(x|z) + log p(z) - log q(z|x), (K, B).

    Its mean over K estimates the ELBO, its log-mean-exp is the importance-weighted bound L_K (Burda et al., 2016).
    """
    return out.p_x.log_prob(x) + out.p_z.log_prob(out.z) - out.q_z.log_prob(out.z)


class ELBO:
    """L(x) = 1/L sum_l log p(x|z_l) - KL(q(z|x) || p(z)), z_l ~ q(z|x): a lower bound of log p(x).

    Kingma and Welling (2014). With `analytic_kl` the second term is in closed form (estimator B, eq. 7), otherwise
    the same L draws estimate it (estimator A, eq. 6); their expectations agree. The loss weighs the second term by
    `kl_weight` (beta of Higgins et al., 2017); the metrics never do.

    n_samples: L, the draws of z per observation, averaged outside any logarithm
    """

    def __init__(self, n_samples: PositiveInt = 1, analytic_kl: bool = True, kl_weight: NonNegativeFloat = 1.0) -> None:
        self.n_samples, self.analytic_kl, self.kl_weight = n_samples, analytic_kl, kl_weight

    def __call__(self, model: VAE, x: Tensor, step: int) -> Estimate:
        out = model(x, self.n_samples)
        log_px = out.p_x.log_prob(x).mean(0)  # (K, B) -> (B,)
        kl = closed_or_sampled_kl(out) if self.analytic_kl else sampled_kl(out)
        elbo = log_px - kl
        loss = -(log_px - self.kl_weight * kl).mean()
        return Estimate(loss, {"elbo": elbo, "bound": elbo, "log_px": log_px, "kl": kl})


def closed_or_sampled_kl(out: VAEOutput) -> Tensor:
    """KL(q(z|x) || p(z)), (B,): in closed form, or where there is none the Monte Carlo estimate."""
    try:
        return kl_divergence(out.q_z, out.p_z)
    except NotImplementedError:
        return sampled_kl(out)


def sampled_kl(out: VAEOutput) -> Tensor:
    """1/K sum_k log q(z_k|x) - log p(z_k), (B,): the Monte Carlo estimate of KL(q(z|x) || p(z))."""
    return (out.q_z.log_prob(out.z) - out.p_z.log_prob(out.z)).mean(0)
