"""Residual networks for images of any size."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vaecli.architectures.activations import Activation, activation
from vaecli.architectures.conv import Conv, ConvDecoderNetwork, doubling, image_shapes
from vaecli.architectures.mlp import hidden_layers
from vaecli.utils.types import NonNegativeInt, PositiveInt

Norm = Literal["group", "none"]
NEAR_IDENTITY = 0.1  # a block's last weights at the start, relative to torch's; 0 leaves its first ones no gradient


def normalised(norm: Norm, channels: int, activation_name: Activation) -> list[nn.Module]:
    """The activation, after a normalisation in groups of about eight channels (Wu and He, 2018) where one is wanted."""
    groups = math.gcd(channels, max(1, channels // 8))
    return [*([nn.GroupNorm(groups, channels)] if norm == "group" else []), activation(activation_name)]


class ResidualBlock(nn.Module):
    """x + f(x), f two convolutions, each after its normalisation and activation: He et al. (2016), fig. 4 (e)."""

    def __init__(self, channels: int, norm: Norm, activation_name: Activation, recompute: bool = False) -> None:
        super().__init__()
        self.recompute = recompute
        first, last = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        last.weight.data.mul_(NEAR_IDENTITY)
        before, between = (normalised(norm, channels, activation_name) for _ in range(2))
        self.residual = nn.Sequential(*before, first, *between, last)

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return x + checkpoint(self.residual, x, use_reentrant=False, preserve_rng_state=False)
        return x + self.residual(x)


class ResNet(Conv):
    """Residual blocks after each halving of the image in the encoder and before each doubling in the decoder.

    channels: feature maps at each size, from the data to the latents; the decoder mirrors them
    blocks: residual blocks at each size
    hidden: width of the fully connected layer between the convolutions and the latents; 0 for none
    recompute: compute what is within a block again in the backward pass instead of holding it: Chen et al. (2016)
    """

    def __init__(
        self,
        channels: list[PositiveInt] | None = None,
        blocks: PositiveInt = 1,
        hidden: NonNegativeInt = 256,
        norm: Norm = "group",
        activation: Activation = "silu",
        recompute: bool = False,
    ) -> None:
        super().__init__(channels, hidden, activation)
        self.blocks, self.recompute = blocks, recompute
        self.norm: Norm = norm

    def encoder(self, x_shape: tuple[int, ...], n_features: int) -> nn.Module:
        """x (B, C, H, W) -> (B, n_features)."""
        layers: list[nn.Module] = []
        shape = image_shapes(x_shape, len(self.channels), "resnet")[-1]
        for n_in, n_out in pairwise([x_shape[0], *self.channels]):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), *self.residual_blocks(n_out)]
        layers += normalised(self.norm, self.channels[-1], self.activation)
        sizes = [self.channels[-1] * math.prod(shape), *self.hidden]
        dense = [*hidden_layers(sizes, self.activation), nn.Linear(sizes[-1], n_features)]
        return nn.Sequential(*layers, nn.Flatten(), *dense)

    def decoder(self, latent_dim: int, n_params: int, x_shape: tuple[int, ...]) -> nn.Module:
        """z (N, D) -> (N, n_params, C, H, W)."""
        shapes = image_shapes(x_shape, len(self.channels), "resnet")[::-1]
        channels = [*self.channels[::-1], self.channels[0]]
        layers = hidden_layers([latent_dim, *self.hidden], self.activation)
        width = self.hidden[-1] if self.hidden else latent_dim
        layers += [nn.Linear(width, channels[0] * math.prod(shapes[0])), nn.Unflatten(-1, (channels[0], *shapes[0]))]
        for (n_in, n_out), (here, there) in zip(pairwise(channels), pairwise(shapes), strict=True):
            layers += [*self.residual_blocks(n_in), *doubling(n_in, n_out, here, there)]
        layers += normalised(self.norm, channels[-1], self.activation)
        return ConvDecoderNetwork(layers, channels[-1], (n_params, *x_shape))

    def residual_blocks(self, channels: int) -> list[nn.Module]:
        return [ResidualBlock(channels, self.norm, self.activation, self.recompute) for _ in range(self.blocks)]
