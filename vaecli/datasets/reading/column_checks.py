"""Refuses columns that are neither numbers nor classes, and names the keys with which they can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vaecli.datasets.reading.cells import BY_COMMA, COMMA, form, normalise, value
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.columns import Texts, first_text
from vaecli.datasets.reading.names import list_columns
from vaecli.datasets.reading.table import Columns
from vaecli.utils.command_line import word
from vaecli.utils.errors import UserError
from vaecli.utils.text import printable, shorten

DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}\b")
MAX_LABEL_LENGTH = 1000  # characters of a label; a longer text is not a class name
OF_RUN = "in the data trained on they are numbers: correct the file, or empty the cells"
CELLS_SHOWN, CELLS_NAMED = 3, 10  # different cells that a message shows, and that its remedy names


class RefusedColumns(UserError):
    """Whole columns cannot be used; without them the file could be read."""

    def __init__(self, message: str, columns: Sequence[tuple[str, str]]) -> None:
        super().__init__(message)
        self.columns = columns  # their names, and what is wrong


def check_numeric_columns(what: str, columns: Columns, taken: Sequence[int], choice: ReadOptions) -> None:
    """UserError, with a remedy to type, if a column is neither numbers nor the labels."""
    wrong = [i for i in taken if not columns.is_numbers(i)]
    if not wrong:
        return
    looked = [(i, columns.text(i)) for i in wrong]
    nearly = [(i, texts) for i, texts in looked if texts is not None and (texts.n_numbers or texts.decorated)]
    if nearly:
        i, texts = nearly[0]
        name = columns.names[i]
        said = f"{what}: {strays(name, texts, choice)}"
        raise RefusedColumns(said, [(name, "dates")]) if are_dates(texts) else UserError(said)
    names = [columns.names[i] for i in wrong]
    row, example = first_text(columns.arrow[wrong[0]])
    leave = word("dataset.leave_out", [*choice.leave_out, *names])
    dates = "write dates as numbers (days since the first), or " if DATE.match(example) else ""
    if later(choice):
        remedy = OF_RUN
    elif len(wrong) == 1:
        remedy = f"leave it out ({leave}) or use it as the labels ({word('dataset.labels', names[0])})"
    else:
        remedy = (
            f"leave them out ({leave}) or, if one of them is the labels, name it ({word('dataset.labels', names[0])})"
        )
    if later(choice):
        dates = ""
    about = f"{list_columns(names)}: not all numbers, but {example[:40]!r} in row {row:,}"
    firsts = [printable(shorten(first_text(columns.arrow[i])[1], 20)) for i in wrong]
    found = [(name, f"{first!r} is no number") for name, first in zip(names, firsts, strict=True)]
    raise RefusedColumns(f"{what}: {about}; {dates}{remedy}", found)


def check_no_truth_values(what: str, columns: Columns, numbers: Sequence[int]) -> None:
    """UserError if one of the columns that held numbers in another file holds true and false."""
    for i in numbers:
        if columns.kind(i) == "truth values":
            raise UserError(f"{what}: column {columns.names[i]}: its cells are true or false; {OF_RUN}")


def strays(name: str, texts: Texts, choice: ReadOptions) -> str:
    """A message: the cells of a column of numbers that are not numbers, and what to do."""
    cells = texts.strays(CELLS_NAMED)
    where = ", ".join(f"{cell[:30]!r} in row {row:,}" for cell, row in cells[:CELLS_SHOWN])
    where += ", ..." if texts.values.count(None) > CELLS_SHOWN else ""
    leave, labels = word("dataset.leave_out", [*choice.leave_out, name]), word("dataset.labels", name)
    if later(choice) and texts.n_strays and not all(is_comma(cell) for cell, _ in cells):
        return f"column {name}: {count_of_strays(texts)}: {where}; {OF_RUN}"
    others = f"{leave} leaves the column out, {labels} uses it as the labels"
    if all(is_comma(cell) for cell, _ in cells):
        return f"column {name}: {where}: {decimals(normalise(cells[0][0]))}; {others}"
    if are_dates(texts):
        return f"column {name}: holds dates: {where}; write them as numbers (days since the first), or {others}"
    if not texts.n_numbers:
        return f"column {name}: its cells are not plain numbers: {where}; write plain numbers (5, not 5%), or {others}"
    if {normalise(cell) for cell, _ in cells} == {name}:
        return f"column {name}: the header is repeated in row {cells[0][1]:,}; remove that row, or {others}"
    missing = word("dataset.missing_values", [*choice.missing_values, *[normalise(cell) for cell, _ in cells]])
    one, some = texts.n_strays == 1, f"{count_of_strays(texts)}: {where}"
    mask = f"{missing} dataset.missing=mask reads {'it' if one else 'them'} as missing"
    return f"column {name}: {some}; correct {'it' if one else 'them'}, or {mask}, {others}"


def are_dates(texts: Texts) -> bool:
    """Whether no cell is a number, and the first ones are dates."""
    return not texts.n_numbers and all(DATE.match(normalise(cell)) for cell, _ in texts.strays(CELLS_NAMED))


def later(choice: ReadOptions) -> bool:
    """Whether another file has determined the columns already, so that no key can change how this one is read."""
    return choice.known and choice.mixed


def count_of_strays(texts: Texts) -> str:
    n = texts.n_strays
    return f"{n:,} of {len(texts.codes):,} cells {'is not a number' if n == 1 else 'are not numbers'}"


def is_comma(cell: str) -> bool:
    return bool(COMMA.fullmatch(normalise(cell)) or BY_COMMA.fullmatch(normalise(cell)))


def decimals(cell: str) -> str:
    """The two readings of a number with a comma, and the keys for them."""
    if form(cell) == "either":
        point, comma = value(cell, "."), value(cell, ",")
        return f"dataset.decimal=point reads {cell} as {point:.10g}, dataset.decimal=comma as {comma:.10g}"
    return f"dataset.decimal=comma reads {cell} as {value(cell, ',') or 0:.10g}"


def check_label_length(what: str, longest: int, remedy: str | None = None) -> None:
    """UserError for texts that are too long for labels."""
    if longest > MAX_LABEL_LENGTH:
        long = f"holds a text of {longest:,} characters, too long for a label (at most {MAX_LABEL_LENGTH:,})"
        remedy = remedy or ("name other labels (dataset.labels=NAME), or none and the columns to take "
                            "(dataset.labels=false 'dataset.columns=[A,B]')")  # fmt: skip
        raise UserError(f"{what}: {long}; {remedy}")
