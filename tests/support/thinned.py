"""Families of cases, of which the default suite has a share and `make test-slow` or `make test-faults` the rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest


def every(n: int, cases: Iterable[Any], mark: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """Every n-th of them by default, from the first; the others under `mark`. A tuple is the arguments of one case."""
    return [marked(case) if i % n == 0 else marked(case, mark) for i, case in enumerate(cases)]


def each_once(*groups: Iterable[Any], mark: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """All combinations; by default as few as have each member of each group once, the others under `mark`."""
    sizes = [list(group) for group in groups]
    chosen = [tuple(i % len(group) for group in sizes) for i in range(max(map(len, sizes)))]
    return [
        marked(tuple(group[i] for group, i in zip(sizes, places, strict=True)), *[mark] * (places not in chosen))
        for places in itertools.product(*(range(len(group)) for group in sizes))
    ]


def marked(case: Any, *marks: pytest.MarkDecorator) -> Any:
    """The arguments of one case, with these marks added to its own."""
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, marks=(*case.marks, *marks), id=case.id)
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks)
