"""What every decoder distribution provides."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution


class DataRange(NamedTuple):
    """What a decoder needs to know of the data in order to accept them."""

    low: float
    high: float
    binary: bool  # every value is 0 or 1


class Decoder(nn.Module):
    """p(x|z): turns the decoder network's tensors into a normalised distribution over observations.

    n_params: how many tensors of x's shape the network emits
    """

    n_params: int

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.x_shape = x_shape

    def forward(self, *params: Tensor) -> Distribution:
        """Parameters, each (..., *x_shape) -> distribution of batch shape (...) and event shape x_shape."""
        raise NotImplementedError

    def start(self, mean: Tensor) -> Tensor | None:
        """Parameters (n_params, ...) of the distribution whose mean is `mean` (...); None where there are none."""
        return None

    def check(self, data: DataRange) -> str | None:
        """Raises ValueError for data outside the support; returns a warning where a figure needs explaining."""
        return None
