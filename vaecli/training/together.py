"""The training loop of one or several runs, each of them a TrainingGenerator, which pauses before each epoch.

Runs that are at the same step share a pass over stacked weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vaecli.training.interrupt import Interrupt
from vaecli.training.stack import Stack, States
from vaecli.training.trainer import Trainer, TrainingGenerator
from vaecli.training.vectorized import CannotStack
from vaecli.utils.random import random_states, set_random_states
from vaecli.utils.text import say


@dataclass
class Member:
    """One of the runs, with random numbers of its own."""

    generator: TrainingGenerator[float]
    trainer: Trainer | None = None  # waits for its next pass; None: before the start and after the end
    states: States = field(default_factory=dict)
    bound: float = math.nan
    error: BaseException | None = None

    def advance(self, go_on: Callable[[], Trainer]) -> None:
        """Run the generator to its next epoch, or to its end."""
        device = None if self.trainer is None else next(self.trainer.model.parameters()).device
        if device is not None:
            set_random_states(self.states, device)
        try:
            self.trainer = go_on()
            self.states = random_states(next(self.trainer.model.parameters()).device)
        except StopIteration as end:
            self.trainer, self.bound = None, end.value
        except BaseException as error:  # kept, and raised when the others have ended too
            self.trainer, self.error = None, error

    def start(self) -> None:
        self.advance(lambda: next(self.generator))

    def send(self, figures: Callable[[], dict[str, float] | None]) -> None:
        """Continue with an epoch's figures, None if it was interrupted; an exception is thrown into the generator."""

        def go_on() -> Trainer:
            try:
                means = figures()
            except BaseException as error:
                return self.generator.throw(error)
            return self.generator.send(means)

        self.advance(go_on)


def drive(members: Sequence[Member]) -> list[float]:
    """Train all runs to their ends, and those whose epochs begin at the same step together; returns their bounds.

    An exception of one run is raised after all the others have ended.
    """
    stack: Stack | None = None
    apart = False
    with Interrupt():
        while due := [member for member in members if member.trainer is not None]:
            steps = [member.trainer.step for member in due if member.trainer is not None]
            group = [member for member, step in zip(due, steps, strict=True) if step == min(steps)]
            trainers = [member.trainer for member in group if member.trainer is not None]
            if apart or len(trainers) == 1:
                stack = None
                group[0].send(lambda one=trainers[0]: one.train_epoch(one.epoch + 1))  # type: ignore[misc]
                continue
            if stack is None or not stack.is_of(trainers):
                stack = Stack(trainers)
            try:
                seconds = stack.train_epoch([member.states for member in group])
            except CannotStack as error:  # raised while the graph is built: no weight has changed yet
                say(f"these runs cannot be trained together ({error}): each is trained separately")
                apart = True
                continue
            for member, trainer in zip(group, trainers, strict=True):
                member.send(lambda one=trainer, s=seconds: None if s is None else one.end_epoch(one.epoch + 1, s))  # type: ignore[misc]
    for one in members:
        if one.error is not None:
            raise one.error
    return [member.bound for member in members]
