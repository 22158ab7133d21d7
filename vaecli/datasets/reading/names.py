"""The names of columns: in a file, in a file that vaecli wrote, and in messages."""

from __future__ import annotations

from collections.abc import Sequence

from vaecli.utils.errors import UserError, nearest
from vaecli.utils.text import headings, printable, shorten

MAX_NAMES, MAX_LETTERS = 5, 100  # names in a message, and characters of one


def cleaned(cell: str) -> str:
    """A column's name, from its cell in a text file."""
    return cell.strip().removeprefix("#").strip()


def written(names: Sequence[str]) -> list[str]:
    """The names under which columns are read again from a .csv file that vaecli wrote."""
    return [cleaned(heading) for heading in headings(names)]


def column_index(what: str, key: str, name: str, names: Sequence[str]) -> int:
    """The index of a column; UserError if there is none of that name."""
    if name not in names:
        raise UserError(
            f"{what}: has no column {name} ({key}){nearest(name, names) or '; it has ' + list_columns(names)}"
        )
    return list(names).index(name)


def check_none_missing(what: str, key: str, missing: Sequence[str], n: int, names: Sequence[str]) -> None:
    """UserError that names the first of the `missing` ones of n columns; names: the columns that there are."""
    if len(missing) == 1:
        column_index(what, key, missing[0], names)
    elif missing:
        listed = ", ".join(shorten(printable(name), MAX_LETTERS) for name in missing[:MAX_NAMES])
        more = f" and {len(missing) - MAX_NAMES:,} more" if len(missing) > MAX_NAMES else ""
        raise UserError(f"{what}: lacks {len(missing):,} of {n:,} columns ({key}): {listed}{more}\n"
                        f"It has {list_columns(names)}")  # fmt: skip


def list_columns(names: Sequence[str]) -> str:
    """`columns a, b, ...`: the first of the names, for a message."""
    listed = ", ".join(shorten(printable(name), MAX_LETTERS) for name in names[:MAX_NAMES])
    listed += ", ..." if len(names) > MAX_NAMES else ""
    return f"{'column' if len(names) == 1 else 'columns'} {listed}"
