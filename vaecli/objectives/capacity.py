"""The evidence lower bound with a penalty that keeps the KL divergence at a rising value."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vaecli.models.vae import VAEOutput
from vaecli.objectives.base import matched
from vaecli.objectives.elbo import ELBO
from vaecli.utils.sums import batch_mean
from vaecli.utils.types import NonNegativeFloat


@dataclass
class Capacity(ELBO):
    """loss = -E log p(x|z) + gamma |KL - C(t)|, C(t) = capacity min(1, (t + 1) / warm_up), gamma = `kl_weight`.

    Burgess et al. (2018), with the batch's mean KL divergence: observations share the capacity as they need it.
    """

    batch_coupled: ClassVar[bool] = True
    kl_weight: NonNegativeFloat = 30.0
    warm_up: NonNegativeFloat = 5.0
    capacity: NonNegativeFloat = 25.0

    def penalty(self, out: VAEOutput, kl: Tensor, step: int | Tensor) -> Tensor:
        return self.weight(step) * (batch_mean(kl) - matched(self.capacity * self.ramp(step), kl)).abs()

    def weight(self, step: int | Tensor) -> float | Tensor:
        """gamma: it is the capacity that rises, not the weight."""
        return self.kl_weight
