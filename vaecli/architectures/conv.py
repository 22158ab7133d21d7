"""Strided convolutions for images of any size."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from vaecli.architectures.activations import Activation, activation
from vaecli.architectures.mlp import hidden_layers
from vaecli.errors import UserError
from vaecli.validation import NonNegativeInt, PositiveInt


def halvings(size: int, n: int) -> list[int]:
    """`size` and what n convolutions of stride 2 make of it, each rounding up: 28 -> [28, 14, 7, 4]."""
    sizes = [size]
    for _ in range(n):
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


class ConvDecoderNetwork(nn.Module):
    """z (N, D) -> parameters (N, n_params, C, H, W)."""

    def __init__(
        self, sizes: list[int], channels: list[int], shapes: list[tuple[int, int]], activation_name: Activation,
        out_shape: tuple[int, ...],
    ) -> None:  # fmt: skip
        super().__init__()
        layers = hidden_layers([*sizes, channels[0] * math.prod(shapes[0])], activation_name)
        layers.append(nn.Unflatten(-1, (channels[0], *shapes[0])))
        for n_in, n_out, here, there in zip(channels[:-1], channels[1:], shapes[:-1], shapes[1:], strict=True):
            # kernel 4, stride 2, padding 1 doubles a side; where the side was odd, one row less is wanted
            odd = tuple(2 * a - b for a, b in zip(here, there, strict=True))
            layers += [nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1), Crop(odd), activation(activation_name)]
        self.body = nn.Sequential(*layers)
        self.output = nn.Conv2d(channels[-1], math.prod(out_shape[:-2]), 3, padding=1)
        self.out_shape = out_shape

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.body(z)).unflatten(1, self.out_shape[:-2])

    def start_at(self, mean: Tensor, params: Callable[[Tensor], Tensor]) -> None:
        """Begin with the output bias, one number a channel, at the parameters of the mean colour of (C, H, W)."""
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


class Conv:
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

    def _shapes(self, x_shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Heights and widths from the image to the innermost feature map."""
        if len(x_shape) != 3:
            raise UserError(
                f"architecture=conv needs images (channels, height, width), but the data have shape {x_shape}: "
                "use architecture=mlp"
            )
        heights, widths = (halvings(side, len(self.channels)) for side in x_shape[1:])
        return list(zip(heights, widths, strict=True))

    def encoder(self, x_shape: tuple[int, ...], n_features: int) -> nn.Module:
        """x (B, C, H, W) -> (B, n_features)."""
        shapes, layers = self._shapes(x_shape), []
        for n_in, n_out in zip([x_shape[0], *self.channels[:-1]], self.channels, strict=True):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), activation(self.activation)]
        sizes = [self.channels[-1] * math.prod(shapes[-1]), *self.hidden]
        dense = [*hidden_layers(sizes, self.activation), nn.Linear(sizes[-1], n_features)]
        return nn.Sequential(*layers, nn.Flatten(), *dense)

    def decoder(self, latent_dim: int, n_params: int, x_shape: tuple[int, ...]) -> nn.Module:
        """z (N, D) -> (N, n_params, C, H, W)."""
        shapes = self._shapes(x_shape)[::-1]
        channels = [*self.channels[::-1], self.channels[0]]
        return ConvDecoderNetwork([latent_dim, *self.hidden], channels, shapes, self.activation, (n_params, *x_shape))
