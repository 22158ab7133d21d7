"""The evidence lower bound with free bits: the first nats of information in each latent cost nothing."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vaecli.models.vae import VAEOutput
from vaecli.objectives.base import estimated_kl, independent_latents, matched
from vaecli.objectives.elbo import ELBO
from vaecli.utils.sums import mean_over_batch
from vaecli.utils.types import NonNegativeFloat


@dataclass
class FreeBits(ELBO):
    """loss = -E log p(x|z) + sum_d max(lambda, KL_d), KL_d the batch's mean divergence of latent d from its prior.

    Kingma et al. (2016), appendix C.8: a latent that carries less than `free_bits` nats is not pushed to carry still
    less, and neither q nor p is trained by its KL term. If the latents are not independent under q or p, there is one
    group of all D, with D lambda nats free.
    """

    batch_coupled: ClassVar[bool] = True
    free_bits: NonNegativeFloat = 0.25

    def penalty(self, out: VAEOutput, kl: Tensor, step: int | Tensor) -> Tensor:
        apart = independent_latents(out)
        groups = kl.unsqueeze(-1) if apart is None else estimated_kl(apart, self.analytic_kl)  # (B, 1) or (B, D)
        free = self.free_bits * out.z.shape[-1] / groups.shape[-1]
        return matched(self.weight(step), kl) * mean_over_batch(groups).clamp_min(free).sum()
