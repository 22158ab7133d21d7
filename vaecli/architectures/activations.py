"""The activation functions that an architecture can be given by name."""

from typing import Literal, get_args

from torch import nn

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid"]

_CLASSES = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid)
_BY_NAME: dict[str, type[nn.Module]] = dict(zip(get_args(Activation), _CLASSES, strict=True))


def activation(name: Activation) -> nn.Module:
    return _BY_NAME[name]()
