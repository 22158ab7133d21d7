"""Real-valued observations with independent normal noise."""

from __future__ import annotations

from torch.distributions import Normal

from vaecli.decoders.location import LocationScale, Squeeze
from vaecli.utils.types import PositiveFloat


class Gaussian(LocationScale):
    """Diagonal normal: log p(x|z) = -1/2 sum_i [((x_i - m_i) / s_i)^2 + 2 log s_i + log 2 pi].

    Kingma and Welling (2014), appendix C.2. The network emits the mean m and, unless `sigma` fixes it, a number a with
    s = min_scale + softplus(a).

    loc: the mean as the network emits it (`linear`), or squeezed into (0, 1) as in section 5 of the paper (`sigmoid`)
    sigma: the scale of every dimension; None: learned for each dimension and observation
    min_scale: floor of a learned scale. A dimension that never varies (the border of MNIST) has a density that grows
        without bound as its scale shrinks: without a floor the objective has no maximum.
    """

    family = Normal

    def __init__(
        self,
        x_shape: tuple[int, ...],
        sigma: PositiveFloat | None = None,
        min_scale: PositiveFloat = 0.01,
        loc: Squeeze = "linear",
    ) -> None:
        super().__init__(x_shape, sigma, min_scale, loc)
