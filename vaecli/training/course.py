"""A run as a course of passes over its training data, which are taken by whoever follows it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from vaecli.training.trainer import Trainer

T = TypeVar("T")
# Yields the trainer whose next pass is due, is sent what `Trainer.train_epoch` returns, and ends with a T.
Course = Generator["Trainer", dict[str, float] | None, T]


def finish(course: Course[T]) -> T:
    """Follow a course to its end, each pass taken as the trainer takes it."""
    try:
        trainer = next(course)
        while True:
            trainer = one_pass(course, trainer)
    except StopIteration as end:
        result: T = end.value
        return result


def one_pass(course: Course[T], trainer: Trainer) -> Trainer:
    """Take the pass that is due; what it raises is raised in the course. The trainer that is due next."""
    try:
        means = trainer.train_epoch(trainer.epoch + 1)
    except BaseException as error:
        return course.throw(error)
    return course.send(means)
