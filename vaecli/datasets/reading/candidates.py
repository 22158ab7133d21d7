"""Splits the first rows of a text file by each possible separator, and chooses the best table."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from vaecli.datasets.reading.cells import decimal_of, form
from vaecli.datasets.reading.choice import SEPARATORS, ReadOptions, Separator
from vaecli.datasets.reading.header import NUMBERS
from vaecli.datasets.reading.names import cleaned, written
from vaecli.utils.errors import UserError

CELLS = 20_000  # cells that are examined for numbers
RULE = re.compile(r"[\s|+:=-]*-{2,}[\s|+:=-]*")  # a line of dashes, as below the names in psql
PIECE = re.compile(r'"[^"]*"|[^\s"]+')  # a cell, when blanks separate the cells


class Record(NamedTuple):
    """A row of a text file."""

    cells: list[str]
    before: int  # lines of the file before it
    text: str


class Candidate(NamedTuple):
    """A file's first rows, split by one separator."""

    name: Separator
    preamble: list[Record]  # rows before the table
    records: list[Record]  # from the header, or the first row, on
    width: int  # cells of most rows
    regular: float  # the share of rows with so many cells
    numbers: float  # the share of cells that are numbers
    decimal: str | None  # . or ,; None if numbers with one comma could be read either way
    short: bool  # the first row has one cell more or less

    @property
    def body(self) -> list[list[str]]:
        return [record.cells for record in self.records[1:]]

    def holds(self, names: Sequence[str] | None) -> bool:
        """Whether the first row has these names."""
        return bool(names) and set(written(names or ())) <= {cleaned(cell) for cell in self.records[0].cells}


def best_of(
    what: str, lines: Sequence[str], start: int, whole: bool, choice: ReadOptions, declared: Separator | None
) -> Candidate:
    """The best table in the lines of a file from `start` on; UserError if there is none.

    whole: the lines are all of the file; declared: the separator that the file itself declares
    """
    names = choice.columns if choice.known else None
    given = choice.separator or declared
    tables = [one for name in SEPARATORS if (one := candidate(name, lines, start, whole)) is not None]
    fit = [one for one in tables if one.holds(names) or (given in (None, one.name) and not is_cut(one, choice))]
    if not fit:
        raise UserError(f"{what}: there are no observations in it")
    best = max(fit, key=lambda one: merit(one, names))
    if choice.separator is not None and best.width == 1:
        check_separator_present(what, best, tables)
    return best


def candidate(name: Separator, lines: Sequence[str], start: int, whole: bool) -> Candidate | None:
    """The rows, split by one separator; None if that fails."""
    try:
        rows = records(lines, start, SEPARATORS[name])
    except csv.Error:
        return None
    rows = rows if whole or len(rows) < 2 else rows[:-1]  # the last one may be incomplete
    rows = [one for one in rows if not RULE.fullmatch(one.text.strip())]
    if not rows:
        return None
    before = next((i for i, one in enumerate(rows) if not is_remark(one.cells)), 0)
    counts = [1] * before + [len(one.cells) for one in rows[before:]]
    width = Counter(counts[1:] or counts).most_common(1)[0][0]
    pairs = zip(counts, [*counts[1:], width], strict=True)
    first = next((i for i, pair in enumerate(pairs) if pair == (width, width)), 0)
    regular = sum(n == width for n in counts[first:]) / len(counts[first:])
    short = first > 0 and is_short_header(rows[first - 1].cells, rows[first].cells)
    table = rows[first - short :]
    share, decimal = numbers_in([one.cells for one in table[1:] or table], width)
    return Candidate(name, rows[: first - short], table, width, regular, share, decimal, short)


def is_remark(cells: Sequence[str]) -> bool:
    """Whether a row is a line of text to which a spreadsheet has added empty cells."""
    return len(cells) > 2 and not any(map(str.strip, cells[1:])) and form(cells[0]) == "text"


def is_short_header(cells: Sequence[str], first: Sequence[str]) -> bool:
    """Whether words, in one cell less or with one more empty cell, could name the columns of the following rows."""
    words = not any(form(cell) in NUMBERS for cell in cells) and any(form(cell) in NUMBERS for cell in first)
    return words and (len(cells) == len(first) - 1 or (len(cells) == len(first) + 1 and not cells[-1].strip()))


def records(lines: Sequence[str], start: int, separator: str) -> list[Record]:
    """The rows of the lines from `start` on; raises csv.Error."""
    if separator == " ":
        pieces = [(PIECE.findall(line), n, line) for n, line in enumerate(lines[start:], start)]
        return [Record([piece.strip('"') for piece in cells], n, line) for cells, n, line in pieces if cells]
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=separator)
    rows, before = [], start
    for cells in reader:
        end = start + reader.line_num
        if any(map(str.strip, cells)):
            rows.append(Record(cells, before, "".join(lines[before:end])))
        before = end
    return rows


def numbers_in(rows: Sequence[Sequence[str]], width: int) -> tuple[float, str | None]:
    """The share of cells that are numbers, and their decimal sign."""
    across = max(1, min(width, CELLS // max(1, len(rows))))
    forms = [form(cell) for row in rows for cell in row[:across]]
    decimal = decimal_of(forms)
    good = {"whole", "missing", "either", "comma" if decimal == "," else "point"}
    return sum(one in good for one in forms) / max(1, len(forms)), decimal


def merit(one: Candidate, names: Sequence[str] | None) -> tuple[bool, float, bool, bool, int]:
    """A sort key: whether the header has the names, how many cells are numbers, how regular the rows are."""
    alike = one.width > 1 and one.regular > 0.9
    order = -[*SEPARATORS].index(one.name)
    return one.holds(names), round(one.numbers * one.regular, 2), not one.short, alike, order


def is_cut(one: Candidate, choice: ReadOptions) -> bool:
    """Whether commas cannot be separators: the user says that they are decimal signs, and no cell is in quotes."""
    decimals = choice.decimal == "comma" and choice.separator is None and one.name == "comma"
    return decimals and not any("," in cell for row in one.body for cell in row)


def check_separator_present(what: str, best: Candidate, tables: Sequence[Candidate]) -> None:
    """UserError if a file does not have the given separator, but another one."""
    other = next((one for one in tables if one.width > 1 and one.regular > 0.9), None)
    if other is not None:
        raise UserError(f"{what}: there is no {best.name} in {best.records[0].text.strip()[:60]!r}; leave "
                        f"dataset.separator={best.name} out, or give dataset.separator={other.name}")  # fmt: skip
