"""What is asked of the user where a column is neither numbers nor classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vaecli.datasets.reading.cells import BY_COMMA, COMMA, form, plain, value
from vaecli.datasets.reading.choice import Choice
from vaecli.datasets.reading.columns import Texts, first_text
from vaecli.datasets.reading.names import shown
from vaecli.datasets.reading.table import Columns
from vaecli.utils.command_line import word
from vaecli.utils.errors import UserError

LONGEST = 1000  # characters of a label: what is longer names no class
DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}\b")
LISTED, ASKED = 3, 10  # different cells that are shown, and that a remedy names


def check_numeric_columns(what: str, columns: Columns, taken: Sequence[int], choice: Choice) -> None:
    """UserError, with a remedy to type, where a column is neither numbers nor the labels."""
    wrong = [i for i in taken if not columns.is_numbers(i)]
    if not wrong:
        return
    looked = [(i, columns.text(i)) for i in wrong]
    nearly = [(i, found) for i, found in looked if found is not None and (found.n_numbers or found.clothed)]
    if nearly:
        raise UserError(f"{what}: {strays(columns.names[nearly[0][0]], nearly[0][1], choice)}")
    names = [columns.names[i] for i in wrong]
    row, example = first_text(columns.arrow[wrong[0]])
    leave = word("dataset.leave_out", [*choice.leave_out, *names])
    if len(wrong) == 1:
        remedy = f"leave it out ({leave}) or say that it is the labels ({word('dataset.labels', names[0])})"
    else:
        remedy = (
            f"leave them out ({leave}) or, if one of them is the labels, name it ({word('dataset.labels', names[0])})"
        )
    raise UserError(f"{what}: {shown(names)}: not all numbers, but {example[:40]!r} in row {row:,}; {remedy}")


def strays(name: str, found: Texts, choice: Choice) -> str:
    """Which cells of a column of numbers are none, and what could be done about them."""
    cells = found.strays(ASKED)
    where = ", ".join(f"{cell[:30]!r} in row {row:,}" for cell, row in cells[:LISTED])
    where += ", ..." if found.values.count(None) > LISTED else ""
    leave, labels = word("dataset.leave_out", [*choice.leave_out, name]), word("dataset.labels", name)
    others = f"{leave} leaves the column out, {labels} takes it for the labels"
    if all(is_comma(cell) for cell, _ in cells):
        return f"column {name}: {where}: {decimals(plain(cells[0][0]))}; {others}"
    if not found.n_numbers and all(DATE.match(plain(cell)) for cell, _ in cells):
        return f"column {name}: holds dates: {where}; write them as numbers (days since the first), or {others}"
    if not found.n_numbers:
        return f"column {name}: its cells are no plain numbers: {where}; write them as such (5, not 5%), or {others}"
    if {plain(cell) for cell, _ in cells} == {name}:
        return f"column {name}: the header stands again in row {cells[0][1]:,}; take it out, or {others}"
    missing = word("dataset.missing_values", [*choice.missing_values, *[plain(cell) for cell, _ in cells]])
    n, one = found.n_strays, found.n_strays == 1
    some = f"{n:,} of {len(found.codes):,} cells {'is no number' if one else 'are no numbers'}: {where}"
    mask = f"{missing} dataset.missing=mask takes {'it' if one else 'them'} for missing"
    return f"column {name}: {some}; correct {'it' if one else 'them'}, or {mask}, {others}"


def is_comma(cell: str) -> bool:
    return bool(COMMA.fullmatch(plain(cell)) or BY_COMMA.fullmatch(plain(cell)))


def decimals(cell: str) -> str:
    """What a number with a comma could be, and how to say it."""
    if form(cell) == "either":
        point, comma = value(cell, "."), value(cell, ",")
        return f"dataset.decimal=point takes {cell} for {point:.10g}, dataset.decimal=comma for {comma:.10g}"
    return f"dataset.decimal=comma takes {cell} for {value(cell, ',') or 0:.10g}"


def check_label_length(what: str, longest: int, remedy: str | None = None) -> None:
    """UserError for texts that are no labels."""
    if longest > LONGEST:
        long = f"holds a text of {longest:,} characters, too long for a label (at most {LONGEST:,})"
        remedy = remedy or ("name other labels (dataset.labels=NAME), or none and the columns to take "
                            "(dataset.labels=false 'dataset.columns=[A,B]')")  # fmt: skip
        raise UserError(f"{what}: {long}; {remedy}")
