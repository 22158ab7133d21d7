"""The base class of approximate posteriors."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vaecli.utils.option import Option


class Posterior(Option, nn.Module, abstract=True):
    """q(z|x): turns the encoder network's features into a distribution over latents; made with `latent_dim` (D).

    n_features: F, how many numbers the encoder network emits for each observation
    """

    made_with: ClassVar[tuple[str, ...]] = ("latent_dim",)
    attributes: ClassVar[tuple[str, ...]] = ("n_features",)
    n_features: int

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Features (B, F) -> distribution of batch shape (B,) and event shape (D,), with `rsample`."""
