"""What columns are called in a file, and once it is written and read again."""

from __future__ import annotations

from collections.abc import Sequence

from vaecli.utils.errors import UserError, nearest
from vaecli.utils.text import headings, printable, shorten

MAX_NAMES, MAX_LETTERS = 5, 100  # names in a message, and characters of one


def cleaned(cell: str) -> str:
    """A column's name as it stands in a text file."""
    return cell.strip().removeprefix("#").strip()


def written(names: Sequence[str]) -> list[str]:
    """What columns are called in a .csv file that vaecli has written, once it is read again."""
    return [cleaned(heading) for heading in headings(names)]


def column_index(what: str, key: str, name: str, names: Sequence[str]) -> int:
    """Where a column is; UserError where there is none of that name."""
    if name not in names:
        raise UserError(
            f"{what}: has no column {name} ({key}){nearest(name, names) or '; it has ' + list_columns(names)}"
        )
    return list(names).index(name)


def list_columns(names: Sequence[str]) -> str:
    """The columns, or the first of them."""
    listed = ", ".join(shorten(printable(name), MAX_LETTERS) for name in names[:MAX_NAMES])
    listed += ", ..." if len(names) > MAX_NAMES else ""
    return f"{'column' if len(names) == 1 else 'columns'} {listed}"
