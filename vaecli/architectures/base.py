"""The base classes of architectures and of their decoder networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from vaecli.utils.option import Option


class Architecture(Option, abstract=True):
    """Builds the encoder and the decoder network, from shapes alone."""

    @abstractmethod
    def encoder(self, x_shape: tuple[int, ...], n_features: int) -> nn.Module:
        """A network x (B, *x_shape) -> (B, n_features)."""

    @abstractmethod
    def decoder(self, latent_dim: int, n_params: int, x_shape: tuple[int, ...]) -> nn.Module:
        """A network z (N, latent_dim) -> (N, n_params, *x_shape); a DecoderNetwork if its output bias can be set."""


class DecoderNetwork(nn.Module):
    """z (N, D) -> parameters (N, n_params, *x_shape), whose output bias can be set to the data's mean."""

    def set_output_bias(self, mean: Tensor, params: Callable[[Tensor], Tensor]) -> None:
        """Set the output bias to params(mean) (n_params, *x_shape) for the mean observation (*x_shape)."""
        raise NotImplementedError
