"""Notes on cells of a table that may have another meaning than they were read with, and what to do then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vaecli.datasets.reading.cells import normalise
from vaecli.datasets.reading.table import Columns
from vaecli.utils.command_line import word

SUMMARIES = {"total", "totals", "grand total", "sum", "mean", "average", "median", "summe", "gesamt", "mittelwert"}
STAND_INS = {float(sign * (10**k - 1)) for k in (2, 3, 4, 5, 6) for sign in (1, -1)}  # 99, -999 ...: maybe missing
FAR = 2  # least distance of a stand-in from the other numbers, in their range
MAX_NOTES = 3  # columns that are named


class Ends(NamedTuple):
    """The range of a column, NaN if it has no numbers, and how many cells are missing."""

    low: float
    high: float
    missing: int


def doubts(columns: Columns, taken: Sequence[int], ends: Sequence[Ends]) -> list[str]:
    """The notes; ends: of the columns that are taken for observations."""
    odd = (note for i, end in zip(taken, ends, strict=True) for note in stand_ins(columns, i, end))
    first = [note for note, _ in zip(odd, range(MAX_NOTES), strict=False)]
    return [*thousands(columns, taken), *summaries(columns), *first]


def thousands(columns: Columns, taken: Sequence[int]) -> list[str]:
    """Notes on columns whose numbers are read with thousands separators."""
    sign, other = (".", "point") if columns.decimal == "," else (",", "comma")
    notes = []
    for i in taken:
        text = None if columns.mixed and columns.is_category(i) else columns.looked.get(i)
        at = next((k for k, cell in enumerate(text.cells) if sign in cell), None) if text else None
        if text and at is not None:
            read = f"{text.cells[at].strip()} as {text.values[at]:.10g}"
            notes.append(f"column {columns.names[i]} is read with thousands separators, {read}; "
                         f"dataset.decimal={other} reads the {other} as the decimal sign")  # fmt: skip
    return notes


def summaries(columns: Columns) -> list[str]:
    """Notes on a last row that a spreadsheet may have computed from the others: a text calls it Total, Mean ..."""
    for i, text in columns.looked.items():
        last = int(text.codes[-1])
        called = text.cells[last] if last < len(text.cells) and text.counts[last] == 1 else ""
        if normalise(called).rstrip(":").lower() in SUMMARIES:
            return [f"the last row is an observation, and column {columns.names[i]} calls it {called.strip()!r}; "
                    "remove it if it is computed from the others"]  # fmt: skip
    return []


def stand_ins(columns: Columns, i: int, end: Ends) -> Iterator[str]:
    """Notes on numbers such as -999 and 9999 that lie far from all others of their column."""
    for one in STAND_INS & {end.low, end.high}:
        numbers = columns.values(i)
        others = numbers[np.isfinite(numbers) & (numbers != one)]
        if len(others) < FAR or np.abs(others - one).min() <= FAR * np.ptp(others):
            continue
        n = int((numbers == one).sum())
        missing = word("dataset.missing_values", [*columns.missing, f"{one:.0f}"])
        rest = f"the others are {others.min():g} to {others.max():g}"
        yield (f"column {columns.names[i]} holds {one:.0f} in {n:,} row{'s' * (n > 1)}, read as a number; {rest}; "
               f"{missing} dataset.missing=mask reads it as missing")  # fmt: skip
