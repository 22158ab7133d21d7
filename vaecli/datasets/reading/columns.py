"""A column of a table: numbers, or text that may be numbers after all, classes, or the names of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaecli.datasets.reading.cells import MISSING, form, is_clothed, plain, value

FIRST = 1000  # different texts from which it is told whether any number is among them
FEW = 20  # different texts are classes however few rows there are, if not each row has its own
DIGITS, WHOLE = 1e-4, 1e-7  # of a column's spread: rounding beyond is too much, where all are whole numbers too


class Texts(NamedTuple):
    """A column of text: its different cells, and what they are."""

    cells: list[str]
    counts: np.ndarray  # (K,): rows with each of them
    codes: np.ndarray  # (N,): each row's cell; K for what is missing
    values: list[float | None]  # the numbers that the cells stand for; NaN for missing
    clothed: int  # rows with a number and something about it, as in 5%

    @property
    def n_numbers(self) -> int:
        return int(sum(n for n, one in zip(self.counts, self.values, strict=True) if one is not None and one == one))

    @property
    def n_missing(self) -> int:
        gaps = sum(n for n, one in zip(self.counts, self.values, strict=True) if one is not None and one != one)
        return int(gaps) + int((self.codes == len(self.cells)).sum())

    @property
    def n_strays(self) -> int:
        """Rows whose cell is no number."""
        return int(sum(n for n, one in zip(self.counts, self.values, strict=True) if one is None))

    @property
    def is_number(self) -> bool:
        """Whether most of it is numbers, or looks like some."""
        n = self.n_numbers
        return (n > 0 and n >= self.n_strays) or self.clothed > len(self.codes) / 2

    @property
    def repeat(self) -> bool:
        """Whether few rows, if any, have a text of their own."""
        n, k = len(self.codes) - self.n_missing, len(self.cells)
        return k <= max(n / 2, min(n - 1, FEW))

    @property
    def are_classes(self) -> bool:
        """Whether it is text alone that names classes, not rows."""
        return self.n_numbers == 0 and self.clothed == 0 and self.repeat

    def as_text(self) -> Texts:
        """The same where no cell stands for a number."""
        return self._replace(values=[None] * len(self.cells), clothed=0)

    def strays(self, most: int = 3) -> list[tuple[str, int]]:
        """The first cells that are no numbers and their rows, counted from 1 below the header."""
        wrong = {k for k, one in enumerate(self.values) if one is None}
        rows = np.flatnonzero(np.isin(self.codes, list(wrong)))
        found: dict[str, int] = {}
        for row in rows.tolist():
            found.setdefault(self.cells[self.codes[row]], row + 1)
            if len(found) == most:
                break
        return list(found.items())

    def numbers(self) -> np.ndarray:
        """The column as float64 (N,), NaN for what is missing."""
        table = np.array([np.nan if one is None else one for one in self.values] + [np.nan])
        numbers: np.ndarray = table[self.codes]
        return numbers


def texts(column: Any, decimal: str | None, missing: Sequence[str]) -> Texts:
    """A pyarrow column of text, its cells told apart; `decimal` as in Layout."""
    coded = column if is_coded(column) else column.dictionary_encode()
    coded = coded.unify_dictionaries().combine_chunks()
    cells = [str(cell) for cell in coded.dictionary.to_pylist()]
    index = coded.indices.fill_null(len(cells)).to_numpy()
    counts = np.bincount(index, minlength=len(cells) + 1)[: len(cells)]
    gaps = {*MISSING, *missing}
    start = [value_or_gap(cell, decimal, gaps) for cell in cells[:FIRST]]
    some = any(one is not None for one in start) or any(map(is_clothed, cells[:FIRST]))
    values = start + [value_or_gap(cell, decimal, gaps) if some else None for cell in cells[FIRST:]]
    pairs = zip(cells, values, counts, strict=True)
    clothed = sum(int(n) for cell, one, n in pairs if some and one is None and is_clothed(cell))
    return Texts(cells, counts, index, values, clothed)


def value_or_gap(cell: str, decimal: str | None, gaps: set[str]) -> float | None:
    """The number in a cell; NaN where it is missing, None where it is text."""
    if plain(cell) in gaps:
        return np.nan
    if decimal is None and form(cell) == "either":
        return None
    return value(cell, decimal or ".")


def are_numbers(column: Any) -> bool:
    import pyarrow as pa

    kinds = pa.types
    of = (kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_boolean, kinds.is_null)
    return any(is_kind(column.type) for is_kind in of)


def is_coded(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(column.type))


def is_text(column: Any) -> bool:
    import pyarrow as pa

    of = column.type.value_type if is_coded(column) else column.type
    return bool(pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_string_view(of))


def kind_of(column: Any) -> str:
    """What a column of numbers is, in words."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        return "truth values"
    return "whole numbers" if pa.types.is_integer(column.type) else "numbers"


def numbers(column: Any, missing: Sequence[str] = ()) -> np.ndarray:
    """A pyarrow column of numbers as float64 (N,), NaN for what is missing."""
    import pyarrow as pa

    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    found: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
    sentinels = [float(one) for one in missing if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", one)]
    return np.where(np.isin(found, sentinels), np.nan, found) if sentinels else found


def needs_double(values: np.ndarray) -> bool:
    """Whether float32 would merge neighbours: its rounding is no small part of how far the values (N,) lie apart."""
    some = values[:: max(1, len(values) // 10_000)]
    some = some[np.isfinite(some)]
    if not len(some) or bool((some.astype(np.float32) == some).all()):
        return False
    places = np.array([0.25, 0.5, 0.75]) * (len(some) - 1)  # as numpy.percentile, which takes ten times as long
    low, middle, high = np.interp(places, np.arange(len(some)), np.sort(some))
    spread, step = high - low or float(np.ptp(some)), float(np.spacing(np.float32(abs(middle))))
    return step > (WHOLE if bool((some == np.rint(some)).all()) else DIGITS) * spread > 0


def counts_rows(name: str, column: Any) -> bool:
    """Whether it is the number of the row, which a table saved by pandas or R begins with."""
    import pyarrow as pa

    if name not in ("", "Unnamed: 0", "__index_level_0__", "rownames") or not pa.types.is_integer(column.type):
        return False
    found = column.to_numpy()
    return len(found) > 0 and bool((found == np.arange(len(found)) + found[0]).all())


def first_text(column: Any) -> tuple[int, str]:
    """The first value of a column that is no number, and its row, counted from 1 below the header."""
    for row, scalar in enumerate(column, 1):
        found = scalar.as_py()
        if found is None or found == "":
            continue
        try:
            float(found)
        except (TypeError, ValueError):
            return row, str(found)
    return 1, str(column[0])
