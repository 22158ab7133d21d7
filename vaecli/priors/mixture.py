"""A mixture of Gaussians as the prior."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vaecli.priors.base import Prior
from vaecli.priors.mixtures import Mixture
from vaecli.utils.types import PositiveInt


class GaussianMixture(Prior):
    """p(z) = sum_k w_k N(z; m_k, diag s_k^2), with weights w, means m and scales s learned.

    Dilokthanakul et al. (2016); it starts from equal weights, unit scales and means drawn from N(0, I).
    components: K
    """

    def __init__(self, latent_dim: int, x_shape: tuple[int, ...] = (), components: PositiveInt = 10) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, encode: Callable[[Tensor], Distribution] | None = None) -> Distribution:
        """Distribution of batch shape () and event shape (D,)."""
        gaussians = Normal(self.loc, self.log_scale.exp(), validate_args=False)
        return Mixture(Independent(gaussians, 1, validate_args=False), self.logits.log_softmax(0))
