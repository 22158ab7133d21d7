"""The base class of priors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vaecli.utils.option import Option


class Prior(Option, nn.Module, abstract=True):
    """p(z): a distribution over latents, made with `latent_dim` (D) and `x_shape`."""

    made_with: ClassVar[tuple[str, ...]] = ("latent_dim", "x_shape")

    @abstractmethod
    def forward(self, encode: Callable[[Tensor], Distribution]) -> Distribution:
        """Distribution of batch shape () and event shape (D,); encode: x (K, *x_shape) -> q(z|x), batch shape (K,).

        It has a mean and a standard deviation. A call may be expensive: make one per pass.
        """

    def initialise_from(self, draw: Callable[[int], Tensor]) -> None:
        """Initialise from training data, if the prior uses any: draw(n) returns n observations (n, *x_shape)."""
