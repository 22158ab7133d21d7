"""A step whose batch is shared by the processes of a run."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vaecli.objectives.base import Estimate
from vaecli.training.passes import Backward, Passes
from vaecli.utils.ranks import connection_errors


class SharedPasses(Passes):
    """The passes of a LossModule in DistributedDataParallel: each process has the loss and the gradient of the whole
    batch, from its share of the observations."""

    def __init__(self, loss: nn.Module) -> None:
        device = next(loss.parameters()).device
        places = [device.index or torch.cuda.current_device()] if device.type == "cuda" else None
        with connection_errors(), warnings.catch_warnings(action="ignore", category=FutureWarning):
            # buffers are the same in all processes; a static graph allows parameters without a gradient
            shared = DistributedDataParallel(loss, device_ids=places, broadcast_buffers=False, static_graph=True)
        super().__init__(shared)

    def __call__(self, x: Tensor, step: Tensor) -> tuple[Estimate, Backward]:
        estimate: Estimate = self.loss(x, step)
        return estimate, partial(self.differentiate, estimate.loss)

    def differentiate(self, loss: Tensor) -> None:
        with connection_errors():
            super().differentiate(loss)
