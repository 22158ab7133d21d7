"""How much memory a network takes while it runs: a convolution's output can be far larger than its weights."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vaecli.utils.memory import check_memory

UNCHECKED_BYTES = 2**27  # up to so many bytes the free memory is not checked
COPIES = 2  # of a network's largest layer: distributions and convolutions need temporary copies
ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Sigmoid, nn.Tanh)


class Sizes(NamedTuple):
    """Bytes for each observation that goes through a network."""

    largest: int  # input and output together of the largest layer
    all: int  # the outputs of all layers, which training keeps

    def check(self, rows: int, what: str) -> None:
        """UserError if so many observations at once would not fit into memory."""
        needed = rows * (self.all if torch.is_grad_enabled() else COPIES * self.largest)
        if needed > UNCHECKED_BYTES:
            check_memory(needed, f"{what} {rows:,} observations at once",
                         "ask for fewer (n, limit, batch_size, samples), or train on smaller observations")  # fmt: skip


def sizes(network: nn.Module, shape: tuple[int, ...]) -> Sizes:
    """What a network takes for one observation of a shape; the network is on the meta device."""
    numbers: list[tuple[int, int]] = []

    def look(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        given = sum(arg.numel() for arg in args if isinstance(arg, Tensor))
        numbers.append((given, out.numel() if isinstance(out, Tensor) else 0))

    with ExitStack() as undo, torch.no_grad():
        for module in network.modules():
            give_shapes_only(module)
            undo.callback(vars(module).pop, "forward", None)
        for module in [*(one for one in network.modules() if not list(one.children())), network]:
            undo.enter_context(module.register_forward_hook(look))
        network(torch.empty(1, *shape, device="meta"))
    itemsize = 4  # float32
    return Sizes(itemsize * max(given + out for given, out in numbers), itemsize * sum(out for _, out in numbers))


def give_shapes_only(module: nn.Module) -> None:
    """Let a module on the meta device only return a tensor of the right shape, if the shape is easily known.

    torch's own way on the meta device imports its compiler, which takes as long as importing torch.
    """
    if type(module) is nn.Linear:
        module.forward = lambda input: input.new_empty(*input.shape[:-1], module.out_features)  # type: ignore[method-assign]
    elif type(module) in ELEMENTWISE:
        module.forward = lambda input: input
