"""A table as it was read: its columns, by index."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from vaecli.datasets.reading.cells import MISSING, normalise
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.columns import (
    Texts,
    are_numbers,
    is_coded,
    is_text,
    kind_of,
    number_text,
    numbers,
    texts,
)
from vaecli.utils.types import Values


class Table(NamedTuple):
    """The table that a reader found in a file."""

    names: list[str]  # all different
    columns: list[Any]  # of pyarrow, as long as the names
    decimal: str | None  # as in Layout
    how: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layout: Values = MappingProxyType({})
    typed: bool = False  # the file says which columns are text


class Columns:
    """The columns of a table; a column of text is analysed once, when it is first used."""

    def __init__(self, table: Table, choice: ReadOptions) -> None:
        self.names, self.decimal, self.missing = table.names, table.decimal, choice.missing_values
        self.typed, self.mixed = table.typed, choice.mixed
        self.arrow = [decode_dictionary(column) for column in table.columns]
        self.textual = [is_text(column) for column in self.arrow]
        self.looked: dict[int, Texts] = {}

    def text(self, i: int) -> Texts | None:
        """The analysis of a column of text; None for other columns."""
        if not self.textual[i]:
            return None
        if i not in self.looked:
            cells = texts(self.arrow[i], self.decimal, self.missing)
            self.looked[i] = cells.as_text() if self.typed and cells.repeat else cells
        return self.looked[i]

    def is_numbers(self, i: int) -> bool:
        """Whether every cell is a number or missing."""
        text = self.text(i)
        return are_numbers(self.arrow[i]) if text is None else text.n_strays == 0

    def values(self, i: int) -> np.ndarray:
        """The numbers of a column, float64 (N,)."""
        text = self.text(i)
        return numbers(self.arrow[i], self.missing) if text is None else text.numbers()

    def is_category(self, i: int) -> bool:
        """Whether the column is text, not numbers some of which cannot be read."""
        text = self.text(i)
        return text is not None and text.n_strays > 0 and not text.is_number

    def categories(self, i: int) -> tuple[list[str], np.ndarray]:
        """The different cells of a column, as texts, and each row's index among them (one more: missing)."""
        text = self.text(i)
        if text is not None:
            cells = [normalise(cell) for cell in text.cells]
            gaps = {"", *MISSING, *self.missing}
            kept = sorted({cell for cell in cells if cell not in gaps})
            places = {cell: k for k, cell in enumerate(kept)}
            codes: np.ndarray = np.array([places.get(cell, len(kept)) for cell in cells] + [len(kept)])[text.codes]
            return kept, codes
        values = numbers(self.arrow[i], self.missing)
        different, codes = np.unique(values[~np.isnan(values)], return_inverse=True)
        truth = kind_of(self.arrow[i]) == "truth values"
        shown = [("false", "true")[int(value)] if truth else number_text(float(value)) for value in different]
        whole = np.full(len(values), len(shown))
        whole[~np.isnan(values)] = codes
        return shown, whole

    def kind(self, i: int) -> str:
        return kind_of(self.arrow[i]) if self.text(i) is None else "numbers"


def decode_dictionary(column: Any) -> Any:
    """A column without dictionary encoding; text keeps it, because a few bytes can stand for much text."""
    return column.cast(column.type.value_type) if is_coded(column) and not is_text(column) else column
