"""How a run computes its steps: as plain PyTorch, from a recorded graph, or from compiled kernels."""

from __future__ import annotations

import os
import shutil
from typing import Literal, NamedTuple

from torch import nn

RECORD_FROM = 2_000  # steps: recording takes as long as some hundred steps and saves a tenth of each, or more
COMPILE_FROM = 500_000  # steps: compiling takes up to a minute and saves some 0.1 ms of each
OWN = {"torch", "vaecli"}  # packages whose classes run the same operations in every step, so that they can be recorded


class Execution(NamedTuple):
    """What runs between a batch and its gradients."""

    recorded: bool
    compiled: bool = False
    remark: str | None = None  # a line for the user


def choose_execution(wanted: Literal["auto"] | bool, loss: nn.Module, steps: int) -> Execution:
    """How a run of `steps` steps in total is computed; a resumed run gets the same answer.

    `auto` records from RECORD_FROM steps on, if all classes are vaecli's or torch's; the Python code of other classes
    may do something else in each step. It compiles from COMPILE_FROM steps on. `true` does both, `false` neither.
    """
    if wanted is False:
        return Execution(recorded=False)
    if wanted == "auto" and (steps < RECORD_FROM or not only_known_classes(loss)):
        return Execution(recorded=False)
    if wanted == "auto" and steps < COMPILE_FROM:
        return Execution(recorded=True)
    if not has_compiler():
        return Execution(recorded=True, remark="not compiled: there is no C++ compiler (g++, clang++ or $CXX)")
    return Execution(recorded=True, compiled=True, remark="compiling the step, which takes up to a minute")


def only_known_classes(loss: nn.Module) -> bool:
    """Whether a LossModule's objective, and all parts of its model, are classes of OWN packages."""
    parts = [*loss.modules(), loss.objective]
    return all(type(part).__module__.partition(".")[0] in OWN for part in parts)


def has_compiler() -> bool:
    return any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++"))))
