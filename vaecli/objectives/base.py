"""The base class of objectives, what they return, and the terms that most of them share."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from vaecli.models.vae import VAE, VAEOutput
from vaecli.utils.device import widest_float
from vaecli.utils.option import Option
from vaecli.utils.types import NonNegativeFloat, PositiveFloat, PositiveInt


class Estimate(NamedTuple):
    """What an objective returns for a batch of B observations."""

    loss: Tensor  # scalar, to minimise
    metrics: dict[str, Tensor]  # each (B,), in nats: elbo, bound, log_px, kl


class Objective(Option, abstract=True):
    """(model, x) -> the loss to minimise, and metrics of each observation.

    n_samples: L, the draws of z per observation, averaged outside any logarithm
    k: the draws inside the logarithm, for each of the L
    batch_coupled: whether the loss is a nonlinear function of means over the batch
    own_scores: whether the gradient assumes that the log p(x|z) of a draw depends on no other draw
    """

    made_with: ClassVar[tuple[str, ...]] = ("steps_per_epoch", "n_samples")
    batch_coupled: ClassVar[bool] = False
    own_scores: ClassVar[bool] = False
    n_samples: int = 1
    k: int = 1

    @abstractmethod
    def __call__(self, model: VAE, x: Tensor, step: int | Tensor) -> Estimate:
        """The estimate for observations x (B, *x_shape), in training and in evaluation.

        step: counted from 0; training passes a tensor (), so that a compiled loss sees it change
        """


@dataclass
class Weighted(Objective, abstract=True):
    """An objective whose KL term has a weight in the loss: beta(t) = kl_weight min(1, (t mod cycle + 1) / warm_up).

    t counts steps from 0, so that the weight is never zero and is full at the last step of the rise. A constant weight
    is that of Higgins et al. (2017), a single rise that of Bowman et al. (2016), repeated ones those of Fu et al.
    (2019). The weight acts on the loss only, not on the metrics.

    warm_up, cycle: in epochs
    """

    n_samples: PositiveInt = 1
    kl_weight: NonNegativeFloat = 1.0
    warm_up: NonNegativeFloat = 0.0
    cycle: PositiveFloat | None = None
    steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        if self.cycle is not None and self.cycle < self.warm_up:
            raise ValueError(
                f"cycle={self.cycle:g} ends before warm_up={self.warm_up:g} does: use a cycle of at least that length"
            )

    def ramp(self, step: int | Tensor) -> float | Tensor:
        """The progress of the rise at a step, in (0, 1]; it depends on the step only."""
        rise = self.warm_up * self.steps_per_epoch
        if rise == 0:
            return 1.0
        since = torch.as_tensor(step)
        since = since.to(widest_float(since.device))
        if self.cycle is not None:
            since = since % (self.cycle * self.steps_per_epoch)
        return ((since + 1) / rise).clamp(max=1.0)

    def weight(self, step: int | Tensor) -> float | Tensor:
        """beta, the weight of the KL term in the loss of a step."""
        return self.kl_weight * self.ramp(step)


def matched(weight: float | Tensor, term: Tensor) -> float | Tensor:
    """The weight in the precision of the term () that it multiplies, so that torch does not promote the term."""
    return weight.to(term) if isinstance(weight, Tensor) else weight


def terms(log_px: Tensor, kl: Tensor, bound: Tensor | None = None) -> dict[str, Tensor]:
    """The metrics, from log p(x|z) and the KL divergence (B,); `bound` if it is not the ELBO."""
    elbo = log_px - kl
    return {"elbo": elbo, "bound": elbo if bound is None else bound, "log_px": log_px, "kl": kl}


def log_weight(out: VAEOutput, x: Tensor) -> Tensor:
    """log w = log p(x|z) + log p(z) - log q(z|x), (K, B).

    Its mean over K estimates the ELBO, its log-mean-exp is the importance-weighted bound L_K (Burda et al., 2016).
    """
    return out.p_x.log_prob(x) + out.p_z.log_prob(out.z) - out.log_q


def path_log_q(q_z: Distribution, z: Tensor, log_q: Tensor) -> Tensor:
    """log q(z|x), (K, B), of draws z (K, B, D) from q, with a gradient that reaches q's parameters through z alone.

    The score, the gradient at a fixed z, is subtracted again; this works for any q whose `log_prob` takes latents that
    are not its own draws. Roeder et al. (2017).
    """
    if not log_q.requires_grad:
        return log_q
    score = q_z.log_prob(z.detach())
    return log_q - (score - score.detach())


def closed_form_kl(q_z: Distribution, p_z: Distribution) -> Tensor | None:
    """KL(q(z|x) || p(z)), (B,); None if torch has no formula for the pair."""
    try:
        return kl_divergence(q_z, p_z)
    except NotImplementedError:
        return None


def estimated_kl(out: VAEOutput, analytic: bool = True) -> Tensor:
    """KL(q(z|x) || p(z)), (B,): in closed form if `analytic` and known.

    Otherwise from the draws, 1/K sum_k log q(z_k|x) - log p(z_k): the Monte Carlo estimate.
    """
    exact = closed_form_kl(out.q_z, out.p_z) if analytic else None
    return (out.log_q - out.p_z.log_prob(out.z)).mean(0) if exact is None else exact


def independent_latents(out: VAEOutput) -> VAEOutput | None:
    """The same pass with each latent's own q(z_d|x) and p(z_d), batch shapes (B, D) and (D,), and log_q (K, B, D);
    None if the latents are not independent under q or p."""
    q_z, p_z = out.q_z, out.p_z
    if not (isinstance(q_z, Independent) and isinstance(p_z, Independent)):
        return None
    if q_z.base_dist.event_shape or p_z.base_dist.event_shape:
        return None
    return out._replace(log_q=q_z.base_dist.log_prob(out.z), q_z=q_z.base_dist, p_z=p_z.base_dist)
