"""Names of a table's columns, and their kinds, which data sets determine and by which decoders choose a likelihood."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from vaecli.utils.types import NonNegativeInt, PositiveInt, Values

Kind = Literal["real", "positive", "interval", "binary", "category", "ordered", "count", "constant"]
KINDS: tuple[str, ...] = get_args(Kind)
CODED = ("binary", "category", "ordered")  # kinds whose values are stored as 0, 1, 2 ...
MAX_CATEGORIES = 1000
MAX_DECIMALS = 6  # float32 has seven digits


def unnamed(n: int) -> list[str]:
    """The names of n columns that have none."""
    return [f"x_{i + 1}" for i in range(n)]


@dataclass(frozen=True)
class ColumnKind:
    """The kind of a column, and what its likelihood needs to know.

    levels: the number of categories, of a kind that is stored as codes
    low, high: the ends of an interval; low: also the value of a constant
    zeros: some values of a positive column are exactly 0
    whole: all values are whole numbers, and so are those that are written
    decimals: the most that a value has, and that are written; None: whole, not a number, or more than MAX_DECIMALS
    """

    kind: Kind
    levels: PositiveInt | None = None
    low: float | None = None
    high: float | None = None
    zeros: bool = False
    whole: bool = False
    decimals: NonNegativeInt | None = None

    def values(self) -> Values:
        """The entries for a configuration, without those that have no meaning for the kind."""
        return {key: value for key, value in asdict(self).items() if value is not None and value is not False}
