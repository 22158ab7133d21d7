"""Changes to a recorded graph that leave its results the same to the last bit, and make it faster."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten
SAME = (aten.alias.default, aten.detach.default)  # without autograd they return their input
VIEWS = (aten.t.default, aten.view.default, aten.transpose.int, aten.unsqueeze.default, aten.expand.default)
RESHAPES = (aten.view.default, aten.unsqueeze.default, aten.squeeze.dim, aten.expand.default, operator.getitem)
COPIES = (aten.sum.dim_IntList, aten.mean.dim, aten.stack.default)  # of one tensor, over one number
BY_ONE = (aten.mul.Tensor, aten.div.Tensor, aten.mul.Scalar, aten.div.Scalar, aten.pow.Tensor_Scalar)


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
        if node.target in SAME or (by_one and keeps_type(node.all_input_nodes[0], node)):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def drop_views(graph: Graph) -> None:
    """Remove transpositions that undo each other, and make one view of several, or none where they change nothing."""
    written = written_into(graph)
    for node in list(graph.nodes):
        given: Any = node.args[0] if node.args else None
        if node.target is aten.t.default and given.target is aten.t.default:
            node.replace_all_uses_with(given.args[0])
        elif is_reshape(node) and node not in written:
            source = node.all_input_nodes[0]
            while source.target is aten.unbind.int or (is_reshape(source) and source not in written):
                source = source.all_input_nodes[0]
            shape = list(facts(node).shape)
            if shape == list(facts(source).shape):
                node.replace_all_uses_with(source)
                continue
            with graph.inserting_before(node):
                view = graph.call_function(aten.view.default, (source, shape))
            view.meta.update(node.meta)
            node.replace_all_uses_with(view)


def is_reshape(node: Node) -> bool:
    """Whether a node has the numbers of one other tensor, in the same order: a view, or a sum over one number."""
    if node.target not in (*RESHAPES, *COPIES) or len(node.all_input_nodes) != 1:
        return False
    source = node.all_input_nodes[0]
    source = source.all_input_nodes[0] if source.target is aten.unbind.int else source
    before, after = facts(source), facts(node)
    return (
        keeps_type(source, node)
        and before.shape.numel() == after.shape.numel()
        and before.memory_format is after.memory_format is torch.contiguous_format
    )


def facts(node: Node) -> Any:
    """Shape, type and strides of a node's result, if it is one tensor."""
    meta = node.meta.get("tensor_meta")
    return meta if hasattr(meta, "shape") else None


def keeps_type(before: Node, after: Node) -> bool:
    """Whether two nodes' results are tensors of the same type."""
    one, other = facts(before), facts(after)
    return one is not None and other is not None and one.dtype == other.dtype


def fold_constants(module: GraphModule) -> None:
    """Replace nodes that depend on no input by their values."""
    known: dict[Node, Any] = {}
    written = written_into(module.graph)
    for node in list(module.graph.nodes):
        if node.op == "get_attr" and all(user.target is aten.lift_fresh_copy.default for user in node.users):
            known[node] = getattr(module, node.target)  # a number that Python made a tensor
        elif node not in written and is_pure(node) and all(one in known for one in node.all_input_nodes):
            args, kwargs = (map_arg(part, known.__getitem__) for part in (node.args, node.kwargs))
            known[node] = node.target(*args, **kwargs)
    for i, (node, value) in enumerate(known.items()):
        if isinstance(value, Tensor) and any(user not in known for user in node.users):
            module.register_buffer(f"constant_{i}", spread(value))
            with module.graph.inserting_before(node):
                constant = module.graph.get_attr(f"constant_{i}")
            node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)


def spread(value: Tensor) -> Tensor:
    """A tensor of equal numbers as a view of one of them, which takes no memory to read."""
    first = value.flatten()[:1]
    return first.clone().expand(value.shape) if value.numel() > 1 and bool((value == first).all()) else value


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
