"""Writes the files of commands: arrays and tables."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from vaecli.models.load import Run
from vaecli.utils.columns import ColumnKind
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_file
from vaecli.utils.text import csv_line, headings

T = TypeVar("T")

WRITTEN_AT_ONCE = 10_000  # rows of a table whose cells are texts at the same time


class Chunks(NamedTuple):
    """An array that is computed part by part while it is written."""

    shape: tuple[int, ...]
    parts: Iterable[Tensor]  # on the CPU, together of that shape
    dtype: torch.dtype = torch.float32


def write_arrays(path: Path, **arrays: Any) -> None:
    """Named arrays, tensors and Chunks to a compressed .npz file; None is left out."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, value in arrays.items():
                if value is not None:
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        _write_array(member, value)

    replace_file(path, write)


def _write_array(member: IO[bytes], value: Any) -> None:
    if not isinstance(value, Chunks):
        plain = value.cpu() if isinstance(value, Tensor) else value
        np.lib.format.write_array(member, np.asanyarray(plain), allow_pickle=False)
        return
    kind = {torch.float32: "<f4", torch.float64: "<f8"}[value.dtype]
    header = {"descr": kind, "fortran_order": False, "shape": value.shape}
    np.lib.format.write_array_header_1_0(member, header)
    for part in value.parts:
        member.write(part.contiguous().numpy().astype(kind, copy=False).tobytes())


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Columns (N,) by their names, tensors of numbers or texts, to a .csv file; None is left out."""
    there = {name: values for name, values in columns.items() if values is not None}

    def write(file: IO[bytes]) -> None:
        file.write(csv_line(headings(list(there))).encode())
        for start in range(0, max(map(len, there.values()), default=0), WRITTEN_AT_ONCE):
            part = slice(start, start + WRITTEN_AT_ONCE)
            for row in zip(*(cells_of(values[part]) for values in there.values()), strict=True):
                file.write(csv_line(row).encode())

    replace_file(path, write)


def cells_of(values: Any) -> Sequence[Any]:
    """A column's texts, or its numbers with all their digits; a missing number (NaN) is an empty cell."""
    if not isinstance(values, Tensor):
        return values
    if not values.is_floating_point():
        return values.tolist()
    if values.dtype == torch.float64:
        return ["" if v != v else double(v) for v in values.tolist()]
    return ["" if v != v else np.format_float_positional(v, trim="-") for v in values.float().numpy() + 0.0]  # no -0


def double(value: float) -> str:
    """A number with the 15 digits that float64 holds exactly, or all digits of a whole number."""
    return str(int(value)) if value.is_integer() else np.format_float_positional(
        value, precision=15, fractional=False, trim="-")  # fmt: skip


def column_titles(run: Run) -> list[str]:
    """The column names of a table of observations; UserError for images."""
    if len(run.model.x_shape) != 1:
        raise UserError("format=csv: is for tables and curves, and this run is on images; use format=npz or png")
    names = run.dataset.names
    (n,) = run.model.x_shape
    return list(names) if names and len(names) == n else [f"x_{i + 1}" for i in range(n)]


def rename_clashing_columns(titles: Sequence[str], columns: Mapping[str, T]) -> dict[str, T]:
    """Further columns for a table of the data's columns `titles`: one of the same name is renamed."""
    renamed = {}
    for title, values in columns.items():
        while title in titles:
            title += "_2"
        renamed[title] = values
    return renamed


def by_title(run: Run, titles: Sequence[str], x: Tensor) -> dict[str, Tensor | list[str]]:
    """The columns of x (N, P) as the run's table has them: categories as texts, whole numbers without a fraction."""
    kinds = run.dataset.column_kinds
    if kinds is None:
        return dict(zip(titles, x.unbind(1), strict=True))
    texts = run.dataset.categories or [None] * len(titles)
    several = zip(titles, x.unbind(1), kinds, texts, strict=True)
    return {title: as_in_table(values, kind, categories) for title, values, kind, categories in several}


def as_in_table(x: Tensor, kind: ColumnKind, categories: Sequence[str] | None) -> Tensor | list[str]:
    """A column (N,) as its table has it; a missing category is an empty text."""
    if categories is not None:
        return ["" if code != code else categories[round(code)] for code in x.tolist()]
    return x.round() if kind.whole else x


def class_names(y: Tensor | None, names: Sequence[str] | None) -> Sequence[str] | None:
    """The names of classes; None where there are no classes, or they are called 0, 1, 2 ..."""
    numbered = not names or list(names) == [str(k) for k in range(len(names))]
    return None if numbered or y is None or y.ndim > 1 or y.is_floating_point() else names
