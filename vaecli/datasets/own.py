"""Splits by fraction, limits and label codes, for the data sets of a user's own files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vaecli.datasets.reading.content import Classes, as_classes
from vaecli.datasets.split import Split
from vaecli.utils.errors import UserError

ValFraction = Annotated[float, Field(ge=0, lt=1)]
TestFraction = Annotated[float, Field(gt=0, lt=1)]


class Rows(NamedTuple):
    """Which observations are in which split; None for a split that comes from elsewhere."""

    train: Tensor  # (N,), int64
    val: Tensor | None
    test: Tensor | None


def split_rows(what: str, n: int, val: float, test: float, seed: int) -> Rows:
    """The split of n observations, shuffled by `seed`: a fraction `test`, a fraction `val`, the rest for training.

    A fraction above 0 gives at least one observation. The test part does not depend on `val`.
    """
    n_test, n_val = (max(1, round(fraction * n)) if fraction else 0 for fraction in (test, val))
    if n - n_test - n_val < 1:
        wanted = [f"{n_test:,} to test"] * bool(n_test) + [f"{n_val:,} to validate"] * bool(n_val)
        raise UserError(
            f"{what}: {n:,} {'observation is' if n == 1 else 'observations are'} too few: {' and '.join(wanted)} leave "
            "none to train on; "
            "lower dataset.test_fraction or dataset.val_fraction (0: no validation), or give more data"
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts = order.split([n_test, n_val, n - n_test - n_val])
    return Rows(parts[2], parts[1] if n_val else None, parts[0] if n_test else None)


def split_groups(what: str, sizes: Sequence[int], val: float, test: float, seed: int) -> tuple[Rows, str]:
    """As `split_rows`, for groups of observations that follow one another, such as the pages of files.

    Each group goes into one split as a whole. Also returns a description of how they were split.
    sizes: observations of each group. If whole groups would leave less than half of all for training, the observations
    are split in their order instead, the first for training, the last for testing. Neighbouring observations are then
    in different splits at two places only.
    """
    n, drawn = sum(sizes), f"drawn by dataset.split_seed={seed}"
    rows = split_rows(what, n, val, test, seed)
    if n == len(sizes):
        return rows, drawn
    n_val, n_test = len(rows.val if rows.val is not None else ()), len(rows.test if rows.test is not None else ())
    left = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).tolist()
    tested, left = some_groups(left, sizes, n_test)
    validated, left = some_groups(left, sizes, n_val)
    if 2 * sum(sizes[group] for group in left) >= n:
        each = torch.arange(n).split(list(sizes))
        held = (torch.cat([each[group] for group in groups]) if groups else None for groups in (validated, tested))
        return Rows(torch.cat([each[group] for group in left]), *held), f"whole files {drawn}"
    train, validate, tests = torch.arange(n).split([n - n_val - n_test, n_val, n_test])
    in_order = Rows(train, validate if n_val else None, tests if n_test else None)
    return in_order, "the pages in their order, because there are too few files to draw from"


def some_groups(groups: Sequence[int], sizes: Sequence[int], n: int) -> tuple[list[int], list[int]]:
    """The first groups that hold at most n observations together, or the smallest one; and the others."""
    chosen: dict[int, None] = {}
    for group in groups:
        if sizes[group] <= n:
            chosen[group] = None
            n -= sizes[group]
    if n and not chosen and groups:
        chosen = {min(groups, key=lambda group: sizes[group]): None}
    return list(chosen), [group for group in groups if group not in chosen]


class Labels(NamedTuple):
    """The labels of several parts, with the same codes in all."""

    values: list[Tensor | None]  # of each part: classes (N,) int64, or numbers (N,) or (N, d) float32
    names: tuple[str, ...] | None  # of the classes, where they were text


def code_labels(parts: Sequence[np.ndarray | Classes | None]) -> Labels:
    """Labels as numbers: a text becomes its index among all texts in alphabetical order."""
    if not any(isinstance(part, Classes) for part in parts):
        numbers = [part for part in parts if not isinstance(part, Classes)]
        return Labels([None if part is None else number_labels(part) for part in numbers], None)
    texts = [None if part is None else part if isinstance(part, Classes) else as_classes(part) for part in parts]
    names = sorted({name for part in texts if part is not None for name in part.names})
    places = {name: k for k, name in enumerate(names)}
    codes = [None if part is None else torch.from_numpy(np.array([places[name] for name in part.names])[part.codes])
             for part in texts]  # fmt: skip
    return Labels(codes, tuple(names))


def number_labels(values: np.ndarray) -> Tensor:
    whole = values.dtype.kind in "bui" and values.ndim == 1
    return torch.from_numpy(values.astype(np.int64 if whole else np.float32))


def named_labels(labels: Sequence[str] | None, names: Sequence[str] | None) -> Tensor | None:
    """Classes (N,) int64 of labels that are names."""
    places = {name: k for k, name in enumerate(names or ())}
    return None if labels is None else torch.tensor([places[label] for label in labels])


def limited(n: int, labels: Tensor | None, limit: int | None, seed: int, spread: bool = False) -> Tensor:
    """The indices (M,) of at most `limit` of n observations, in order.

    These are the first ones, or with `spread` a random choice by `seed`, for files that may be sorted. Both include
    every class if the limit allows it.
    """
    if limit is None or limit >= n:
        return torch.arange(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)) if spread else torch.arange(n)
    if labels is None or labels.ndim > 1 or labels.is_floating_point():
        return order[:limit].sort().values
    kinds = labels[order]
    first = torch.tensor([int((kinds == kind).nonzero()[0]) for kind in kinds.unique()])
    if len(first) > limit or bool((first < limit).all()):
        return order[:limit].sort().values
    rest = torch.ones(n, dtype=torch.bool)
    rest[first] = False
    return order[torch.cat([first, rest.nonzero()[:, 0]])[:limit]].sort().values


def limited_part(part: Split, limit: int | None, seed: int, apart: bool = False) -> Split:
    """At most `limit` observations of a part, see `limited`; apart: it has a file of its own, which may be sorted."""
    if limit is None or limit >= len(part):
        return part
    return part.take(limited(len(part), part.y, limit, seed, apart))
