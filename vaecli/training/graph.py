"""A step's forward and backward pass, recorded once as a sequence of tensor operations.

Replaying it runs the same operations in the same order as the eager step, with the same result to the last bit. It
saves the Python code of models and distributions and the bookkeeping of autograd, which for small networks are most of
a step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from vaecli.objectives.base import Estimate
from vaecli.training.simplify import lift, simplify
from vaecli.utils.random import restored_after


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
        with restored_after(x.device):
            self.replay: Callable[..., Sequence[Any]] = simplify(self.record(loss, named)(*copies, x, step))
            if compiled:
                self.replay = compiled_graph(self.replay, *copies, x, step)

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

    def lower(self, x: Tensor, step: Tensor) -> None:
        """Compute what is the same at each call once, and let torch's interpreter replay a graph that Python would."""
        if isinstance(self.replay, GraphModule):
            self.lifted = lift(self.replay, self.held)
            copies = [value.clone() for value in self.held]
            with restored_after(x.device):
                self.replay = interpreted(self.replay, *copies, x, step, *self.lifted)


def set_gradients(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Store the gradients of a pass in the parameters' `grad`."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def compiled_graph(graph: GraphModule, *inputs: Tensor) -> Callable[..., Sequence[Any]]:
    """The graph in compiled kernels, which draw the same random numbers; results differ in rounding."""
    compiled: Callable[..., Sequence[Any]] = torch.compile(
        graph, fullgraph=True, dynamic=False, options={"fallback_random": True}
    )
    with torch.no_grad():
        compiled(*inputs)  # it is compiled when it is called first
    return compiled


def interpreted(graph: GraphModule, *inputs: Tensor) -> Callable[..., Sequence[Any]]:
    """The graph in TorchScript, whose interpreter takes a third of Python's time between operations.

    Its optimiser, which changes the rounding, is off. Where an operation is beyond it, or a later torch has none (torch
    calls it deprecated), the graph itself is returned.
    """
    outputs: Any = graph.graph.output_node().args[0]
    present = [i for i, output in enumerate(outputs) if output is not None]  # TorchScript returns nothing but tensors

    def tensors(*inputs: Tensor) -> list[Tensor]:
        found = graph(*inputs)
        return [found[i] for i in present]

    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            script = torch.jit.trace(tensors, inputs, check_trace=False)
    except Exception:  # any exception: there may be no such interpreter
        return graph

    def replay(*inputs: Tensor) -> Sequence[Any]:
        found: list[Tensor | None] = [None] * len(outputs)
        with torch.jit.optimized_execution(False):
            for i, value in zip(present, script(*inputs), strict=True):
                found[i] = value
        return found

    return replay
