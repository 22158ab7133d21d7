"""Several minimisations of one function at once, so that each call of the function serves all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import OptimizeResult, minimize

Answer: TypeAlias = float | tuple[float, np.ndarray]  # a value at one point, with its gradient (D,) if `jac` is True
Options: TypeAlias = Mapping[str, float | bool | np.ndarray]


class Abandoned(Exception):
    """Ends a search whose answers nobody computes any more."""


def minimize_all(
    function: Callable[[np.ndarray], Sequence[Answer]],
    starts: np.ndarray,
    options: Sequence[Options],
    method: Literal["BFGS", "Nelder-Mead"],
    jac: bool | None,
    tick: Callable[[int], None] = lambda n: None,
) -> list[OptimizeResult]:
    """SciPy's `minimize` from each of the starts (R, D).

    function: points (r, D), at most R of them -> an answer for each; it is called in the caller's thread
    tick: called with 1 when a search has ended
    """
    asked: SimpleQueue[tuple[int, np.ndarray | OptimizeResult | BaseException]] = SimpleQueue()
    answers: list[SimpleQueue[Answer | None]] = [SimpleQueue() for _ in starts]

    def search(i: int) -> None:
        def at(z: np.ndarray) -> Answer:
            asked.put((i, z.copy()))
            answer = answers[i].get()
            if answer is None:
                raise Abandoned
            return answer

        try:
            asked.put((i, minimize(at, starts[i], jac=jac, method=method, options=options[i])))
        except BaseException as error:
            asked.put((i, error))

    for i in range(len(starts)):
        Thread(target=search, args=(i,), daemon=True).start()
    try:
        return collect(function, asked, answers, tick)
    finally:
        for queue in answers:  # after an error or Ctrl-C; a search that has ended reads no more
            queue.put(None)


def collect(
    function: Callable[[np.ndarray], Sequence[Answer]],
    asked: SimpleQueue[tuple[int, np.ndarray | OptimizeResult | BaseException]],
    answers: list[SimpleQueue[Answer | None]],
    tick: Callable[[int], None],
) -> list[OptimizeResult]:
    """Answers the searches, all of those that go on at once, until each has ended."""
    waiting: dict[int, np.ndarray] = {}
    results: dict[int, OptimizeResult] = {}
    while len(results) < len(answers):
        i, what = asked.get()
        if isinstance(what, BaseException):
            raise what
        if isinstance(what, OptimizeResult):
            results[i] = what
            tick(1)
        else:
            waiting[i] = what
        if waiting and len(waiting) + len(results) == len(answers):
            who = sorted(waiting)
            for one, answer in zip(who, function(np.stack([waiting[one] for one in who])), strict=True):
                answers[one].put(answer)
            waiting.clear()
    return [results[i] for i in range(len(answers))]
