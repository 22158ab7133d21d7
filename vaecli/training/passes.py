"""From a batch to its loss and gradients: eagerly, from a recorded graph or from a compiled one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from vaecli.objectives.base import Estimate
from vaecli.training.execution import Execution
from vaecli.training.graph import StepGraph, set_gradients

EAGER = Execution(recorded=False)
Backward = Callable[[], None]  # stores the gradients in the parameters, in place of earlier ones


@dataclass
class Passes:
    """The passes of a LossModule: eager, or from a graph that is recorded at the first batch of `batch_size`.

    A smaller last batch is always eager. A recorded graph gives exactly the numbers of the eager pass, a compiled one
    the same up to rounding.
    """

    loss: nn.Module
    execution: Execution = EAGER
    batch_size: int = 0
    say: Callable[[str], None] = print  # called with a line if no graph can be made
    graph: StepGraph | None = None

    def __call__(self, x: Tensor, step: Tensor) -> tuple[Estimate, Backward]:
        """The estimate for a batch x (B, *x_shape) at a step (), and its backward pass."""
        if self.execution.recorded and self.graph is None and len(x) == self.batch_size:
            self.record(x, step)
        if self.graph is None or len(x) != self.batch_size:
            estimate: Estimate = self.loss(x, step)
            return estimate, partial(self.differentiate, estimate.loss)
        estimate, gradients = self.graph(x, step)
        return estimate, partial(set_gradients, self.graph.trained, gradients)

    def differentiate(self, loss: Tensor) -> None:
        """The backward pass by autograd."""
        self.loss.zero_grad()
        loss.backward()

    def record(self, x: Tensor, step: Tensor) -> None:
        """Make the graph; a pass that cannot be compiled is recorded, and one that cannot be recorded stays eager."""
        try:
            self.graph = StepGraph(self.loss, x, step, self.execution.compiled)
            self.graph.lower(x, step)
        except Exception as error:  # any exception: an option may do anything
            failed = "compiled" if self.execution.compiled else "recorded"
            instead = "a recorded graph is used instead" if self.execution.compiled else "it runs as ordinary PyTorch"
            self.say(f"the training step could not be {failed} ({type(error).__name__}): {instead}")
            self.execution = Execution(recorded=self.execution.compiled)
            if self.execution.recorded:
                self.record(x, step)
