"""A Gaussian posterior, transformed by a normalising flow."""

from torch import Tensor
from torch.distributions import AffineTransform, Distribution
from zuko.transforms import ComposedTransform

from vaecli.flows import Flow, Kind, Pushforward, base_points
from vaecli.posteriors.base import Posterior
from vaecli.utils.types import PositiveFloat, PositiveInt


class FlowPosterior(Posterior):
    """q(z|x): z = f_T(... f_1(z_0; h) ...; h), z_0 = m + s e, e ~ N(0, I), with m, s and h from the encoder network.

    log q(z|x) = log N(e; 0, I) - sum_d log s_d - sum_t log |det df_t/dz_{t-1}|, the Jacobians being triangular.
    kind iaf: inverse autoregressive flow, Kingma et al. (2016), algorithm 1; a draw and its density take one pass, the
    density of another z takes D. kind coupling: Dinh et al. (2017), affine; the density of another z takes two.

    transforms: T; hidden: widths of each f_t's network; context: length of h
    """

    points: Tensor

    def __init__(
        self,
        latent_dim: int,
        kind: Kind = "iaf",
        transforms: PositiveInt = 2,
        hidden: tuple[PositiveInt, ...] = (64, 64),
        context: PositiveInt = 16,
        min_scale: PositiveFloat = 1e-12,
    ) -> None:
        super().__init__()
        self.sizes, self.min_scale = (latent_dim, latent_dim, context), min_scale
        self.n_features = sum(self.sizes)
        self.flow = Flow(latent_dim, kind, transforms, hidden, context)
        self.register_buffer("points", base_points(latent_dim))

    def forward(self, features: Tensor) -> Distribution:
        """Features (B, 2 D + context) -> distribution of batch shape (B,) and event shape (D,)."""
        loc, log_scale, context = features.split(self.sizes, dim=-1)
        gaussian = AffineTransform(loc, self.min_scale + log_scale.exp(), event_dim=1)
        return Pushforward(ComposedTransform(gaussian, self.flow(context)), self.points, loc.shape[:-1])
