"""The result of every reader of files, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from vaecli.datasets.reading.report import FileReading

PER_CELL = 16  # bytes: float64, float32, and float32 again in a part of the data
PER_COLUMN = 10_000  # bytes
AS_NEEDED = "save it as float32 .npy, which is read a batch at a time"


class Classes(NamedTuple):
    """Labels that are text, each stored once."""

    names: list[str]  # in alphabetical order
    codes: np.ndarray  # (N,): the index of each label among the names

    @property
    def counts(self) -> dict[str, int]:
        """The number of labels with each name."""
        return dict(zip(self.names, np.bincount(self.codes, minlength=len(self.names)).tolist(), strict=True))


def classes(cells: Sequence[str], codes: np.ndarray) -> Classes:
    """The labels that `codes` (N,) take from cells, which may repeat; unused cells are left out."""
    used = np.bincount(codes, minlength=len(cells)) > 0
    names = sorted({cell for cell, there in zip(cells, used, strict=True) if there})
    places = {name: k for k, name in enumerate(names)}
    return Classes(names, np.array([places.get(cell, 0) for cell in cells], np.int64)[codes])


def as_classes(labels: np.ndarray) -> Classes:
    """Labels (N,) of any type as texts."""
    kinds, codes = np.unique(labels, return_inverse=True)
    return classes([str(kind) for kind in kinds], codes.ravel())


class Content(NamedTuple):
    """The content of a file."""

    x: Tensor  # (N, *x_shape), whole numbers or float32, float64 where float32 has too few digits; mapped: any type
    labels: np.ndarray | Classes | None  # numbers (N,) or (N, d), or text
    reading: FileReading
    names: tuple[str, ...] | None = None  # of the columns of a table
    categories: tuple[tuple[str, ...] | None, ...] | None = None  # of a table's columns: the texts of codes
    levels: int = 1  # the value of x that stands for 1.0
    mapped: bool = False  # x stays in the file, mapped into memory
    double: bool = False  # float32 has too few digits for it
    items: Sequence[str] | None = None  # the name of each observation: the file of a picture
    rows: Tensor | None = None  # (N,): which row of the file each observation begins with; None: each is the next one
