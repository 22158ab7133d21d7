"""The importance-weighted bound with a doubly reparametrised gradient."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vaecli.models.vae import VAE
from vaecli.objectives.base import Estimate, path_log_q
from vaecli.objectives.iwae import IWAE
from vaecli.utils.distributions import draw


@dataclass
class DReG(IWAE):
    """L_k as in IWAE; decoder and prior have its gradient, the encoder sum_i v_i^2 (d log w_i / d z_i) (d z_i / d phi).

    Tucker et al. (2018), with v_i = w_i / sum_j w_j. The same expectation, and a signal-to-noise ratio that
    grows with k where that of IWAE's gradient falls. Their identity with log w = log p(x|z) + beta (log p(z) - log q)
    gives (1 - beta) v_i + beta v_i^2. No w_j may depend on another draw's z_i.
    """

    own_scores: ClassVar[bool] = True

    def __call__(self, model: VAE, x: Tensor, step: int | Tensor) -> Estimate:
        q_z = model.encode(x)
        draws, density = draw(q_z, (self.n_samples * self.k,))
        z, log_q = draws.view_as(draws), path_log_q(q_z, draws, density())  # the two paths of the encoder's gradient
        log_px, kl = model.decode(z).log_prob(x), log_q - model.prior(model.encode).log_prob(z)
        if z.requires_grad:
            factor = self.factor(log_px.detach(), kl.detach(), step)
            z.register_hook(lambda gradient: gradient * factor.unsqueeze(-1))
            log_q.register_hook(lambda gradient: gradient * factor)
        return self.estimate(log_px, kl, step)

    def factor(self, log_px: Tensor, kl: Tensor, step: int | Tensor) -> Tensor:
        """1 - beta + beta v_i, (L k, B): the other factor v_i is in the gradient of the bound already."""
        beta = self.weight(step)
        v = self.grouped(log_px - beta * kl).softmax(1).flatten(0, 1)
        return 1 - beta + beta * v
