"""The user's options for files that can be read in more than one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

Separator = Literal["comma", "semicolon", "tab", "pipe", "space"]
Decimal = Literal["point", "comma"]
Channels = Literal["auto", "first", "last"]
Pages = Literal["observations", "channels"]
Subfolders = Literal["splits", "labels"]
Precision = Literal["single", "double"]
Colour = Literal["grey", "rgb"]

SEPARATORS: dict[Separator, str] = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
DECIMALS: dict[Decimal, str] = {"point": ".", "comma": ","}


def as_text(value: Any) -> Any:
    """A name or cell that is a number as a text: 0 names the column 0."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def known_encoding(name: str) -> str:
    """The name of an encoding if Python knows it; raises ValueError."""
    try:
        return "".encode(name).decode(name) + name
    except (LookupError, ValueError, UnicodeError):
        raise ValueError(
            "should be an encoding of text, as utf-8, windows-1252, latin-1, utf-16 or shift_jis"
        ) from None


Name = Annotated[str, BeforeValidator(as_text)]
Texts = list[Name]
WindowSize = Annotated[int, Field(strict=True, ge=2, lt=2**31)]
White = Annotated[int, Field(strict=True, gt=0, lt=2**31)]
Encoding = Annotated[str, AfterValidator(known_encoding)]


class ReadOptions(NamedTuple):
    """How to read a file; None: guessed from the file itself."""

    columns: Sequence[str] | None = None  # of a table, in this order; None: all numbers but the labels
    labels: str | bool | None = None  # None: found by its name, or as the only column of classes; False: none
    leave_out: Sequence[str] = ()  # columns of a table
    header: bool | None = None
    separator: Separator | None = None
    decimal: Decimal | None = None
    encoding: str | None = None
    missing_values: Sequence[str] = ()  # texts of missing cells, in addition to the usual ones
    channels: Channels = "auto"  # where the channels of an array of pictures are
    x_shape: tuple[int, ...] | None = None  # of an observation, if known
    white: White | None = None  # the whole number that stands for 1.0
    precision: Precision | None = "single"  # of float32 or float64; None: as the numbers need it
    series: bool = False  # an array (N,) is one number for each of N rows
    mixed: bool = False  # a table's columns of text are categories, whose codes are read
    categories: Sequence[Sequence[str] | None] | None = None  # of each of `columns`, if they are known
    known: bool = False  # columns and labels were found in another file; there may be no such labels here
