"""What every reader of files hands on, and what it costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from vaecli.datasets.reading.report import FileReading

PER_CELL = 16  # bytes: float64, float32, and float32 again in a part of the data
PER_COLUMN = 10_000  # bytes
AS_NEEDED = "save it as float32 .npy, which is read as needed"


class Content(NamedTuple):
    """What a file holds."""

    x: Tensor  # (N, *x_shape), whole numbers or float32, float64 where float32 has too few digits; mapped: any type
    labels: np.ndarray | None  # (N,) or (N, d), text or numbers
    reading: FileReading
    names: tuple[str, ...] | None = None  # of the columns of a table
    levels: int = 1  # the value of x that stands for 1.0
    mapped: bool = False  # x stays in the file
    double: bool = False  # float32 has too few digits for it
