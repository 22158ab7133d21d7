"""The importance-weighted bound."""

import math
from dataclasses import dataclass

from torch import Tensor

from vaecli.models.vae import VAE
from vaecli.objectives.base import Estimate, Weighted, terms
from vaecli.utils.sums import batch_mean
from vaecli.utils.types import PositiveInt


@dataclass
class IWAE(Weighted):
    """L_k(x) = E log 1/k sum_i w_i, w_i = p(x|z_i) p(z_i) / q(z_i|x): at least the ELBO, and log p(x) as k grows.

    Burda et al. (2016), eq. 8. L estimates of L_k, each from k draws of its own, are averaged. In the loss the weights
    are p(x|z) (p(z) / q(z|x))^beta.
    """

    k: PositiveInt = 5

    def __call__(self, model: VAE, x: Tensor, step: int | Tensor) -> Estimate:
        out = model(x, self.n_samples * self.k)
        return self.estimate(out.p_x.log_prob(x), out.log_q - out.p_z.log_prob(out.z), step)

    def estimate(self, log_px: Tensor, kl: Tensor, step: int | Tensor) -> Estimate:
        """From log p(x|z) and log q(z|x) - log p(z) of each draw, (L k, B)."""
        metrics = terms(log_px.mean(0), kl.mean(0), bound=self.bound(log_px - kl))
        return Estimate(-batch_mean(self.bound(log_px - self.weight(step) * kl)), metrics)

    def bound(self, log_w: Tensor) -> Tensor:
        """L_k, (B,), from log-weights (L k, B)."""
        return (self.grouped(log_w).logsumexp(1) - math.log(self.k)).mean(0)

    def grouped(self, log_w: Tensor) -> Tensor:
        """(L k, B) -> (L, k, B)."""
        return log_w.unflatten(0, (self.n_samples, self.k))
