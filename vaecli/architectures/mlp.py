"""Fully connected encoder and decoder networks."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from vaecli.architectures.activations import Activation, activation
from vaecli.architectures.base import Architecture, DecoderNetwork
from vaecli.utils.types import PositiveInt


def hidden_layers(sizes: Sequence[int], activation_name: Activation) -> list[nn.Module]:
    """Linear layers from sizes[0] through to sizes[-1], each followed by the activation."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), activation(activation_name)]
    return layers


class MLPDecoderNetwork(DecoderNetwork):
    """z (N, D) -> parameters (N, n_params, *x_shape)."""

    def __init__(self, layers: Sequence[nn.Module], width: int, out_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.output = nn.Linear(width, math.prod(out_shape))
        self.out_shape = out_shape

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.body(z)).unflatten(-1, self.out_shape)

    def set_output_bias(self, mean: Tensor, params: Callable[[Tensor], Tensor]) -> None:
        """Set the output bias to the parameters (n_params, *x_shape) of the mean observation (*x_shape)."""
        self.output.bias.data.copy_(params(mean).flatten())


class MLP(Architecture):
    """Multilayer perceptrons, the decoder's hidden layers being the encoder's in reverse.

    hidden: widths of the encoder's hidden layers, from the data to the latents; [] gives linear maps.
    """

    def __init__(self, hidden: list[PositiveInt] | None = None, activation: Activation = "silu") -> None:
        self.hidden = [400, 100] if hidden is None else hidden
        self.activation: Activation = activation

    def encoder(self, x_shape: tuple[int, ...], n_features: int) -> nn.Module:
        """x (B, *x_shape) -> (B, n_features)."""
        sizes = [math.prod(x_shape), *self.hidden]
        return nn.Sequential(nn.Flatten(), *self.layers(sizes), nn.Linear(sizes[-1], n_features))

    def decoder(self, latent_dim: int, n_params: int, x_shape: tuple[int, ...]) -> nn.Module:
        """z (N, D) -> (N, n_params, *x_shape)."""
        sizes = [latent_dim, *reversed(self.hidden)]
        return MLPDecoderNetwork(self.layers(sizes), sizes[-1], (n_params, *x_shape))

    def layers(self, sizes: Sequence[int]) -> list[nn.Module]:
        """The hidden layers, from sizes[0] through to sizes[-1]."""
        return hidden_layers(sizes, self.activation)
