"""Sparse matrices, as scipy.sparse.save_npz and anndata write them: rows are expanded a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.checks import check_numbers
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.pixels import levels_of
from vaecli.datasets.reading.report import FileReading, number
from vaecli.datasets.split import STATISTICS_CHUNK
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory
from vaecli.utils.text import plural


class SparseRows:
    """The rows of a compressed matrix (N, d), used like a float32 tensor: indexing returns them with their zeros.

    It has the methods that splits and readers use of a tensor that stays in a file.
    """

    dtype = torch.float32
    device = torch.device("cpu")
    ndim = 2

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.matrix.shape)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        rows = index.numpy() if isinstance(index, Tensor) else index
        return torch.from_numpy(self.matrix[rows].toarray().astype(np.float32, copy=False))

    def to(self, *args: Any) -> Tensor:
        """All rows, zeros included."""
        return self[slice(None)].to(*args)

    def numel(self) -> int:
        return math.prod(self.shape)

    def element_size(self) -> int:
        return 4

    def is_floating_point(self) -> bool:
        return True


def is_sparse(keys: Sequence[str]) -> bool:
    """Whether an archive with these arrays holds such a matrix."""
    return {"format", "shape", "data"} <= set(keys)


def read_sparse(what: str, path: Path, choice: ReadOptions) -> Content:
    """The matrix in an .npz file; UserError if its indices do not fit its shape."""
    from scipy import sparse

    with np.load(path, allow_pickle=False) as archive:
        shape = tuple(int(n) for n in archive["shape"].ravel())
    check_batch(what, shape)
    try:
        matrix = sparse.load_npz(path)
        matrix.check_format(full_check=True) if hasattr(matrix, "check_format") else None
        rows = matrix.tocsr()
    except (ValueError, TypeError, LookupError, NotImplementedError, AttributeError):
        raise UserError(
            f"{what}: is a sparse matrix whose indices do not fit its shape; save it again (scipy.sparse.save_npz)"
        ) from None
    return sparse_content(what, path, rows, choice, matrix.format)


def check_batch(what: str, shape: tuple[int, ...]) -> None:
    """UserError for rows of which a batch would not fit into memory."""
    n, d = shape if len(shape) == 2 else (1, math.prod(shape))
    needed = 8 * min(n, STATISTICS_CHUNK) * d
    check_memory(needed, f"{what}: {min(n, STATISTICS_CHUNK):,} rows of {d:,} numbers", "give fewer columns")


def sparse_content(what: str, path: Path, rows: Any, choice: ReadOptions, format: str) -> Content:
    """The rows of a compressed matrix as observations; UserError for what is not a matrix of numbers."""
    if rows.ndim != 2 or not rows.shape[0] or not rows.shape[1]:
        raise UserError(f"{what}: is a sparse matrix of shape {rows.shape}; expected (N, d)")
    check_numbers(what, rows.data if len(rows.data) else np.zeros(1, rows.dtype))
    if choice.x_shape is not None and rows.shape[1:] != choice.x_shape:
        raise UserError(f"{what}: has shape {rows.shape}; expected (N, {', '.join(map(str, choice.x_shape))})")
    rows.sum_duplicates()
    levels = levels_of(what, rows.data, choice) if len(rows.data) else 1
    n, d = rows.shape
    zeros = len(rows.data) < n * d
    ends = [float(value) for value in (rows.data.min(), rows.data.max())] if len(rows.data) else [0.0, 0.0]
    low, high = (min(ends[0], 0.0), max(ends[1], 0.0)) if zeros else (ends[0], ends[1])
    how = f"a sparse matrix ({format}, {len(rows.data) / (n * d):.1%} of it not zero), expanded a batch at a time"
    reading = FileReading(
        str(path), path.suffix.lower().removeprefix("."), n, (d,), f"{plural(n, 'vector')} of {plural(d, 'number')}",
        (how,), {"type": str(rows.dtype), "levels": levels}, low=number(low), high=number(high),
    )  # fmt: skip
    return Content(cast(Tensor, SparseRows(rows)), None, reading, levels=levels, mapped=True)
