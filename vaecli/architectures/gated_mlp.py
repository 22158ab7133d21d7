"""Fully connected networks with gates."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from vaecli.architectures.mlp import MLP
from vaecli.utils.types import PositiveInt


class GatedMLP(MLP):
    """Multilayer perceptrons with hidden layers h = (A x + a) s(B x + b), s the logistic function.

    Dauphin et al. (2017), eq. 1, as in the networks of Tomczak and Welling (2018). A layer has twice the parameters of
    one of `mlp`.

    hidden: widths of the encoder's hidden layers, from the data to the latents; the decoder's are the same in reverse.
    """

    def __init__(self, hidden: list[PositiveInt] | None = None) -> None:
        super().__init__([400] if hidden is None else hidden)

    def layers(self, sizes: Sequence[int]) -> list[nn.Module]:
        """The hidden layers: A and B stacked, and the gate."""
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, 2 * n_out), nn.GLU()]
        return layers
