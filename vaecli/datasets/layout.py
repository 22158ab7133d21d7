"""How a text file is a table: its separator, its header, its columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.datasets.tables import cleaned, written
from vaecli.utils.errors import UserError
from vaecli.utils.text import distinct

MISSING = ["", "?", "NA", "N/A", "n/a", "na", "NaN", "nan", "-nan", "NULL", "null", "None", "none", "#N/A"]


class Layout(NamedTuple):
    """How a text file is a table."""

    separator: str
    header: bool
    names: list[str]


def sniff(
    what: str, path: Path, columns: Sequence[str] | None = None, lines: int = 50, most: int = 4_000_000
) -> Layout:
    """The separator that the first line holds most of, and the names of the columns: x_1, x_2 ... without a header.

    columns: names that make a header of a first line that has them, numbers though they may be
    """
    text = ""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for _ in range(lines):
                text += file.readline(1_000_000) if len(text) < most else ""
    except UnicodeDecodeError:
        raise UserError(f"{what}: is not UTF-8 text; save it as such") from None
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror})") from None
    start = text.lstrip()
    if not start or "\0" in text:
        raise UserError(f"{what}: {'is not text' if start else 'is empty'}; expected a table of numbers")
    separator = separator_of(start.splitlines())
    try:
        rows = [row for row in csv.reader(io.StringIO(start), delimiter=separator) if row]
    except csv.Error as error:
        raise UserError(f"{what}: cannot be read as a table: {error}") from None
    names = [cleaned(cell) for cell in rows[0]]
    header = has_header(rows) or bool(columns and set(written(columns)) <= set(names))
    if header and len(rows) == 1:
        raise UserError(f"{what}: there are no observations in it")
    return Layout(separator, header, distinct(names) if header else [f"x_{i + 1}" for i in range(len(rows[0]))])


def separator_of(lines: Sequence[str]) -> str:
    """The most frequent in the first line; a blank where there is no other and the second line has as many."""
    bare = [re.sub(r'"[^"]*("|$)', "", line) for line in lines[:2]]
    usual = max(",;\t|", key=bare[0].count)
    blanks = {line.strip().count(" ") for line in bare}
    return " " if usual not in bare[0] and len(blanks) == 1 and blanks != {0} else usual


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is text above numbers in some column, or all of it is text, each cell another one."""
    first, rest = rows[0], rows[1:]
    kinds = [kind(cell) for cell in first]
    below = [{kind(row[i]) for row in rest if i < len(row)} - {None} for i in range(len(first))]
    if any(own == "text" and others == {"number"} for own, others in zip(kinds, below, strict=True)):
        return True
    return "number" not in kinds and len(set(first)) == len(first)


def kind(cell: str) -> str | None:
    """`number` or `text`; None for what is missing."""
    if cell.strip() in MISSING:
        return None
    try:
        float(cell)
    except ValueError:
        return "number" if cell.strip().lower() in ("true", "false") else "text"
    return "number"
