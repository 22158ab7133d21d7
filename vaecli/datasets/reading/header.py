"""Decides whether the first line of a table is its header."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from vaecli.datasets.reading.cells import Form, form, value
from vaecli.datasets.reading.report import first_names

MAX_COLUMNS_JUDGED = 500  # columns of a wide table that are examined
NUMBERS = ("whole", "point", "comma", "either")
AS_OBSERVATION, AS_NAMES = "dataset.header=false reads it as an observation", "dataset.header=true reads it as names"
Row = Sequence[str]


class Verdict(NamedTuple):
    """Whether a line is a header, and a note if this is doubtful."""

    header: bool
    note: str | None = None


def judge(first: Row, body: Sequence[Row], decimal: str, quoted: bool) -> Verdict:
    """Whether the `first` row names the columns of the rows below it; quoted: it alone is in quotes.

    Words above numbers are names. Numbers are names only if no observation looks like that: they count the columns,
    rise in equal steps, or are in quotes.
    """
    first = first[:MAX_COLUMNS_JUDGED]
    forms = [form(cell) for cell in first]
    below = [column_forms(body, i) for i in range(len(first))]
    numeric = [i for i, kinds in enumerate(below) if is_numeric(kinds)]
    n_numbers = sum(one in NUMBERS for one in forms)
    words = [i for i in numeric if is_word(first[i], forms[i])]
    shown = f"the first line ({first_names(list(first), 4)})"
    if not n_numbers:
        distinct = len(set(first)) == len(first) and any(map(is_word, first, forms))
        return Verdict(bool(words) or distinct)
    if words:
        header = len(words) >= n_numbers
        taken, other = ("names", AS_OBSERVATION) if header else ("an observation", AS_NAMES)
        return Verdict(header, f"{shown} holds words and numbers and is read as {taken}; {other}")
    fresh = any(is_word(cell, one) and all(cell != row[i] for row in body if i < len(row))
                for i, (cell, one) in enumerate(zip(first, forms, strict=True)))  # fmt: skip
    cells = [first[i] for i in numeric if forms[i] in NUMBERS]
    rows = [[row[i] for i in numeric if i < len(row) and forms[i] in NUMBERS] for row in body]
    if len(cells) < n_numbers or any(forms[i] == "missing" for i in numeric if i):
        return Verdict(False)
    unnamed = forms[0] == "missing" and not first[0].strip()
    if names_of_numbers(cells, rows, decimal, quoted, fresh or unnamed):
        return Verdict(True, f"{shown} is read as names; {AS_OBSERVATION}")
    return Verdict(False, f"{shown} is read as an observation; {AS_NAMES}" if is_odd(cells, rows, decimal) else None)


def names_of_numbers(cells: Row, rows: Sequence[Row], decimal: str, quoted: bool, beside_words: bool) -> bool:
    """Whether numbers above numbers are names; beside_words: the line also holds a word that no other line holds."""
    if counts(cells) and not any(map(counts, rows)):
        if beside_words or len(cells) > 2:
            return True
        return any_fraction(rows) and not continues(cells, rows, decimal)
    even = is_even(values(cells, decimal)) and not any(is_even(values(row, decimal)) for row in rows)
    return quoted or (even and len(cells) > (1 if beside_words else 4))


def is_odd(cells: Row, rows: Sequence[Row], decimal: str) -> bool:
    """Whether numbers that are read as an observation could be names."""
    if counts(cells) and (len(cells) > 1 or any_fraction(rows)):
        return True
    rising = len(cells) > 4 and is_rising(values(cells, decimal))
    return rising and not any(is_rising(values(row, decimal)) for row in rows)


def continues(cells: Row, rows: Sequence[Row], decimal: str) -> bool:
    """Whether a column rises from its first cell in equal steps, as the time of a curve does."""
    columns = zip(cells, *[row for row in rows if len(row) == len(cells)], strict=True)
    return any(is_even(values(column, decimal)) for column in columns if len(column) > 2)


def is_word(cell: str, kind: Form) -> bool:
    return kind == "text" and any(map(str.isalpha, cell))


def counts(cells: Row) -> bool:
    """Whether the cells count the columns, from 0 or 1."""
    numbers = [int(cell) for cell in map(str.strip, cells) if cell.isascii() and cell.isdigit() and len(cell) < 9]
    return len(numbers) == len(cells) > 0 and numbers in ([*range(len(cells))], [*range(1, len(cells) + 1)])


def values(cells: Row, decimal: str) -> list[float]:
    """The numbers in a row; other cells are left out."""
    numbers = (value(cell, decimal) for cell in cells)
    return [one for one in numbers if one is not None]


def any_fraction(rows: Sequence[Row]) -> bool:
    return any(form(cell) in ("point", "comma") for row in rows for cell in row)


def is_even(numbers: Sequence[float]) -> bool:
    """Whether numbers rise in equal steps."""
    if len(numbers) < 2 or numbers[1] <= numbers[0]:
        return False
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    return all(abs(b - a - step) <= 1e-3 * step for a, b in pairwise(numbers))


def is_rising(numbers: Sequence[float]) -> bool:
    return len(numbers) > 1 and all(a < b for a, b in pairwise(numbers))


def unit_lines(body: Sequence[Row], most: int = 3) -> int:
    """How many rows below the names describe the columns, such as their units, and are not observations."""
    for n in range(min(most, len(body) - 1), 0, -1):
        width = min(len(body[n]), MAX_COLUMNS_JUDGED)
        numeric = [i for i in range(width) if is_numeric(column_forms(body[n:], i))]
        above = [[form(row[i]) for i in numeric if i < len(row)] for row in body[:n]]
        if numeric and all("text" in row and not set(row) & set(NUMBERS) for row in above):
            return n
    return 0


def column_forms(rows: Sequence[Row], i: int) -> set[Form]:
    return {form(row[i]) for row in rows if i < len(row)} - {"missing"}


def is_numeric(forms: set[Form]) -> bool:
    return bool(forms) and "text" not in forms
