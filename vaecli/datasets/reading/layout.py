"""Guesses the layout of a text file: where its table begins, its separator, its header and its decimal sign."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.datasets.reading.candidates import PIECE, Candidate, Record, best_of
from vaecli.datasets.reading.choice import DECIMALS, SEPARATORS, ReadOptions, Separator
from vaecli.datasets.reading.encodings import head
from vaecli.datasets.reading.header import Verdict, judge, unit_lines
from vaecli.datasets.reading.names import cleaned
from vaecli.datasets.reading.report import first_names
from vaecli.utils.errors import UserError
from vaecli.utils.text import distinct, plural

COMMENTS = ("#", "%")
COMMENT_SIGN = re.compile(r"\A(?:#+|%+(?=\s))")  # before names; a % right before one belongs to it


class Layout(NamedTuple):
    """The layout of a text file."""

    name: Separator
    decimal: str | None  # . or ,; None if numbers with one comma could be read either way
    header: bool
    names: list[str]  # of the columns, all different
    nameless: frozenset[int]  # columns without a name in the file
    skip: int  # lines before the first row of numbers
    how: tuple[str, ...]  # described in short phrases
    notes: tuple[str, ...]  # notes on other possible readings

    @property
    def separator(self) -> str:
        """The separator's character; a blank stands for any number of blanks."""
        return SEPARATORS[self.name]


def find_layout(what: str, path: Path, choice: ReadOptions, encoding: str) -> Layout:
    """A text file's layout, from the user's keys or else its first lines; UserError if there is no table."""
    lines, whole = head(what, path, encoding)
    declared, start = separator_line(lines)
    comments, start = comment_lines(lines, start)
    best = best_of(what, lines, start, whole, choice, declared)
    verdict, names = header_of(best, comments, choice)
    check_header_width(what, best, verdict.header)
    rows = best.records[1:] if verdict.header and names is None else best.records
    if not rows:
        raise UserError(f"{what}: there are no observations in it")
    units = unit_lines([row.cells for row in rows]) if verdict.header else 0
    notes = [verdict.note] if verdict.note else []
    notes += left_out(best.preamble, "before the table") + left_out(rows[:units], "of units below the names")
    given = names or (best.records[0].cells if verdict.header else [])
    fit, doubt = fitted([cleaned(name) for name in given], best)
    separated = f"{best.name}-separated" if best.width > 1 else "one column"
    header = "no header" if not verdict.header else "header" if names is None else "names from a comment"
    doubts = [*notes, *doubt, *doubled(fit)]
    nameless = frozenset(i for i, name in enumerate(fit) if not name or not verdict.header)
    return Layout(best.name, decimal_of(best, choice), verdict.header, distinct(fit), nameless, rows[units].before,
                  (separated, header), tuple(doubts))  # fmt: skip


def separator_line(lines: Sequence[str]) -> tuple[Separator | None, int]:
    """The separator in a first line like Excel's `sep=;`, and how many lines to skip for it."""
    match = re.fullmatch(r'"?sep=(.)"?', lines[0].strip("\r\n"), re.IGNORECASE) if lines else None
    known = {sign: name for name, sign in SEPARATORS.items()}
    return (known[match[1]], 1) if match and match[1] in known else (None, 0)


def comment_lines(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """The comments that a file begins with, and where they end; none if the file holds only comments."""
    for end in range(start, len(lines)):
        if lines[end].strip() and not lines[end].lstrip().startswith(COMMENTS):
            return [line.strip() for line in lines[start:end] if line.strip()], end
    return [], start


def header_of(best: Candidate, comments: Sequence[str], choice: ReadOptions) -> tuple[Verdict, list[str] | None]:
    """Whether there is a header, and the names if they are in a comment."""
    first = best.records[0]
    if best.holds(choice.columns):
        return Verdict(True), None
    commented = comment_names(comments, best)
    if choice.header is not None:
        return Verdict(choice.header), commented if choice.header else None
    body = best.body[unit_lines(best.body) :]
    verdict = Verdict(True) if best.short else judge(first.cells, body, best.decimal or ".", is_quoted(best))
    if commented is not None and (verdict.note or not verdict.header):
        return Verdict(True), commented
    return verdict, None


def comment_names(comments: Sequence[str], best: Candidate) -> list[str] | None:
    """The names in the last comment, if it has as many words as there are columns."""
    if not comments:
        return None
    last = COMMENT_SIGN.sub("", comments[-1]).strip()
    for sign in (SEPARATORS[best.name], ",", " "):
        names = PIECE.findall(last) if sign == " " else next(csv.reader([last], delimiter=sign), [])
        if len(names) == best.width:
            return [name.strip().strip('"') for name in names]
    return None


def is_quoted(best: Candidate) -> bool:
    """Whether all cells of the first row are in quotes, and not all of the second."""
    cell = re.compile(rf'("[^"]*"|){re.escape(SEPARATORS[best.name])}?')
    unquoted = [cell.sub("", record.text.strip()) for record in best.records[:2]]
    return '"' in best.records[0].text and len(unquoted) == 2 and not unquoted[0] and bool(unquoted[1])


def check_header_width(what: str, best: Candidate, header: bool) -> None:
    """UserError if the first line has another number of cells than the rows below, and these have no header."""
    if best.preamble and not header and len(best.preamble[-1].cells) > 1:
        two = [f"line {one.before + 1} has {plural(len(one.cells), 'cell')} ({first_names(one.cells)})"
               for one in (best.preamble[-1], best.records[0])]  # fmt: skip
        raise UserError(f"{what}: {' and '.join(two)}; give them the same number, or remove the first line")


def left_out(records: Sequence[Record], where: str) -> list[str]:
    """A note on lines that are not observations."""
    if not records:
        return []
    n = len(records)
    return [f"{n} line{'s' * (n > 1)} {where} left out ({first_names([record.text.strip() for record in records], 2)})"]


def fitted(names: list[str], best: Candidate) -> tuple[list[str], list[str]]:
    """A name for each column: x_1, x_2 ... without a header; and a note if one is missing."""
    if not names:
        return [f"x_{i + 1}" for i in range(best.width)], []
    missing = best.width - len(names)
    if missing <= 0:
        return names[: best.width], []
    if all(not row[-1].strip() for row in best.body if len(row) == best.width):
        return [*names, *[""] * missing], []
    said = "there is one name fewer than columns; the first column is read as row names"
    return [*[""] * missing, *names], [said]


def doubled(names: Sequence[str]) -> list[str]:
    """A note on names that occur more than once."""
    pairs = [(old, new) for old, new in zip(names, distinct(names), strict=True) if old != new]
    if not pairs:
        return []
    olds, news = first_names(list(dict.fromkeys(old for old, _ in pairs))), first_names([new for _, new in pairs])
    return [f"more than one column is called {olds}; the later ones are {news}"]


def decimal_of(best: Candidate, choice: ReadOptions) -> str | None:
    """The decimal sign: what the user says, but never a comma if commas separate unquoted cells."""
    if choice.decimal is None:
        return best.decimal
    if best.name == "comma" and not any("," in cell for row in best.body for cell in row):
        return "."
    return DECIMALS[choice.decimal]
