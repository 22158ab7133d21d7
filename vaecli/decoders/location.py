"""The base classes of decoders of real values: a location, optionally squeezed into (0, 1), and a scale."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from vaecli.decoders.base import DataFacts, Decoder, inverse_softplus
from vaecli.utils.types import PositiveFloat

Squeeze = Literal["linear", "sigmoid"]


class LocationDecoder(Decoder, abstract=True):
    """Noise about a location m that the network emits: as it is (`linear`), or squeezed into (0, 1) (`sigmoid`)."""

    n_params = 1

    def __init__(self, x_shape: tuple[int, ...], loc: Squeeze) -> None:
        super().__init__(x_shape)
        self.squeeze = loc == "sigmoid"

    def location(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw) if self.squeeze else raw

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The data's mean; `margin` keeps the logits of a squeezed one finite."""
        return (torch.logit(mean, eps=margin) if self.squeeze else mean).unsqueeze(0)

    def check(self, data: DataFacts) -> str | None:
        """Accepts all real data except those that a sigmoid's location cannot reach."""
        if self.squeeze and (data.low < 0 or data.high > 1):
            raise ValueError(
                f"decoder.loc=sigmoid keeps the mean in (0, 1), but the data lie in [{data.low:.4g}, {data.high:.4g}]: "
                "use decoder.loc=linear"
            )
        return None


class LocationScale(LocationDecoder, abstract=True):
    """Noise of one family about m, with a scale that is given, or learned as min_scale + softplus(a).

    The learned scale is e^a where it is small and a itself where it is large, so that no step overflows it.
    """

    family: Any  # the distribution's class, made from a location and a scale
    joint = Independent

    def __init__(
        self,
        x_shape: tuple[int, ...],
        scale: PositiveFloat | None = None,
        min_scale: PositiveFloat = 0.01,
        loc: Squeeze = "linear",
    ) -> None:
        super().__init__(x_shape, loc)
        self.n_params = 2 if scale is None else 1
        self.scale, self.min_scale = scale, min_scale

    def forward(self, loc: Tensor, raw_scale: Tensor | None = None) -> Distribution:  # type: ignore[override]
        loc = self.location(loc)
        if raw_scale is None:
            assert self.scale is not None
            scale = torch.as_tensor(self.scale, dtype=loc.dtype, device=loc.device).expand_as(loc)
        else:
            scale = self.min_scale + F.softplus(raw_scale)
        noise = self.family(loc, scale, validate_args=False)
        return self.joint(noise, len(self.x_shape), validate_args=False)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The data's mean, and a scale of 1 above the floor."""
        loc = super().params_at_mean(mean, margin)
        return torch.cat([loc, inverse_softplus(torch.ones_like(loc))])[: self.n_params]
