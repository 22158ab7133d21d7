"""How a text file is a table: where it begins, what separates its columns, which sign is the decimal one."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.datasets.reading.candidates import PIECE, Candidate, Record, best_of
from vaecli.datasets.reading.choice import DECIMALS, SEPARATORS, Choice, Separator
from vaecli.datasets.reading.encodings import head
from vaecli.datasets.reading.header import Verdict, judge, unit_lines
from vaecli.datasets.reading.names import cleaned
from vaecli.datasets.reading.report import some
from vaecli.utils.errors import UserError
from vaecli.utils.text import distinct

COMMENTS = ("#", "%")
COMMENT_SIGN = re.compile(r"\A(?:#+|%+(?=\s))")  # before names; a % right before one belongs to it


class Layout(NamedTuple):
    """How a text file is a table."""

    name: Separator
    decimal: str | None  # . or ,; None where a number with one comma could have either
    header: bool
    names: list[str]  # of the columns, no two alike
    nameless: frozenset[int]  # the columns that the file gives no name
    skip: int  # lines before the first row of numbers
    how: tuple[str, ...]  # said of it
    notes: tuple[str, ...]  # other readings

    @property
    def separator(self) -> str:
        """A character; a blank stands for any number of them."""
        return SEPARATORS[self.name]


def find_layout(what: str, path: Path, choice: Choice, encoding: str) -> Layout:
    """A text file's layout as the user or its first lines say it; UserError where there is no table."""
    lines, whole = head(what, path, encoding)
    said, start = separator_line(lines)
    comments, start = comment_lines(lines, start)
    best = best_of(what, lines, start, whole, choice, said)
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
    """What a first line like Excel's `sep=;` says, and how many lines that takes."""
    found = re.fullmatch(r'"?sep=(.)"?', lines[0].strip("\r\n"), re.IGNORECASE) if lines else None
    known = {sign: name for name, sign in SEPARATORS.items()}
    return (known[found[1]], 1) if found and found[1] in known else (None, 0)


def comment_lines(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """The comments that a file begins with, and where they end; none where nothing but comments follows."""
    for end in range(start, len(lines)):
        if lines[end].strip() and not lines[end].lstrip().startswith(COMMENTS):
            return [line.strip() for line in lines[start:end] if line.strip()], end
    return [], start


def header_of(best: Candidate, comments: Sequence[str], choice: Choice) -> tuple[Verdict, list[str] | None]:
    """Whether there is a header, and the names where they stand in a comment."""
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
    """Whether all cells of the first row stand in quotes, and not all of the second."""
    cell = re.compile(rf'("[^"]*"|){re.escape(SEPARATORS[best.name])}?')
    unquoted = [cell.sub("", record.text.strip()) for record in best.records[:2]]
    return '"' in best.records[0].text and len(unquoted) == 2 and not unquoted[0] and bool(unquoted[1])


def check_header_width(what: str, best: Candidate, header: bool) -> None:
    """UserError where the first line has cells of its own number, and the lines below have no names."""
    if best.preamble and not header and len(best.preamble[-1].cells) > 1:
        two = [f"line {one.before + 1} has {len(one.cells)} cells ({some(one.cells)})"
               for one in (best.preamble[-1], best.records[0])]  # fmt: skip
        raise UserError(f"{what}: {' and '.join(two)}; give them the same, or take the first line out")


def left_out(records: Sequence[Record], where: str) -> list[str]:
    """What is said of lines that are no observations."""
    if not records:
        return []
    n = len(records)
    return [f"{n} line{'s' * (n > 1)} {where} left out ({some([record.text.strip() for record in records], 2)})"]


def fitted(names: list[str], best: Candidate) -> tuple[list[str], list[str]]:
    """A name for each column: x_1, x_2 ... without a header; and what to say where one is missing."""
    if not names:
        return [f"x_{i + 1}" for i in range(best.width)], []
    missing = best.width - len(names)
    if missing <= 0:
        return names[: best.width], []
    if all(not row[-1].strip() for row in best.body if len(row) == best.width):
        return [*names, *[""] * missing], []
    said = "there is a name less than there are columns; the first column is taken for row names"
    return [*[""] * missing, *names], [said]


def doubled(names: Sequence[str]) -> list[str]:
    """What is said of names that occur more than once."""
    pairs = [(old, new) for old, new in zip(names, distinct(names), strict=True) if old != new]
    if not pairs:
        return []
    olds, news = some(list(dict.fromkeys(old for old, _ in pairs))), some([new for _, new in pairs])
    return [f"more than one column is called {olds}; the later ones are {news}"]


def decimal_of(best: Candidate, choice: Choice) -> str | None:
    """The decimal sign: what the user says, but no comma where commas separate cells without quotes."""
    if choice.decimal is None:
        return best.decimal
    if best.name == "comma" and not any("," in cell for row in best.body for cell in row):
        return "."
    return DECIMALS[choice.decimal]
