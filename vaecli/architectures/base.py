"""What every architecture, and the decoder network that it makes, provides."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from vaecli.utils.option import Option


class Architecture(Option, abstract=True):
    """Makes the two networks, which know numbers and shapes alone."""

    @abstractmethod
    def encoder(self, x_shape: tuple[int, ...], n_features: int) -> nn.Module:
        """A network x (B, *x_shape) -> (B, n_features)."""

    @abstractmethod
    def decoder(self, latent_dim: int, n_params: int, x_shape: tuple[int, ...]) -> nn.Module:
        """A network z (N, latent_dim) -> (N, n_params, *x_shape); a DecoderNetwork, where it can start at a mean."""


class DecoderNetwork(nn.Module):
    """z (N, D) -> parameters (N, n_params, *x_shape), which knows how to begin at the data's mean."""

    def set_output_bias(self, mean: Tensor, params: Callable[[Tensor], Tensor]) -> None:
        """Begin at the parameters params(mean) (n_params, *x_shape) of the mean observation (*x_shape)."""
        raise NotImplementedError
