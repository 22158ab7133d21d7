"""Learning-rate schedules, stepped after every optimizer step."""

import warnings
from bisect import bisect_right

from torch.optim import Optimizer, lr_scheduler

from vaecli.utils.types import NonNegativeFloat, PositiveFloat, PositiveInt

Scheduler = lr_scheduler.LRScheduler


def constant(optimizer: Optimizer, total_steps: int, steps_per_epoch: int) -> Scheduler:
    """The optimizer's own rate throughout."""
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, min_lr: NonNegativeFloat = 0.0) -> Scheduler:
    """From the optimizer's rate to `min_lr` at the last step, along half a cosine (Loshchilov and Hutter, 2017)."""
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total_steps, eta_min=min_lr)


def exponential(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, gamma: PositiveFloat = 0.99) -> Scheduler:
    """The optimizer's rate times `gamma` after each epoch."""
    return lr_scheduler.StepLR(optimizer, step_size=steps_per_epoch, gamma=gamma)


def step(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    milestones: list[PositiveInt] | None = None,
    every: PositiveInt = 5,
    gamma: PositiveFloat = 0.1,
) -> Scheduler:
    """The optimizer's rate times `gamma` after each of the epochs `milestones`; without them, after each `every`."""
    if milestones is None:
        return lr_scheduler.StepLR(optimizer, step_size=every * steps_per_epoch, gamma=gamma)
    ends = sorted(epoch * steps_per_epoch for epoch in milestones)
    # not MultiStepLR, which puts a Counter into the checkpoint
    return lr_scheduler.LambdaLR(optimizer, lambda step: gamma ** bisect_right(ends, step))


def one_cycle(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, max_lr: PositiveFloat = 5e-3) -> Scheduler:
    """Up to `max_lr` in the first 30% of all steps and down to nearly nothing (Smith and Topin, 2018).

    The momentum stays the optimizer's own.
    """
    # the schedule is stepped once more after the last optimizer step
    return lr_scheduler.OneCycleLR(optimizer, max_lr=max_lr, total_steps=total_steps + 1, cycle_momentum=False)


def advance(scheduler: Scheduler, steps: int) -> None:
    """Bring a new schedule, and its optimizer's rate, to where they are after `steps` steps."""
    with warnings.catch_warnings(action="ignore"):  # torch warns that the optimizer has taken no step
        for _ in range(steps):
            scheduler.step()
