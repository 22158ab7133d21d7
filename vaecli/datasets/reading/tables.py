"""Decides which columns of a table are observations, which one is the labels, and which are left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.column_checks import check_label_length, check_no_truth_values, check_numeric_columns
from vaecli.datasets.reading.columns import (
    are_numbers,
    counts_rows,
    in_order,
    needs_double,
    texts,
)
from vaecli.datasets.reading.content import Classes, Content, classes
from vaecli.datasets.reading.doubts import Ends, doubts
from vaecli.datasets.reading.names import check_none_missing, column_index, list_columns, written
from vaecli.datasets.reading.report import Column, FileReading, Labels, first_names, number
from vaecli.datasets.reading.table import Columns, Table
from vaecli.utils.columns import MAX_CATEGORIES
from vaecli.utils.command_line import word
from vaecli.utils.errors import UserError
from vaecli.utils.text import plural, printable, shorten

LABELS = ("label", "labels", "class", "target")  # names by which a column of labels is recognised
ROW_BLOCK = 8192  # rows
MISSING_LABEL = "missing"  # the name of a missing label


class Roles(NamedTuple):
    """The roles of the columns, by index."""

    x: list[int]
    label: int | None
    left_out: dict[str, str]  # names, and why


def table_content(what: str, path: Path, table: Table, choice: ReadOptions) -> Content:
    """The observations and labels of a table; UserError for an observed column that is not numeric."""
    if not table.columns or not len(table.columns[0]):
        raise UserError(f"{what}: there are no observations in it")
    columns = Columns(table, choice)
    roles = roles_of(what, columns, choice)
    known = dict(zip(roles.x, choice.categories or [None] * len(roles.x), strict=True))
    may_be_text = [i for i in roles.x if choice.mixed and (known[i] is not None or choice.categories is None)]
    coded = {i for i in may_be_text if columns.is_category(i)}
    check_numeric_columns(what, columns, [i for i in roles.x if i not in coded], choice)
    if not roles.x:
        raise UserError(f"{what}: no column of numbers is left; it has {list_columns(table.names)}")
    check_no_truth_values(what, columns, [i for i in roles.x if choice.mixed and i not in may_be_text])
    found = [column_values(what, columns, i, i in coded, known[i]) for i in roles.x]
    x, ends = matrix([one.x for one in found], choice)
    names = tuple(table.names[i] for i in roles.x)
    about = f"{what}: column {table.names[roles.label]}" if roles.label is not None else what
    labels, said = (None, None) if roles.label is None else label_values(about, columns, roles.label)
    reading = described(path, table, columns, roles, x.shape, ends, said)
    texts = tuple(one.texts for one in found) if choice.mixed else None
    return Content(torch.from_numpy(x), labels, reading, names, texts, double=x.dtype == np.float64)


class ColumnValues(NamedTuple):
    """A column as numbers (N,), and the texts of which they are codes, if they are."""

    x: np.ndarray
    texts: tuple[str, ...] | None


def column_values(what: str, columns: Columns, i: int, is_text: bool, known: Sequence[str] | None) -> ColumnValues:
    """A column's numbers, or the codes of its texts; UserError for a text that is none of the known categories."""
    if known is None and not is_text and not (columns.mixed and columns.kind(i) == "truth values"):
        return ColumnValues(columns.values(i), None)
    cells, codes = columns.categories(i)
    texts = tuple(known) if known is not None else tuple(in_order(cells, columns.arrow[i]))
    places = {text: float(k) for k, text in enumerate(texts)}
    if wrong := [cell for cell in cells if cell not in places]:
        row = int((codes == cells.index(wrong[0])).argmax()) + 1
        of = ", ".join(shorten(printable(text), 30) for text in texts[:10]) + (", ..." if len(texts) > 10 else "")
        raise UserError(f"{what}: column {columns.names[i]}: {wrong[0][:40]!r} in row {row:,} is not one of the run's "
                        f"categories ({of}); correct it, or empty the cell")  # fmt: skip
    numbers = np.array([places[cell] for cell in cells] + [np.nan])
    return ColumnValues(numbers[codes], texts)


def matrix(values: Sequence[np.ndarray], choice: ReadOptions) -> tuple[np.ndarray, list[Ends]]:
    """Columns (N, d), float32, or float64 if asked for or if float32 would merge neighbours."""
    double = choice.precision == "double" or (choice.precision is None and any(map(needs_double, values)))
    x = np.empty((len(values[0]), len(values)), np.float64 if double else np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused later
        for start in range(0, len(x), ROW_BLOCK):  # so many rows of all columns fit into the processor's cache
            for j, column in enumerate(values):
                x[start : start + ROW_BLOCK, j] = column[start : start + ROW_BLOCK]
        return x, [ends_of(column, x.dtype) for column in values]


def ends_of(values: np.ndarray, dtype: np.dtype) -> Ends:
    """The range of numbers (N,) once they are of `dtype`."""
    low, high, missing = values.min(), values.max(), 0
    if np.isnan(low):
        missing = int(np.isnan(values).sum())
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    return Ends(float(str(dtype.type(low))), float(str(dtype.type(high))), missing)


def roles_of(what: str, columns: Columns, choice: ReadOptions) -> Roles:
    """The role of each column: from the user's keys, or else numbers are observations and classes are labels."""
    names, n = columns.names, len(columns.names)
    out = {
        column_index(what, "dataset.leave_out", name, names)
        for name in choice.leave_out
        if not choice.known or name in names
    }
    label = label_column(what, columns, choice, out)
    if choice.columns is not None:
        at = {name: i for i, name in enumerate(names)}
        pairs = zip(choice.columns, written(choice.columns), strict=True)
        taken = [at[own] if own in at else at.get(other, -1) for own, other in pairs]
        missing = [name for name, i in zip(choice.columns, taken, strict=True) if i < 0]
        check_none_missing(what, "dataset.columns", missing, len(taken), names)
        return Roles([i for i in taken if i not in out], label, {})
    why = {names[i]: "by dataset.leave_out" for i in sorted(out)}
    reasons = {i: no_data(columns, i) for i in range(n) if i != label and i not in out}
    why |= {names[i]: reason for i, reason in reasons.items() if reason}
    return Roles([i for i, reason in reasons.items() if not reason], label, why)


def no_data(columns: Columns, i: int) -> str | None:
    """The reason why a column is neither data nor labels; None if it may be either."""
    name, text = columns.names[i], columns.text(i)
    if counts_rows(name, columns.arrow[i]):
        return "counts the rows"
    if columns.mixed and text is not None and not text.is_number and len(text.cells) > MAX_CATEGORIES and text.repeat:
        return f"{len(text.cells):,} different texts are more than {MAX_CATEGORIES:,} categories"
    if text is None or text.is_number or text.n_numbers or text.decorated or text.are_classes:
        return None
    n = len(text.codes)
    labels = word("dataset.labels", name)
    return f"{len(text.cells):,} different texts in {n:,} rows are not classes; {labels} uses them as labels"


def label_column(what: str, columns: Columns, choice: ReadOptions, out: set[int]) -> int | None:
    """The index of the labels: what the user says, a column with a usual name, or the only column of classes."""
    names = columns.names
    if isinstance(choice.labels, str):
        if choice.known and choice.labels not in names:
            return None
        return column_index(what, "dataset.labels", choice.labels, names)
    if choice.labels is not None:
        return None
    columns_of_x = {*(choice.columns or ()), *written(choice.columns or ())}
    rest = [i for i, name in enumerate(names) if name not in columns_of_x and i not in out]
    called = [i for i in rest if names[i].lower() in LABELS]
    if called or choice.mixed:
        return called[0] if called else None
    looked = [(i, columns.text(i)) for i in rest]
    other = [i for i, text in looked if text is not None and text.n_strays and not no_data(columns, i)]
    text = columns.text(other[0]) if len(other) == 1 else None
    return other[0] if text is not None and text.are_classes else None


def label_values(what: str, columns: Columns, i: int) -> tuple[np.ndarray | Classes, Labels]:
    """Labels (N,): integers, numbers, or text for everything else; and their description."""
    import pyarrow as pa

    column, source = columns.arrow[i], ("column", columns.names[i])
    if pa.types.is_integer(column.type) and not column.null_count:
        whole: np.ndarray = column.cast(pa.int64()).to_numpy()
        return whole, whole_labels(source, whole)
    if are_numbers(column) and not pa.types.is_boolean(column.type):
        return columns.values(i), Labels(*source, "numbers")
    cells = columns.text(i) or texts(column.cast(pa.string()), ".", ())
    check_label_length(what, max(map(len, cells.cells), default=0))
    gaps = {"", *columns.missing}
    named = classes([MISSING_LABEL if cell.strip() in gaps else cell for cell in [*cells.cells, ""]], cells.codes)
    return named, Labels(*source, "classes", named.counts)


def whole_labels(source: tuple[str, str], values: np.ndarray) -> Labels:
    """The description of labels that are whole numbers: few different ones are classes."""
    kinds, counts = np.unique(values, return_counts=True)
    if len(kinds) > max(20, len(values) / 10):
        return Labels(*source, "whole numbers")
    return Labels(*source, "classes", {str(kind): int(n) for kind, n in zip(kinds, counts, strict=True)})


def described(
    path: Path, table: Table, columns: Columns, roles: Roles, shape: tuple[int, ...], ends: Sequence[Ends],
    labels: Labels | None,
) -> FileReading:  # fmt: skip
    """The report of what was read."""
    n, d = shape
    names = [table.names[i] for i in roles.x]
    described_columns = tuple(
        Column(name, "text", None, None, end.missing)
        if columns.mixed and columns.is_category(i)
        else Column(name, columns.kind(i), number(end.low), number(end.high), end.missing)
        for i, name, end in zip(roles.x, names, ends, strict=True)
    )
    missing = sum(end.missing for end in ends)
    how = [*table.how, f"{plural(missing, 'cell')} missing" if missing else "none missing"]
    kind = "column" if columns.mixed and any(map(columns.is_category, roles.x)) else "number"
    rows = f"{plural(n, 'row')} of {plural(d, kind)} ({first_names(names)})"
    low, high = np.fmin.reduce([end.low for end in ends]), np.fmax.reduce([end.high for end in ends])
    return FileReading(
        str(path), path.suffix.lower().removeprefix("."), n, (d,), rows, tuple(how), table.layout, described_columns,
        labels, number(float(low)), number(float(high)), missing, roles.left_out,
        notes=(*table.notes, *doubts(columns, roles.x, ends)),
    )  # fmt: skip
