"""One batch -> one update of the weights.

`LossModule` is the pair (model, objective) as one module, and `Update` takes the step with it. Whatever makes
training faster or larger wraps these two and nothing else; docs/step.md has the details.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vaecli.objectives.base import Estimate, Objective
from vaecli.schedulers import Scheduler
from vaecli.training.fused_adam import DirectStep
from vaecli.training.passes import Passes
from vaecli.training.precision import Precision, in_bfloat16


class LossModule(nn.Module):
    """The pair (model, objective); its `forward` computes everything from a batch to its loss.

    Objectives call `encode` and `decode` as well as the model itself, so that a wrapper around the model alone, which
    sees no more than its `forward`, would miss them.
    """

    def __init__(self, model: nn.Module, objective: Objective, precision: Precision = "float32") -> None:
        super().__init__()
        self.model, self.objective, self.precision = model, objective, precision

    def forward(self, x: Tensor, step: Tensor) -> Estimate:
        """The estimate for a batch x (B, *x_shape) at a step (), an integer counted from 0, on the device of x."""
        networks = (self.model.encoder_network, self.model.decoder_network) if self.precision == "bf16" else ()
        with in_bfloat16(*networks):
            estimate: Estimate = self.objective(self.model, x, step)  # type: ignore[arg-type]
        return estimate


@dataclass
class Update:
    """Takes one step of training for each batch.

    The loss gets the step's number in a tensor that is set before each call, and computes the weight of the KL term and
    the capacity from it, so that a compiled or captured loss sees them change. The learning rate stays a number in the
    optimizer's groups, which its `step` reads in each call, outside of the loss.
    """

    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler
    average: AveragedModel | None = None  # of the weights over the steps
    precision: Precision = "float32"  # of the networks' products
    clip_grad_norm: float | None = None  # the largest norm of all gradients together; None: any
    loss: nn.Module = field(init=False)
    step: Tensor = field(init=False)  # ()
    passes: Passes = field(init=False)
    take_step: Callable[[], None] = field(init=False)  # of the optimizer

    def __post_init__(self) -> None:
        self.loss = LossModule(self.model, self.objective, self.precision)
        self.step = torch.zeros((), dtype=torch.int64, device=next(self.model.parameters()).device)
        self.passes = Passes(self.loss)
        self.take_step = DirectStep(self.optimizer)

    def __call__(self, x: Tensor, step: int, check: Callable[[Estimate], None]) -> Estimate:
        """One update from a batch x (B, *x_shape).

        check: called with the estimate while weights and gradients are still those of the step before; if it raises,
        they stay unchanged
        """
        estimate, backward = self.passes(x, self.step.fill_(step))
        check(estimate)
        backward()
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        self.take_step()
        self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return estimate
