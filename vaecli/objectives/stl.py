"""The evidence lower bound with a gradient that vanishes at the true posterior."""

from dataclasses import dataclass

from torch import Tensor

from vaecli.models.vae import VAE
from vaecli.objectives.base import Estimate, Weighted, path_log_q, terms
from vaecli.utils.sums import batch_mean


@dataclass
class STL(Weighted):
    """1/L sum_l log p(x|z_l) + log p(z_l) - log q(z_l|x), its gradient through z_l alone: "sticking the landing".

    Roeder et al. (2017): the encoder's score, whose mean is zero, is left out. Where q(z|x) = p(z|x) the rest is
    zero at every draw.
    """

    def __call__(self, model: VAE, x: Tensor, step: int | Tensor) -> Estimate:
        out = model(x, self.n_samples)
        log_px, kl = out.p_x.log_prob(x), path_log_q(out.q_z, out.z, out.log_q) - out.p_z.log_prob(out.z)
        log_px, kl = log_px.mean(0), kl.mean(0)  # (L, B) -> (B,)
        return Estimate(batch_mean(self.weight(step) * kl - log_px), terms(log_px, kl))
