"""The standard normal prior."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaecli.priors.base import Prior


class StandardNormal(Prior):
    """p(z) = N(z; 0, I)."""

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, x_shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    def forward(self, encode: Callable[[Tensor], Distribution] | None = None) -> Distribution:
        """Distribution of batch shape () and event shape (D,); `encode`, like x_shape, is for priors made of q(z|x)."""
        return Independent(Normal(self.loc, self.scale, validate_args=False), 1, validate_args=False)
