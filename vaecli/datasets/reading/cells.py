"""Classifies the cells of a text file: numbers in several notations, missing, or text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

MISSING = (
    "", "?", "NA", "N/A", "n/a", "na", "<NA>", "NaN", "nan", "NAN", "-nan", "-NaN", "NaT", "NULL", "Null", "null",
    "None", "none", "#N/A", "#NA", "#N/A N/A", "1.#QNAN", "-1.#IND",
)  # fmt: skip

Form = Literal["whole", "point", "comma", "either", "missing", "text"]

EXPONENT = r"(?:[eEdD][+-]?\d+)?"
WHOLE = re.compile(rf"[+-]?\d+{EXPONENT}|[+-]?(?:inf|infinity)|true|false", re.IGNORECASE)
POINT = re.compile(rf"[+-]?(?:\d+\.\d*|\.\d+){EXPONENT}")  # 1.5
COMMA = re.compile(rf"[+-]?\d*,\d+{EXPONENT}")  # 1,5
BY_COMMA = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")  # 1,234 or 1,234.5
BY_POINT = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")  # 1.234 or 1.234,5
BY_BLANK = re.compile(r"[+-]?[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?")  # 1 234,5
DECORATED = re.compile(r"[<>≤≥~≈±]*\s*[$€£¥]?\s*[+-]?\d[\d.,' ]*(?:[eE][+-]?\d+)?\s*(?:%|‰|[$€£¥]|[a-zA-Zµ°/²³]{1,5})?")
MAX_NUMBER_LENGTH = 100  # characters of a number
TRANSLATED = str.maketrans({"−": "-", "\xa0": " ", "\u202f": " ", "\u2009": " "})


def normalise(cell: str) -> str:
    """A cell without surrounding blanks, with typographic minus signs and blanks replaced by those of ASCII."""
    return (cell if cell.isascii() else cell.translate(TRANSLATED)).strip()


def form(cell: str) -> Form:
    """The notation of a cell; `either`: its only comma could be a decimal comma or separate thousands."""
    cell = normalise(cell)
    if len(cell) > MAX_NUMBER_LENGTH:
        return "text"
    if cell in MISSING:
        return "missing"
    if WHOLE.fullmatch(cell):
        return "whole"
    if POINT.fullmatch(cell):
        return "point"
    if BY_COMMA.fullmatch(cell):
        return "point" if "." in cell or cell.count(",") > 1 else "either"
    if COMMA.fullmatch(cell) or BY_POINT.fullmatch(cell):
        return "comma"
    if BY_BLANK.fullmatch(cell):
        return "comma" if "," in cell else "point" if "." in cell else "whole"
    return "text"


def value(cell: str, decimal: str) -> float | None:
    """The number that a cell stands for, with the decimal sign `decimal` (. or ,); None if it is not a number.

    The other one of point and comma may separate thousands.
    """
    cell = normalise(cell)
    if len(cell) > MAX_NUMBER_LENGTH:
        return None
    if BY_BLANK.fullmatch(cell):
        cell = cell.replace(" ", "")
    if decimal == ",":
        if BY_POINT.fullmatch(cell):
            cell = cell.replace(".", "")
        elif "." in cell:
            return None
        cell = cell.replace(",", ".", 1)
    elif BY_COMMA.fullmatch(cell):
        cell = cell.replace(",", "")
    if POINT.fullmatch(cell) or (WHOLE.fullmatch(cell) and cell.lower() not in ("true", "false")):
        return float(re.sub("[dD]", "e", cell) if cell[-1].isdigit() or cell[-1] == "." else cell)
    return None


def is_decorated(cell: str) -> bool:
    """Whether a text is a number with a sign or unit, as in 5%, <0.1, $3 or 12 kg."""
    cell = normalise(cell)
    return len(cell) < MAX_NUMBER_LENGTH and (bool(DECORATED.fullmatch(cell)) or not any(map(str.isalpha, cell)))


def decimal_of(forms: Iterable[Form]) -> str | None:
    """The decimal sign of cells of these forms; None if it could be either."""
    kinds = set(forms)
    if "point" in kinds:
        return "."
    if "comma" in kinds:
        return ","
    return None if "either" in kinds else "."
