"""What a column of a table holds: data sets find it out, and decoders choose a likelihood by it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from vaecli.utils.types import PositiveInt, Values

Kind = Literal["real", "positive", "interval", "binary", "category", "ordered", "count", "constant"]
KINDS: tuple[str, ...] = get_args(Kind)
CODED = ("binary", "category", "ordered")  # kinds whose values are held as 0, 1, 2 ...
MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class ColumnKind:
    """The kind of a column, and what its likelihood has to know.

    levels: of a kind that is held as codes: how many there are
    low, high: of an interval its ends; low: of a constant its value
    zeros: of a positive column: some values are exactly 0
    whole: all values are whole numbers, and so are those that are written
    """

    kind: Kind
    levels: PositiveInt | None = None
    low: float | None = None
    high: float | None = None
    zeros: bool = False
    whole: bool = False

    def values(self) -> Values:
        """As a configuration has it: without what says nothing."""
        return {key: value for key, value in asdict(self).items() if value is not None and value is not False}
