"""A step's forward and backward pass, recorded once as a straight line of tensor operations.

Replaying it takes the same operations in the same order as the eager step, and gives the same bits; what it saves is
the Python of models and distributions and the bookkeeping of autograd, which for small networks is most of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.func import functional_call

from vaecli.objectives.base import Estimate
from vaecli.utils.random import random_states, set_random_states

aten = torch.ops.aten
SAME = (aten.alias.default, aten.detach.default)  # without autograd they return what they are given
BY_ONE = (aten.mul.Tensor, aten.div.Tensor, aten.mul.Scalar, aten.div.Scalar, aten.pow.Tensor_Scalar)


class StepGraph:
    """The loss, metrics and gradients of a LossModule for batches of one shape.

    Called with a batch and the step, both as `LossModule.forward` takes them, it gives the estimate and a gradient for
    each parameter that is trained, None for one that the loss does not reach. Weights are read where the module has
    them at each call. Whatever else Python computes in a pass is frozen as it was when it was recorded.
    """

    def __init__(self, loss: nn.Module, x: Tensor, step: Tensor, compiled: bool = False) -> None:
        self.trained = [p for p in loss.parameters() if p.requires_grad]
        self.names: list[str] = []  # of the metrics
        named = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
        self.held = [value.detach() for value in named.values()]
        graph = self.record(loss, named, x, step)
        self.replay: Callable[..., Sequence[Any]] = compile_graph(graph) if compiled else graph

    def record(self, loss: nn.Module, named: dict[str, Tensor], x: Tensor, step: Tensor) -> GraphModule:
        """The pass as a function of all weights and buffers, x and step; leaves them and the random numbers alone."""
        where = {name: i for i, name in enumerate(named)}
        trained = [where[name] for name, p in loss.named_parameters() if p.requires_grad]

        def one_pass(*inputs: Tensor) -> list[Tensor | None]:
            values = [value.detach() for value in inputs[:-2]]
            leaves = [values[i].requires_grad_() for i in trained]
            estimate: Estimate = functional_call(loss, dict(zip(named, values, strict=True)), inputs[-2:])
            gradients = torch.autograd.grad(estimate.loss, leaves, allow_unused=True)
            self.names = list(estimate.metrics)
            return [estimate.loss.detach(), *(m.detach() for m in estimate.metrics.values()), *gradients]

        states = random_states(x.device)
        try:
            copies = [value.detach().clone() for value in named.values()]  # some are changed in a pass, as by BatchNorm
            return simplify(make_fx(one_pass)(*copies, x, step))
        finally:
            set_random_states(states, x.device)

    def __call__(self, x: Tensor, step: Tensor) -> tuple[Estimate, Sequence[Tensor | None]]:
        with torch.no_grad():
            loss, *rest = self.replay(*self.held, x, step)
        n = len(self.names)
        return Estimate(loss, dict(zip(self.names, rest[:n], strict=True))), rest[n:]


def compile_graph(graph: GraphModule) -> Callable[..., Sequence[Any]]:
    """The graph in compiled kernels, which draw the same random numbers; results differ in rounding."""
    compiled: Callable[..., Sequence[Any]] = torch.compile(
        graph, fullgraph=True, dynamic=False, options={"fallback_random": True}
    )
    return compiled


def simplify(module: GraphModule) -> GraphModule:
    """The same graph without operations that change nothing, and with those of constants alone done once."""
    drop_identities(module.graph)
    fold_constants(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def drop_identities(graph: Graph) -> None:
    """Take out aliases, and products, quotients and powers with the number one."""
    for node in list(graph.nodes):
        by_one = node.target in BY_ONE and not isinstance(node.args[1], Node) and node.args[1] == 1
        if node.target in SAME or (by_one and keeps_type(node)):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def keeps_type(node: Node) -> bool:
    """Whether a node's result has the type of what it is computed from."""
    before: Any = node.all_input_nodes[0].meta.get("val")
    after: Any = node.meta.get("val")
    return before is not None and after is not None and before.dtype == after.dtype


def fold_constants(module: GraphModule) -> None:
    """Put the values of nodes that depend on no input in their places."""
    known: dict[Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "call_function" and is_constant(node, known):
            args, kwargs = (map_arg(part, known.__getitem__) for part in (node.args, node.kwargs))
            known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    for i, (node, value) in enumerate(known.items()):
        if isinstance(value, Tensor) and any(user not in known for user in node.users):
            module.register_buffer(f"constant_{i}", value)
            with module.graph.inserting_before(node):
                constant = module.graph.get_attr(f"constant_{i}")
            node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)


def is_constant(node: Node, known: dict[Node, Any]) -> bool:
    """Whether a node's value is the same in each pass, and nothing writes into it."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or schema.is_mutable or torch.Tag.nondeterministic_seeded in node.target.tags:  # type: ignore[union-attr]
        return False
    if any(getattr(getattr(user.target, "_schema", None), "is_mutable", True) for user in node.users):
        return False
    return all(one in known for one in node.all_input_nodes)
