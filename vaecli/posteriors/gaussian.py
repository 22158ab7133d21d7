"""The diagonal Gaussian approximate posterior."""

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal


class Gaussian(nn.Module):
    """q(z|x) = N(z; m(x), diag s(x)^2), with m and log s from the encoder network.

    Kingma and Welling (2014), eq. 9.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.n_features = 2 * latent_dim  # numbers that the encoder network emits for each observation

    def forward(self, features: Tensor) -> Distribution:
        """Features (B, 2 D) -> distribution of batch shape (B,) and event shape (D,)."""
        loc, log_scale = features.chunk(2, dim=-1)
        return Independent(Normal(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)
