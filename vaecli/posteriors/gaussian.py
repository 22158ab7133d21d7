"""The diagonal Gaussian approximate posterior."""

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaecli.posteriors.base import Posterior
from vaecli.utils.types import PositiveFloat


class Gaussian(Posterior):
    """q(z|x) = N(z; m(x), diag s(x)^2), s = min_scale + e^a, with m and a from the encoder network.

    Kingma and Welling (2014), eq. 9, where min_scale is 0. The floor lies far below any scale of use; it keeps the KL
    divergence and its gradient finite in single precision where the encoder is extremely confident (a < -43).
    """

    def __init__(self, latent_dim: int, min_scale: PositiveFloat = 1e-12) -> None:
        super().__init__()
        self.min_scale = min_scale
        self.n_features = 2 * latent_dim  # numbers that the encoder network emits for each observation

    def forward(self, features: Tensor) -> Distribution:
        """Features (B, 2 D) -> distribution of batch shape (B,) and event shape (D,)."""
        loc, log_scale = features.chunk(2, dim=-1)
        return Independent(Normal(loc, self.min_scale + log_scale.exp(), validate_args=False), 1, validate_args=False)
