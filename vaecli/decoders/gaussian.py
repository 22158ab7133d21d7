"""Real-valued observations with independent normal noise."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from vaecli.decoders.base import DataRange, Decoder
from vaecli.validation import PositiveFloat


class Gaussian(Decoder):
    """Diagonal normal: log p(x|z) = -1/2 sum_i [((x_i - m_i) / s_i)^2 + 2 log s_i + log 2 pi].

    Kingma and Welling (2014), appendix C.2. The network emits the mean m and, unless `sigma` fixes it, a number a with
    s = min_scale + softplus(a): e^a where the scale is small, a itself where it is large, so that no step overflows it.

    loc: the mean as the network emits it (`linear`), or squeezed into (0, 1) as in section 5 of the paper (`sigmoid`)
    sigma: the scale of every dimension; None: learned for each dimension and observation
    min_scale: floor of a learned scale. A dimension that never varies (the border of MNIST) has a density that grows
        without bound as its scale shrinks: without a floor the objective has no maximum.
    """

    def __init__(
        self,
        x_shape: tuple[int, ...],
        sigma: PositiveFloat | None = None,
        min_scale: PositiveFloat = 0.01,
        loc: Literal["linear", "sigmoid"] = "linear",
    ) -> None:
        super().__init__(x_shape)
        self.n_params = 2 if sigma is None else 1
        self.sigma = sigma
        self.squeeze = loc == "sigmoid"
        self.min_scale = min_scale

    def forward(self, loc: Tensor, raw_scale: Tensor | None = None) -> Distribution:  # type: ignore[override]
        loc = torch.sigmoid(loc) if self.squeeze else loc
        if raw_scale is None:
            assert self.sigma is not None
            scale = torch.as_tensor(self.sigma, dtype=loc.dtype, device=loc.device).expand_as(loc)
        else:
            scale = self.min_scale + F.softplus(raw_scale)
        return Independent(Normal(loc, scale, validate_args=False), len(self.x_shape), validate_args=False)

    def start(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The data's mean, and a scale of 1; `margin` keeps the logits of a sigmoid's mean finite."""
        mean = torch.logit(mean, eps=margin) if self.squeeze else mean
        one = torch.full_like(mean, math.log(math.e - 1))  # softplus of it is 1
        return torch.stack([mean, one][: self.n_params])

    def check(self, data: DataRange) -> str | None:
        """Any real data, but for those that a sigmoid's mean cannot reach."""
        if self.squeeze and (data.low < 0 or data.high > 1):
            raise ValueError(
                f"decoder.loc=sigmoid keeps the mean in (0, 1), but the data lie in [{data.low:.4g}, {data.high:.4g}]: "
                "use decoder.loc=linear"
            )
        return None
