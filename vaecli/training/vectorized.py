"""The recorded pass of one run, for many runs at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from vaecli.training.graph import StepGraph, interpreted
from vaecli.training.simplify import is_random, lift, simplify

aten = torch.ops.aten


class CannotStack(Exception):
    """Raised for a pass that cannot be vectorised; the text is the reason."""


class VectorizedGraph:
    """A StepGraph over stacks of weights and batches, whose random numbers are each run's own.

    The pass of the first run is recorded, the normal draws in it are made inputs, and the rest is vectorised (`vmap`).
    """

    def __init__(self, loss: nn.Module, values: Sequence[Tensor], x: Tensor, step: Tensor) -> None:
        """values: (N, ...) in the order of a StepGraph, the same tensors at each call; x: (N, B, *x_shape).

        CannotStack where that is impossible.
        """
        try:
            self.build(StepGraph(loss, x[0], step), values, x, step)
        except CannotStack:
            raise
        except Exception as error:  # any exception: an option may do anything
            raise CannotStack(type(error).__name__) from error

    def build(self, recorded: StepGraph, values: Sequence[Tensor], x: Tensor, step: Tensor) -> None:
        """Make the graph of all runs from that of one."""
        assert isinstance(recorded.replay, GraphModule)
        self.names, n = recorded.names, len(x)
        self.noise = [x.new_empty(n, *shape) for shape in lift_draws(recorded.replay)]
        along = (*(0 for _ in values), 0, None, *(0 for _ in self.noise))
        plain = [value.detach() for value in values]
        vectorised = torch.func.vmap(recorded.replay, in_dims=along)
        with torch.no_grad():
            graph = simplify(make_fx(vectorised)(*plain, x, step, *self.noise))
            self.lifted = lift(graph, plain)
            copies = [value.clone() for value in plain]
            self.replay = interpreted(graph, *copies, x, step, *self.noise, *self.lifted)

    def __call__(
        self, values: Sequence[Tensor], x: Tensor, step: Tensor, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Metrics (M, N, B), losses (N,) and gradients (N, ...)."""
        for noise in self.noise:
            for own, generator in zip(noise, generators, strict=True):
                own.normal_(generator=generator)
        with torch.no_grad():
            loss, *rest = self.replay(*values, x, step, *self.noise, *self.lifted)
            return torch.stack(rest[: len(self.names)]), loss, rest[len(self.names) :]


def lift_draws(module: GraphModule) -> list[torch.Size]:
    """Turn the standard normal draws of a graph into further inputs; returns their shapes."""
    graph = module.graph
    shapes: list[torch.Size] = []
    first = next(node for node in graph.nodes if node.op != "placeholder")
    for node in list(graph.nodes):
        if node.target is aten.normal_.default and len(node.args) == 1:
            with graph.inserting_before(first):
                drawn = graph.placeholder(f"noise_{len(shapes)}")
            shapes.append(node.meta["tensor_meta"].shape)
            node.replace_all_uses_with(drawn)
            graph.erase_node(node)
        elif is_random(node):
            raise CannotStack(f"it draws numbers by {node.target}")
    graph.eliminate_dead_code()
    module.recompile()
    return shapes
