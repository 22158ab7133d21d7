"""Real-valued observations with heavier tails than a normal's."""

from __future__ import annotations

from torch.distributions import Laplace as TorchLaplace

from vaecli.decoders.location import LocationScale


class Laplace(LocationScale):
    """Independent Laplace noise: log p(x|z) = -sum_i [|x_i - m_i| / b_i + log 2 b_i].

    Its maximum-likelihood location is a median: a fixed scale makes the reconstruction error an absolute one. The
    network emits m and, unless `scale` fixes b, a number a with b = min_scale + softplus(a).

    scale: b of every dimension; None: learned for each dimension and observation
    min_scale: floor of a learned b; without one the objective has no maximum, as for the Gaussian
    loc: m as the network emits it (`linear`), or squeezed into (0, 1) (`sigmoid`)
    """

    family = TorchLaplace
