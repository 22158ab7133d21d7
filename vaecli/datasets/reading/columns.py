"""A column of a table: numbers, or text that may be numbers, classes, or names of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaecli.datasets.reading.cells import MISSING, form, is_decorated, normalise, value

SAMPLED_TEXTS = 1000  # different texts that are searched for numbers
ALWAYS_CLASSES = 20  # up to this many different texts are classes, unless every row has its own
ROUNDING_OF_REALS, ROUNDING_OF_INTEGERS = (
    1e-4,
    1e-7,
)  # the largest acceptable rounding, relative to a column's spread, of reals and of whole numbers


SCALES = tuple(line.split(" < ") for line in (
    "very low < low < medium < moderate < high < very high",
    "none < minimal < mild < moderate < severe < very severe",
    "never < rarely < seldom < sometimes < often < usually < always",
    "strongly disagree < disagree < neutral < agree < strongly agree",
    "very dissatisfied < dissatisfied < neutral < satisfied < very satisfied",
    "very poor < poor < fair < good < very good < excellent",
    "tiny < small < medium < large < huge",
    "xxs < xs < s < m < l < xl < xxl < xxxl",
))  # fmt: skip


def in_order(cells: Sequence[str], column: Any) -> list[str]:
    """Different texts in the order of a pyarrow column of ordered categories, or of a known scale with three of its
    texts or more; else in alphabetical order."""
    if is_coded(column) and column.type.ordered and column.num_chunks:
        places = {str(text).strip(): i for i, text in enumerate(column.chunk(0).dictionary.to_pylist())}
        if all(cell in places for cell in cells):
            return sorted(cells, key=places.__getitem__)
    lower = {cell.lower(): cell for cell in cells}
    for scale in SCALES if 3 <= len(lower) == len(cells) else ():
        if set(lower) <= set(scale):
            return [lower[word] for word in scale if word in lower]
    return sorted(cells)


class Texts(NamedTuple):
    """A column of text: its different cells, and their values."""

    cells: list[str]
    counts: np.ndarray  # (K,): rows with each of them
    codes: np.ndarray  # (N,): the index of each row's cell; K for a missing one
    values: list[float | None]  # the numbers that the cells stand for; NaN for missing
    decorated: int  # rows with a number and a sign or unit, as in 5%

    @property
    def n_numbers(self) -> int:
        return int(sum(n for n, one in zip(self.counts, self.values, strict=True) if one is not None and one == one))

    @property
    def n_missing(self) -> int:
        gaps = sum(n for n, one in zip(self.counts, self.values, strict=True) if one is not None and one != one)
        return int(gaps) + int((self.codes == len(self.cells)).sum())

    @property
    def n_strays(self) -> int:
        """Rows whose cell is not a number."""
        return int(sum(n for n, one in zip(self.counts, self.values, strict=True) if one is None))

    @property
    def is_number(self) -> bool:
        """Whether most cells are numbers, or look like numbers."""
        n = self.n_numbers
        return (n > 0 and n >= self.n_strays) or self.decorated > len(self.codes) / 2

    @property
    def repeat(self) -> bool:
        """Whether texts repeat, so that few rows, if any, have a text that no other row has."""
        n, k = len(self.codes) - self.n_missing, len(self.cells)
        return k <= max(n / 2, min(n - 1, ALWAYS_CLASSES))

    @property
    def are_classes(self) -> bool:
        """Whether the column is text that names classes, not rows."""
        return self.n_numbers == 0 and self.decorated == 0 and self.repeat

    def as_text(self) -> Texts:
        """The same column with no cell read as a number."""
        return self._replace(values=[None] * len(self.cells), decorated=0)

    def strays(self, most: int = 3) -> list[tuple[str, int]]:
        """The first cells that are not numbers, and their rows, counted from 1 below the header."""
        wrong = {k for k, one in enumerate(self.values) if one is None}
        rows = np.flatnonzero(np.isin(self.codes, list(wrong)))
        first_rows: dict[str, int] = {}
        for row in rows.tolist():
            first_rows.setdefault(self.cells[self.codes[row]], row + 1)
            if len(first_rows) == most:
                break
        return list(first_rows.items())

    def numbers(self) -> np.ndarray:
        """The column as float64 (N,), NaN for missing cells."""
        table = np.array([np.nan if one is None else one for one in self.values] + [np.nan])
        numbers: np.ndarray = table[self.codes]
        return numbers


def texts(column: Any, decimal: str | None, missing: Sequence[str]) -> Texts:
    """A pyarrow column of text, with its different cells and their values; `decimal` as in Layout."""
    coded = column if is_coded(column) else column.dictionary_encode()
    coded = coded.unify_dictionaries().combine_chunks()
    cells = [str(cell) for cell in coded.dictionary.to_pylist()]
    index = coded.indices.fill_null(len(cells)).to_numpy()
    counts = np.bincount(index, minlength=len(cells) + 1)[: len(cells)]
    gaps = {*MISSING, *missing}
    start = [value_or_gap(cell, decimal, gaps) for cell in cells[:SAMPLED_TEXTS]]
    some = any(one is not None for one in start) or any(map(is_decorated, cells[:SAMPLED_TEXTS]))
    values = start + [value_or_gap(cell, decimal, gaps) if some else None for cell in cells[SAMPLED_TEXTS:]]
    pairs = zip(cells, values, counts, strict=True)
    decorated = sum(int(n) for cell, one, n in pairs if some and one is None and is_decorated(cell))
    return Texts(cells, counts, index, values, decorated)


def value_or_gap(cell: str, decimal: str | None, gaps: set[str]) -> float | None:
    """The number in a cell; NaN if it is missing, None if it is text."""
    if normalise(cell) in gaps:
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
    """A pyarrow column of numbers as float64 (N,), NaN for missing cells."""
    import pyarrow as pa

    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    column = column if pa.types.is_float64(column.type) else column.cast(pa.float64(), safe=False)
    values: np.ndarray = column.to_numpy()
    sentinels = [float(one) for one in missing if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", one)]
    return np.where(np.isin(values, sentinels), np.nan, values) if sentinels else values


def needs_double(values: np.ndarray) -> bool:
    """Whether float32 would merge neighbouring values (N,): its rounding is large relative to their spread."""
    some = values[:: max(1, len(values) // 10_000)]
    some = some[np.isfinite(some)]
    if not len(some) or bool((some.astype(np.float32) == some).all()):
        return False
    places = np.array([0.25, 0.5, 0.75]) * (len(some) - 1)  # as numpy.percentile, which takes ten times as long
    low, middle, high = np.interp(places, np.arange(len(some)), np.sort(some))
    spread, step = high - low or float(np.ptp(some)), float(np.spacing(np.float32(abs(middle))))
    return step > (ROUNDING_OF_INTEGERS if bool((some == np.rint(some)).all()) else ROUNDING_OF_REALS) * spread > 0


def counts_rows(name: str, column: Any) -> bool:
    """Whether the column holds row numbers, as in tables saved by pandas or R."""
    import pyarrow as pa

    if name not in ("", "Unnamed: 0", "__index_level_0__", "rownames") or not pa.types.is_integer(column.type):
        return False
    values = column.to_numpy()
    return len(values) > 0 and bool((values == np.arange(len(values)) + values[0]).all())


def first_text(column: Any) -> tuple[int, str]:
    """The first value of a column that is not a number, and its row, counted from 1 below the header."""
    for row, scalar in enumerate(column, 1):
        cell = scalar.as_py()
        if cell is None or cell == "":
            continue
        try:
            float(cell)
        except (TypeError, ValueError):
            return row, str(cell)
    return 1, str(column[0])


def number_text(value: float) -> str:
    """The text of a number that is a category: the shortest that float32 reads as the same number."""
    return str(int(value)) if value.is_integer() else np.format_float_positional(np.float32(value), trim="-")
