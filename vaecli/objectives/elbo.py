"""The evidence lower bound, by either SGVB estimator."""

from dataclasses import dataclass

from torch import Tensor

from vaecli.models.vae import VAE, VAEOutput
from vaecli.objectives.base import Estimate, Weighted, estimated_kl, matched, terms
from vaecli.utils.sums import batch_mean


@dataclass
class ELBO(Weighted):
    """L(x) = 1/L sum_l log p(x|z_l) - KL(q(z|x) || p(z)), z_l ~ q(z|x): a lower bound of log p(x).

    Kingma and Welling (2014). With `analytic_kl` the second term is in closed form where there is one (estimator B,
    eq. 7), otherwise the same L draws estimate it (estimator A, eq. 6); their expectations agree.
    """

    analytic_kl: bool = True

    def __call__(self, model: VAE, x: Tensor, step: int | Tensor) -> Estimate:
        out = model(x, self.n_samples)
        log_px, kl = out.p_x.log_prob(x).mean(0), estimated_kl(out, self.analytic_kl)  # (B,)
        return Estimate(self.penalty(out, kl, step) - batch_mean(log_px), terms(log_px, kl))

    def penalty(self, out: VAEOutput, kl: Tensor, step: int | Tensor) -> Tensor:
        """What a batch's KL divergences (B,) cost in the loss, a scalar in nats."""
        return matched(self.weight(step), kl) * batch_mean(kl)
