"""A step's forward and backward pass, recorded once as a sequence of tensor operations.

Replaying it runs the same operations in the same order as the eager step, with the same result to the last bit. It
saves the Python code of models and distributions and the bookkeeping of autograd, which for small networks are most of
a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from vaecli.objectives.base import Estimate
from vaecli.utils.random import random_states, set_random_states

aten = torch.ops.aten
SAME = (aten.alias.default, aten.detach.default)  # without autograd they return their input
VIEWS = (aten.t.default, aten.view.default, aten.transpose.int, aten.unsqueeze.default, aten.expand.default)
SUMS = (aten.sum.dim_IntList, aten.mean.dim)
BY_ONE = (aten.mul.Tensor, aten.div.Tensor, aten.mul.Scalar, aten.div.Scalar, aten.pow.Tensor_Scalar)


class StepGraph:
    """The loss, metrics and gradients of a LossModule for batches of one shape.

    Called with a batch and the step, both as `LossModule.forward` takes them, it returns the estimate and a gradient
    for each trained parameter, or None if the loss does not depend on it. Each call reads the weights from the module.
    Everything else that Python computes in a pass is frozen at its value during recording.
    """

    def __init__(self, loss: nn.Module, x: Tensor, step: Tensor, compiled: bool = False) -> None:
        self.trained = [p for p in loss.parameters() if p.requires_grad]
        self.names: list[str] = []  # of the metrics
        named = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
        self.held = [value.detach() for value in named.values()]
        self.lifted: list[Tensor] = []  # inputs of the graph after all others
        copies = [value.clone() for value in self.held]  # some are changed in a pass, as by BatchNorm
        states = random_states(x.device)
        try:
            self.replay: Callable[..., Sequence[Any]] = simplify(self.record(loss, named)(*copies, x, step))
            if compiled:
                self.replay = compiled_graph(self.replay, *copies, x, step)
        finally:
            set_random_states(states, x.device)

    def record(self, loss: nn.Module, named: Mapping[str, Tensor]) -> Callable[..., GraphModule]:
        """Makes the graph of a pass from values of all weights and buffers, x and step."""
        where = {name: i for i, name in enumerate(named)}
        trained = [where[name] for name, p in loss.named_parameters() if p.requires_grad]

        def one_pass(*inputs: Tensor) -> list[Tensor | None]:
            values = [value.detach() for value in inputs[:-2]]
            leaves = [values[i].requires_grad_() for i in trained]
            estimate: Estimate = functional_call(loss, dict(zip(named, values, strict=True)), inputs[-2:])
            up = torch.ones((), dtype=estimate.loss.dtype, device=estimate.loss.device)
            gradients = torch.autograd.grad(estimate.loss, leaves, up, allow_unused=True)
            self.names = list(estimate.metrics)
            return [estimate.loss.detach(), *(m.detach() for m in estimate.metrics.values()), *gradients]

        recorder: Callable[..., GraphModule] = make_fx(one_pass)
        return recorder

    def __call__(self, x: Tensor, step: Tensor) -> tuple[Estimate, Sequence[Tensor | None]]:
        with torch.no_grad():
            loss, *rest = self.replay(*self.held, x, step, *self.lifted)
        n = len(self.names)
        return Estimate(loss, dict(zip(self.names, rest[:n], strict=True))), rest[n:]

    def lift(self) -> None:
        """Turn the constants and the views of weights in the graph into inputs of it."""
        if isinstance(self.replay, GraphModule):
            self.lifted = lift(self.replay, self.held)

    def set_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        """Store the gradients of a pass in the parameters' `grad`."""
        for parameter, gradient in zip(self.trained, gradients, strict=True):
            parameter.grad = gradient


def compiled_graph(graph: GraphModule, *inputs: Tensor) -> Callable[..., Sequence[Any]]:
    """The graph in compiled kernels, which draw the same random numbers; results differ in rounding."""
    compiled: Callable[..., Sequence[Any]] = torch.compile(
        graph, fullgraph=True, dynamic=False, options={"fallback_random": True}
    )
    with torch.no_grad():
        compiled(*inputs)  # it is compiled when it is called first
    return compiled


def lift(module: GraphModule, held: Sequence[Tensor]) -> list[Tensor]:
    """Turn a graph's constants, and the views of its first inputs `held`, into further inputs; returns their tensors.

    They are the same at each call, so that they need not be made again.
    """
    graph = module.graph
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    known: dict[Node, Tensor] = dict(zip(inputs, held, strict=False))
    for node in graph.nodes:
        if node.op == "get_attr":
            known[node] = getattr(module, node.target)
        elif node.target in VIEWS and node.args[0] in known:
            known[node] = node.target(*map_arg(node.args, known.__getitem__), **node.kwargs)
    first = next(node for node in graph.nodes if node.op != "placeholder")
    lifted = [node for node in known if node not in inputs and any(user not in known for user in node.users)]
    for i, node in enumerate(lifted):
        with graph.inserting_before(first):
            given = graph.placeholder(f"lifted_{i}")
        node.replace_all_uses_with(given, delete_user_cb=lambda user: user not in known)
    graph.eliminate_dead_code()
    module.recompile()
    return [known[node] for node in lifted]


def simplify(module: GraphModule) -> GraphModule:
    """The same graph without operations that change nothing, and with operations on constants computed in advance."""
    drop_identities(module.graph)
    drop_views(module.graph)
    fold_constants(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def drop_identities(graph: Graph) -> None:
    """Remove aliases, and products, quotients and powers with the number one."""
    for node in list(graph.nodes):
        by_one = node.target in BY_ONE and not isinstance(node.args[1], Node) and node.args[1] == 1
        if node.target in SAME or (by_one and keeps_type(node)):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def drop_views(graph: Graph) -> None:
    """Remove views that undo each other or change nothing, stacks of one tensor, and sums over one number."""
    for node in list(graph.nodes):
        given: Any = node.args[0] if node.args else None
        if node.target is aten.t.default and given.target is aten.t.default:
            node.replace_all_uses_with(given.args[0])
        elif node.target is aten.view.default and shape_of(node) == shape_of(given):
            node.replace_all_uses_with(given)
        elif node.target is aten.stack.default and len(given) == 1 and is_contiguous(given[0]):
            with graph.inserting_before(node):
                alone = graph.call_function(aten.unsqueeze.default, (given[0], *node.args[1:]))
            alone.meta.update(node.meta)
            node.replace_all_uses_with(alone)
        elif node.target in SUMS and is_over_one(node) and is_contiguous(given):
            with graph.inserting_before(node):
                same = graph.call_function(aten.view.default, (given, list(shape_of(node) or ())))
            same.meta.update(node.meta)
            node.replace_all_uses_with(same)


def is_over_one(node: Node) -> bool:
    """Whether a sum or mean over some dimensions leaves each number as it is."""
    given, result = (one.meta.get("tensor_meta") for one in (node.all_input_nodes[0], node))
    return (
        given is not None
        and result is not None
        and given.shape.numel() == result.shape.numel()
        and given.dtype == result.dtype
    )


def shape_of(node: Node) -> torch.Size | None:
    """The shape of a node's result, if it is known."""
    meta = node.meta.get("tensor_meta")
    return None if meta is None else meta.shape


def is_contiguous(node: Node) -> bool:
    meta = node.meta.get("tensor_meta")
    return meta is not None and meta.memory_format is torch.contiguous_format


def keeps_type(node: Node) -> bool:
    """Whether a node's result has the type of what it is computed from."""
    before, after = (one.meta.get("tensor_meta") for one in (node.all_input_nodes[0], node))
    return before is not None and after is not None and before.dtype == after.dtype


def fold_constants(module: GraphModule) -> None:
    """Replace nodes that depend on no input by their values."""
    known: dict[Node, Any] = {}
    written = written_into(module.graph)
    for node in list(module.graph.nodes):
        if node not in written and is_pure(node) and all(one in known for one in node.all_input_nodes):
            args, kwargs = (map_arg(part, known.__getitem__) for part in (node.args, node.kwargs))
            known[node] = node.target(*args, **kwargs)
    for i, (node, value) in enumerate(known.items()):
        if isinstance(value, Tensor) and any(user not in known for user in node.users):
            module.register_buffer(f"constant_{i}", value)
            with module.graph.inserting_before(node):
                constant = module.graph.get_attr(f"constant_{i}")
            node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)


def is_pure(node: Node) -> bool:
    """Whether a node always computes the same result from the same inputs, and changes nothing in place."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and not schema.is_mutable and not is_random(node)


def is_random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def written_into(graph: Graph) -> set[Node]:
    """The nodes whose values an in-place operation changes, directly or through a view."""
    found: set[Node] = set()
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            place: Any = node
            while isinstance(place, Node):
                found.add(place)
                place = place.args[0] if place.args else None
    return found
