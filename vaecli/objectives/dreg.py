"""The importance-weighted bound with a doubly reparametrised gradient."""

from dataclasses import dataclass

from torch import Tensor

from vaecli.objectives.base import path_log_q
from vaecli.objectives.iwae import IWAE
from vaecli.vae import VAEOutput


@dataclass
class DReG(IWAE):
    """L_k as in IWAE; decoder and prior have its gradient, the encoder sum_i v_i^2 (d log w_i / d z_i) (d z_i / d phi).

    Tucker et al. (2018), with v_i = w_i / sum_j w_j. The same expectation, and a signal-to-noise ratio that
    grows with k where that of IWAE's gradient falls. Their identity with log w = log p(x|z) + beta (log p(z) - log q)
    gives (1 - beta) v_i + beta v_i^2.
    """

    def log_q(self, out: VAEOutput) -> Tensor:
        return path_log_q(out)

    def steer(self, z: Tensor, log_w: Tensor, step: int) -> None:
        """Multiply the gradient at z, in which the bound has left a v_i already, by 1 - beta + beta v_i."""
        if not z.requires_grad:
            return
        beta = self.weight(step)
        factor = 1 - beta + beta * self.grouped(log_w).softmax(1).flatten(0, 1)  # (L k, B)
        z.register_hook(lambda gradient: gradient * factor.unsqueeze(-1))
