"""A normalising flow as the prior."""

from collections.abc import Callable

from torch import Tensor
from torch.distributions import Distribution

from vaecli.flows import Flow, Kind, Pushforward, base_points
from vaecli.priors.base import Prior
from vaecli.utils.types import PositiveInt


class FlowPrior(Prior):
    """p(z) = N(f(z); 0, I) |det df/dz|, with f a composition of learned autoregressive maps.

    Chen et al. (2017), section 3.2, and Huang et al. (2017). The density takes one pass. A draw inverts f, which
    takes D passes for kind iaf and two for kind coupling (Dinh et al., 2017).

    transforms: how many maps; hidden: widths of each one's network
    """

    points: Tensor

    def __init__(
        self,
        latent_dim: int,
        x_shape: tuple[int, ...] = (),
        kind: Kind = "iaf",
        transforms: PositiveInt = 2,
        hidden: tuple[PositiveInt, ...] = (64, 64),
    ) -> None:
        super().__init__()
        self.flow = Flow(latent_dim, kind, transforms, hidden)
        self.register_buffer("points", base_points(latent_dim))

    def forward(self, encode: Callable[[Tensor], Distribution] | None = None) -> Distribution:
        """Distribution of batch shape () and event shape (D,)."""
        return Pushforward(self.flow().inv, self.points)
