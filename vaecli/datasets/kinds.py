"""The rule that determines the kinds of a table's columns; docs/tables.md states it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from vaecli.datasets.reading.columns import number_text
from vaecli.utils.columns import CODED, KINDS, MAX_CATEGORIES, MAX_DECIMALS, ColumnKind
from vaecli.utils.command_line import word
from vaecli.utils.errors import UserError, nearest
from vaecli.utils.files import expanded
from vaecli.utils.text import plural

FEW, FEW_FROM_ZERO, EACH = 10, 5, 5  # most categories of whole numbers, if 0 is the lowest, and rows of each
LARGEST_COUNT = 1e6  # larger whole numbers are amounts rather than counts
NEAR_ZERO = 1 / 3  # largest ratio of lowest value to mean of counts; above, whole numbers are amounts
NUMBERS = ("real", "positive", "interval")  # kinds whose values may have decimals
NEAR = 0.05  # an interval from 0 to 1 has values so close to 0 and to 1
SHARE = re.compile(r"share|fraction|proportion|probability", re.IGNORECASE)
PERCENT = re.compile(r"%|(?i:percent)|(?<![A-Za-z])(?i:pct)(?![a-z])|Pct(?![a-z])")  # fat_pct, pctFat, fatPct


class Found(NamedTuple):
    """The kind of a column, the reason for it, and the texts of its codes."""

    column: ColumnKind
    why: str
    categories: tuple[str, ...] | None = None


class Values(NamedTuple):
    """A column: its values that are not missing, and the texts that they stand for if they are codes of texts."""

    name: str
    x: np.ndarray  # (N,), float64
    different: np.ndarray  # sorted
    texts: tuple[str, ...] | None

    @property
    def whole(self) -> bool:
        return bool((self.different == np.rint(self.different)).all())

    @property
    def low(self) -> float:
        return float(self.different[0])

    @property
    def high(self) -> float:
        return float(self.different[-1])


def find_kinds(
    x: Tensor, names: Sequence[str], texts: Sequence[Sequence[str] | None], asked: Mapping[str, str]
) -> list[Found]:
    """The kind of each column of x (N, d); texts: of the columns that are codes of texts; asked: kinds by name."""
    if wrong := [name for name in asked if name not in names]:
        raise UserError(f"dataset.kinds: there is no column {wrong[0]}{nearest(wrong[0], names)}")
    found = []
    for j, name in enumerate(names):
        known = x[:, j][~x[:, j].isnan()].double().numpy()
        own = texts[j]
        values = Values(name, known, np.unique(known), None if own is None else tuple(own))
        kind = asked.get(name)
        one = by_rule(values) if kind is None else as_asked(values, kind)
        if one.column.kind in NUMBERS and not one.column.whole and len(known):
            decimals = decimals_of(values.different, single=x.dtype != torch.float64)
            one = one._replace(column=replace(one.column, decimals=decimals))
        found.append(one)
    return found


def decimals_of(x: np.ndarray, single: bool) -> int | None:
    """The fewest decimals that tell the numbers x (N,), float64; None if MAX_DECIMALS are too few.

    single: the numbers are rounded to float32, as 0.1 is to 0.100000001
    """
    kept = x.astype(np.float32) if single else x
    for n in range(MAX_DECIMALS + 1):
        if (x.round(n).astype(kept.dtype) == kept).all():
            return n
    return None


def by_rule(values: Values) -> Found:
    """The kind that the data suggest: the first line of the rule in docs/tables.md that fits."""
    n = len(values.different)
    if n == 0:
        return Found(ColumnKind("real"), "no value is known")
    if n == 1:
        return constant(values)
    if values.texts is not None and n > 2 and values.texts != tuple(sorted(values.texts)):
        return coded(values, "ordered", f"texts in the order {' < '.join(values.texts[:6])}{' ...' * (n > 6)}")
    if values.texts is not None:
        return coded(values, "binary" if n == 2 else "category", f"{n:,} different texts")
    if n == 2:
        return coded(values, "binary", "two different numbers")
    if values.whole:
        return whole_numbers(values)
    low, high = f"{values.low:.4g}", f"{values.high:.4g}"
    if values.low >= 0 and values.high <= 1 and values.low <= NEAR and values.high >= 1 - NEAR:
        return interval(values, 0.0, 1.0, f"from {low} to {high}: shares of 1")
    if SHARE.search(values.name) and values.low >= 0 and values.high <= 1:
        return interval(values, 0.0, 1.0, f"from {low} to {high}, named as shares of 1")
    if PERCENT.search(values.name) and values.low >= 0 and values.high <= 100:
        return interval(values, 0.0, 100.0, f"from {low} to {high}, named as percent")
    if values.low >= 0:
        return positive(values, f"from {low} to {high}")
    return Found(ColumnKind("real"), f"from {low} to {high}")


def whole_numbers(values: Values) -> Found:
    """The kind of whole numbers: categories, counts, or amounts."""
    n, low, high = len(values.different), int(values.low), int(values.high)
    said = f"whole numbers from {low:,} to {high:,}"
    if n <= (FEW_FROM_ZERO if low == 0 else FEW) and len(values.x) >= EACH * n:
        return coded(values, "category", f"{n} different whole numbers")
    if 0 <= low <= max(1, NEAR_ZERO * values.x.mean()) and high <= LARGEST_COUNT:
        return Found(ColumnKind("count", whole=True), said)
    return positive(values, said) if low >= 0 else Found(ColumnKind("real", whole=True), said)


def constant(values: Values) -> Found:
    texts = values.texts
    shown = texts[int(values.low)] if texts else f"{values.low:.6g}"
    return Found(ColumnKind("constant", low=values.low, whole=values.whole), f"always {shown}", texts)


def coded(values: Values, kind: str, why: str) -> Found:
    """The kind of values that are codes of texts; UserError for too many."""
    texts = values.texts or tuple(number_text(float(value)) for value in values.different)
    if len(texts) > MAX_CATEGORIES:
        raise UserError(f"column {values.name}: has {len(texts):,} different values, more than {MAX_CATEGORIES:,} "
                        f"categories; leave it out ({word('dataset.leave_out', [values.name])})")  # fmt: skip
    return Found(ColumnKind(kind, levels=len(texts)), why, texts)  # type: ignore[arg-type]


def positive(values: Values, why: str) -> Found:
    zeros = values.low == 0
    return Found(ColumnKind("positive", zeros=zeros, whole=values.whole), why + (", with zeros" if zeros else ""))


def interval(values: Values, low: float, high: float, why: str) -> Found:
    touched = values.low <= low or values.high >= high
    return Found(ColumnKind("interval", low=low, high=high, zeros=touched, whole=values.whole), why)


def as_asked(values: Values, kind: str) -> Found:
    """The kind that `dataset.kinds` sets; UserError if it does not fit the values."""
    what = f"dataset.kinds: column {values.name} cannot be {kind}"
    n, why = len(values.different), "by dataset.kinds"
    if kind not in KINDS:
        raise UserError(f"dataset.kinds: {values.name}:{kind}: should be one of {', '.join(KINDS)}")
    if kind == "constant":
        if n != 1:
            raise UserError(f"{what}: it has {plural(n, 'different value')}; dataset.leave_out leaves it out")
        return constant(values)._replace(why=why)
    if kind in CODED:
        if kind == "binary" and n != 2:
            raise UserError(f"{what}: it has {plural(n, 'different value')}; category takes more than two")
        return coded(values, kind, why)
    if values.texts is not None:
        raise UserError(f"{what}: it is text; binary, category and ordered are for text")
    if kind == "count" and not (values.whole and values.low >= 0):
        raise UserError(f"{what}: counts are whole numbers from 0 on; use real or positive")
    if kind == "positive":
        if values.low < 0:
            raise UserError(f"{what}: its lowest value is {values.low:g}; use real")
        return positive(values, why)
    if kind == "interval":
        return interval(values, *ends_of(values), why)
    return Found(ColumnKind(kind, whole=values.whole), why)  # type: ignore[arg-type]


def ends_of(values: Values) -> tuple[float, float]:
    """0 and 1, or 0 and 100, if all values lie between them; else the lowest and the highest value."""
    for high in (1.0, 100.0):
        if values.low >= 0 and values.high <= high:
            return 0.0, high
    return values.low, values.high


def asked_kinds(kinds: Mapping[str, str] | str | None) -> Mapping[str, str]:
    """The kinds that the user gives, by column: as they are, or from a YAML file."""
    if not isinstance(kinds, str):
        return kinds or {}
    path = Path(expanded(kinds))
    try:
        given = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UserError(f"dataset.kinds={kinds}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(given, dict):
        raise UserError(f"dataset.kinds={kinds}: should hold a line `column: kind` for each column")
    return {str(name): str(kind) for name, kind in given.items()}


def codes_of(x: Tensor, texts: Sequence[str]) -> Tensor:
    """The codes of numbers (N,) among the texts of their categories, which are in the numbers' order; NaN stays."""
    values = torch.tensor([float(text) for text in texts], dtype=torch.float32)
    codes = torch.searchsorted(values, x.float().contiguous()).clamp(max=len(values) - 1).to(x.dtype)
    return torch.where(x.isnan(), x, codes)
