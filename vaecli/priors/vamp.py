"""The mixture of the approximate posteriors of learned observations as the prior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaecli.priors.base import Prior
from vaecli.priors.mixtures import Mixture
from vaecli.utils.types import PositiveInt


class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k), with pseudo-inputs u_k, of an observation's shape, learned.

    Tomczak and Welling (2018), eq. 9. Each call encodes all of them: call once and reuse the distribution.
    components: K
    """

    def __init__(self, latent_dim: int, x_shape: tuple[int, ...], components: PositiveInt = 500) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.rand(components, *x_shape))

    @torch.no_grad()
    def initialise_from(self, draw: Callable[[int], Tensor]) -> None:
        """Initialise the pseudo-inputs with observations: draw(n) returns n of them, (n, *x_shape)."""
        self.pseudo_inputs.copy_(draw(len(self.pseudo_inputs)))

    def forward(self, encode: Callable[[Tensor], Distribution]) -> Distribution:
        """Distribution of batch shape () and event shape (D,); encode: x (K, *x_shape) -> q(z|x)."""
        equal = self.pseudo_inputs.new_full((len(self.pseudo_inputs),), -math.log(len(self.pseudo_inputs)))
        return Mixture(encode(self.pseudo_inputs), equal)
