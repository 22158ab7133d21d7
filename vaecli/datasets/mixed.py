"""Tables with columns of different kinds, which are found in the data or taken from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaecli.datasets.kinds import asked_kinds, codes_of, find_kinds
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.report import KindFound
from vaecli.utils.columns import CODED, ColumnKind, unnamed
from vaecli.utils.errors import UserError

KindsKey = Mapping[str, str] | list[ColumnKind] | str | None  # some columns' kinds by name, all of them, or a file
Categories = Sequence[Sequence[str] | None]


class MixedTable:
    """The kinds of a table's columns and the texts of its categories.

    kinds: those that the user sets, by column or in a YAML file; or those of all columns, from a run
    categories: from a run, the texts of each column whose values are codes, None for other columns
    """

    def __init__(self, kinds: KindsKey, categories: Categories | None) -> None:
        self.asked: Mapping[str, str] | str | None = None if isinstance(kinds, list) else kinds
        self.columns: Sequence[ColumnKind] | None = kinds if isinstance(kinds, list) else None
        self.categories = categories
        self.found: tuple[KindFound, ...] = ()

    def reading(self, choice: ReadOptions) -> ReadOptions:
        """How the table's files are read."""
        return choice._replace(mixed=True, categories=self.categories)

    def resolve(self, content: Content, standardize: bool = False) -> Content:
        """The content of the first file, with the kinds of its columns found; numbers that are categories as codes."""
        if self.columns is not None:
            return content
        names, texts = content.names or (), content.categories or ()
        found = find_kinds(content.x, names, texts, asked_kinds(self.asked))
        self.columns = [one.column for one in found]
        self.categories = [None if one.categories is None else list(one.categories) for one in found]
        self.found = tuple(KindFound(name, one.column.kind, one.why) for name, one in zip(names, found, strict=True))
        if standardize:
            note = "dataset.standardize has no effect here: decoder=columns scales each column itself"
            content = content._replace(reading=content.reading.with_notes(note))
        x = content.x
        for j, one in enumerate(found):
            if one.column.kind in CODED and one.categories is not None and texts[j] is None:
                x[:, j] = codes_of(x[:, j], one.categories)
        return content._replace(x=x, categories=tuple(one.categories for one in found))

    def check(self, what: str, content: Content) -> None:
        """UserError for a value that its column cannot have."""
        check_possible(what, content.x, content.names or unnamed(content.x.shape[1]), self.columns or ())

    def settings(self) -> dict[str, object]:
        """The keys of the data set's option that a run stores."""
        return {"kinds": [column.values() for column in self.columns or ()], "categories": self.categories}


WRONG = {
    "positive": "should be above 0", "interval": "should lie", "count": "should be a whole number from 0 on",
    "constant": "should be", **dict.fromkeys(CODED, "should be the number of a category, from 0 to"),
}  # fmt: skip


def check_possible(
    what: str, x: Tensor, names: Sequence[str], columns: Sequence[ColumnKind], rows: bool = True
) -> None:
    """UserError for a value of x (N, d) that its column cannot have: the likelihood of its kind would be 0.

    rows: whether x has rows that a user can correct
    """
    for j, (name, column) in enumerate(zip(names, columns, strict=True)):
        wrong = ~x[:, j].isnan() & ~possible(x[:, j], column)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            where, remedy = (f" in row {row + 1:,}", "; correct it, or empty the cell") if rows else ("", "")
            seen = f"{float(x[row, j]):.7g}{where} {WRONG[column.kind]}{ends(column)}"
            raise UserError(f"{what}: column {name}: {seen}, as in the run's data{remedy}")


def ends(column: ColumnKind) -> str:
    """The end of a message: the values that the column can have."""
    if column.kind == "interval":
        return f" between {column.low:g} and {column.high:g}" + ("" if column.zeros else ", and be neither")
    if column.kind == "constant":
        return f" {column.low:g}, the only value there is"
    if column.kind in CODED:
        return f" {(column.levels or 1) - 1}"
    return " or 0" if column.zeros else ""


def possible(x: Tensor, column: ColumnKind) -> Tensor:
    """Which values (N,) a column of that kind can have."""
    if column.kind == "positive":
        return x >= 0 if column.zeros else x > 0
    if column.kind == "interval":
        low, high = (torch.tensor(end, dtype=torch.float64) for end in (column.low, column.high))
        return (x >= low) & (x <= high) if column.zeros else (x > low) & (x < high)
    if column.kind == "count":
        return (x >= 0) & (x == x.round())
    if column.kind == "constant":
        value = torch.tensor(column.low or 0.0, dtype=torch.float64).to(x.dtype)
        return (x - value).abs() <= 1e-6 * value.abs()
    if column.kind in CODED:
        return (x >= 0) & (x < (column.levels or 1)) & (x == x.round())
    return torch.ones_like(x, dtype=torch.bool)
