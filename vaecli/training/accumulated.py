"""A step that passes its batch through the networks in several parts, one after another, to save memory."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from vaecli.objectives.base import Estimate
from vaecli.training.execution import only_known_classes
from vaecli.training.graph import set_gradients
from vaecli.training.passes import Backward, Passes
from vaecli.utils.errors import UserError
from vaecli.utils.random import random_states, set_random_states
from vaecli.utils.ranks import Share, all_reduce_sum, current_share, sharing


class AccumulatedPasses(Passes):
    """Loss and gradients of a whole batch, up to rounding, as sums over its parts with the noise of the whole batch.

    Several processes divide each batch first; then each goes through its share in parts.
    """

    def __init__(self, loss: nn.Module, parts: int) -> None:
        super().__init__(loss)
        self.parts = parts
        self.trained = [p for p in loss.parameters() if p.requires_grad]

    def __call__(self, x: Tensor, step: Tensor) -> tuple[Estimate, Backward]:
        whole, states = current_share() or Share(0, len(x), len(x)), random_states(x.device)
        sums: list[Tensor | None] = [None] * len(self.trained)
        losses, metrics = [], []
        for index in torch.arange(len(x)).tensor_split(min(self.parts, len(x))):
            first, stop = int(index[0]), int(index[-1]) + 1
            share = whole._replace(start=whole.start + first, stop=whole.start + stop, apart=True)
            set_random_states(states, x.device)
            with sharing(share):
                estimate: Estimate = self.loss(x[first:stop], step)
            gradients = torch.autograd.grad(estimate.loss, self.trained, allow_unused=True)
            sums = [added(*pair) for pair in zip(sums, gradients, strict=True)]
            losses.append(estimate.loss.detach())
            metrics.append({name: values.detach() for name, values in estimate.metrics.items()})
        for gradient in sums:
            if gradient is not None:
                all_reduce_sum(gradient)
        joined = {name: torch.cat([one[name] for one in metrics]) for name in metrics[0]}
        return Estimate(all_reduce_sum(torch.stack(losses).sum()), joined), partial(set_gradients, self.trained, sums)


def added(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    """The sum of two gradients, computed in place of the first; None stands for no gradient."""
    if total is None or gradient is None:
        return gradient if total is None else total
    return total.add_(gradient)


def check_parts_add_up(loss: nn.Module, parts: int) -> None:
    """UserError for a loss that is not the sum of the losses of the batch's parts."""
    if loss.objective.batch_coupled or not loss.model.decoder.training_bound:  # type: ignore[union-attr]
        raise UserError(
            f"accumulate={parts}: this loss depends on means over the whole batch, which a part does not know "
            "(objective=capacity and free_bits, decoder=gaussian_optimal): leave accumulate out"
        )
    if not only_known_classes(loss):
        raise UserError(f"accumulate={parts}: works with vaecli's own options only; leave it out")
