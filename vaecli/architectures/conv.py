"""Strided convolutions for images of any size."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from vaecli.architectures.activations import Activation, activation
from vaecli.architectures.base import Architecture, DecoderNetwork
from vaecli.architectures.mlp import hidden_layers
from vaecli.utils.errors import UserError
from vaecli.utils.types import NonNegativeInt, PositiveInt


def halvings(size: int, n: int) -> list[int]:
    """`size` and what n convolutions of stride 2 make of it, each rounding up: 28 -> [28, 14, 7, 4]."""
    return [-(-size // 2**i) for i in range(n + 1)]


def image_shapes(x_shape: tuple[int, ...], n: int, option: str) -> list[tuple[int, int]]:
    """Heights and widths from the image to the innermost of n feature maps; UserError for data that are not images."""
    if len(x_shape) != 3:
        raise UserError(
            f"architecture={option} needs images (channels, height, width), but the data have shape {x_shape}: "
            "use architecture=mlp"
        )
    heights, widths = (halvings(side, n) for side in x_shape[1:])
    return list(zip(heights, widths, strict=True))


def doubling(n_in: int, n_out: int, here: tuple[int, int], there: tuple[int, int]) -> list[nn.Module]:
    """A transposed convolution from feature maps of size `here` to the size `there` that was halved to it."""
    # kernel 4, stride 2, padding 1 doubles a side; a side that was odd is one less
    odd = tuple(2 * a - b for a, b in zip(here, there, strict=True))
    return [nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1), Crop(odd)]


class ConvDecoderNetwork(DecoderNetwork):
    """z (N, D) -> parameters (N, n_params, C, H, W)."""

    def __init__(self, layers: list[nn.Module], width: int, out_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.output = nn.Conv2d(width, math.prod(out_shape[:-2]), 3, padding=1)
        self.out_shape = out_shape

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.body(z)).unflatten(1, self.out_shape[:-2])

    def set_output_bias(self, mean: Tensor, params: Callable[[Tensor], Tensor]) -> None:
        """Set the output bias, one number per channel, to the parameters of the mean colour of (C, H, W)."""
        assert self.output.bias is not None
        colour = mean.mean((-2, -1), keepdim=True)
        self.output.bias.data.copy_(params(colour).flatten())


class Crop(nn.Module):
    """Drops the last `odd` (0 or 1) rows and columns."""

    def __init__(self, odd: tuple[int, ...]) -> None:
        super().__init__()
        self.odd = odd

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : x.shape[-2] - self.odd[0], : x.shape[-1] - self.odd[1]] if any(self.odd) else x

    def extra_repr(self) -> str:
        return f"odd={self.odd}"


class Conv(Architecture):
    """Convolutions that halve the image, and transposed ones that double it, around one fully connected layer.

    channels: feature maps of the encoder's layers, from the data to the latents; the decoder mirrors them.
    hidden: width of the fully connected layer between the convolutions and the latents; 0 for none.
    """

    def __init__(
        self,
        channels: list[PositiveInt] | None = None,
        hidden: NonNegativeInt = 256,
        activation: Activation = "relu",
    ) -> None:
        self.channels = [32, 64] if channels is None else channels
        self.hidden = [hidden] if hidden else []
        self.activation: Activation = activation
        if not self.channels:
            raise UserError("architecture.channels=[]: should have at least one entry, or use architecture=mlp")

    def encoder(self, x_shape: tuple[int, ...], n_features: int) -> nn.Module:
        """x (B, C, H, W) -> (B, n_features)."""
        layers: list[nn.Module] = []
        shape = image_shapes(x_shape, len(self.channels), "conv")[-1]
        for n_in, n_out in pairwise([x_shape[0], *self.channels]):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), activation(self.activation)]
        sizes = [self.channels[-1] * math.prod(shape), *self.hidden]
        dense = [*hidden_layers(sizes, self.activation), nn.Linear(sizes[-1], n_features)]
        return nn.Sequential(*layers, nn.Flatten(), *dense)

    def decoder(self, latent_dim: int, n_params: int, x_shape: tuple[int, ...]) -> nn.Module:
        """z (N, D) -> (N, n_params, C, H, W)."""
        shapes = image_shapes(x_shape, len(self.channels), "conv")[::-1]
        channels = [*self.channels[::-1], self.channels[0]]
        layers = hidden_layers([latent_dim, *self.hidden, channels[0] * math.prod(shapes[0])], self.activation)
        layers.append(nn.Unflatten(-1, (channels[0], *shapes[0])))
        for (n_in, n_out), (here, there) in zip(pairwise(channels), pairwise(shapes), strict=True):
            layers += [*doubling(n_in, n_out, here, there), activation(self.activation)]
        return ConvDecoderNetwork(layers, channels[-1], (n_params, *x_shape))
