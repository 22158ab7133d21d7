"""The columns of a table in a figure: the ones that are drawn, their units and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from vaecli.plots.style import FAINT, LABEL, SMALL, array, text_size, wrap
from vaecli.utils import text

MAX_COLUMNS = 24  # columns in a figure
COMPARED_ROWS = 10_000  # observations that samples are compared with
MAX_NAME_LENGTH = 100  # characters of a column's name
UNITS = "mean ± sd"  # the heading of the columns' own units
LARGE_NUMBER, SMALL_NUMBER = 10_000, 1e-3  # numbers outside this range are written with a suffix such as k


class Reference(NamedTuple):
    """The units of a table's figures, and data to compare samples with."""

    mean: Any  # (d,): of each column
    scale: Any  # (d,): its standard deviation
    x: Any = None  # (M, d): observations to compare samples with; None: not available

    @classmethod
    def of(cls, train: Any) -> Self:
        """The reference given by the training split."""
        return cls(train.moments.mean, train.moments.scale, train.batch(slice(0, COMPARED_ROWS)))


class Columns(NamedTuple):
    """The columns that a figure shows."""

    places: np.ndarray  # (k,): their indices in the table, in order
    names: list[str]  # (k,)
    mean: np.ndarray  # (k,), in the columns' own units
    scale: np.ndarray  # (k,)
    note: str  # what is left out; empty where all are shown
    texts: Sequence[Sequence[str] | None] = ()  # (k,): of each column the texts of its codes, None for numbers

    @classmethod
    def choose(
        cls, names: Sequence[str], reference: Reference | None, x: np.ndarray, word: str = "vary",
        categories: Sequence[Sequence[str] | None] | None = None,
    ) -> Self:  # fmt: skip
        """At most MAX_COLUMNS of a table's columns: those that vary most in x (..., d), in standard units.

        reference: supplies the units; None: those of x; word: replaces `vary` in the note
        """
        d = len(names)
        mean, scale = moments(x) if reference is None else (array(reference.mean, d), array(reference.scale, d))
        scale = np.where(scale > 1e-7 * np.abs(mean), scale, 1.0)  # a column that never varies
        index, note = np.arange(d), ""
        if d > MAX_COLUMNS:
            varies = moments((x - mean) / scale)[1]
            index = np.sort(np.argsort(-varies, kind="stable")[:MAX_COLUMNS])
            note = f"the {MAX_COLUMNS} of {d} columns that {word} most"
        shown = [text.figure(names[i], MAX_NAME_LENGTH) for i in index.tolist()]
        texts = [None if categories is None else categories[i] for i in index.tolist()]
        return cls(index, shown, mean[index], scale[index], note, texts)

    def standard(self, x: np.ndarray) -> np.ndarray:
        """These columns of x (..., d) in standard units (..., k)."""
        standard: np.ndarray = (x[..., self.places] - self.mean) / self.scale
        return standard

    def title(self, title: str | None) -> str | None:
        """The title, with a note on columns that are left out."""
        what, end, source = (title or "").partition("\n")
        return "; ".join(filter(None, [what, self.note])) + end + source or None

    def own_units(self) -> list[str]:
        """0 and a step of 1 in standard units, in the columns' own units, as in 5.84 ± 0.83; how many categories."""
        units = [f"{short_number(m, s)} ± {short_number(s, s)}" for m, s in zip(self.mean, self.scale, strict=True)]
        pairs = zip(units, self.texts or [None] * len(units), strict=True)
        return [unit if known is None else text.categories(len(known)) for unit, known in pairs]

    def own_value(self, i: int, standard: float) -> str:
        """A value of the i-th column in its own units, or its category."""
        scale, known = float(self.scale[i]), self.texts[i] if self.texts else None
        own = float(self.mean[i] + scale * standard)
        if known is None:
            return short_number(own, scale)
        return text.figure(known[int(np.clip(round(own), 0, len(known) - 1))], MAX_NAME_LENGTH)

    def label_rows(self, ax: Axes, width: float, size: float = LABEL) -> None:
        """The names at the left of axes that have a row for each column, the first on top."""
        ax.set_yticks(range(len(self.names)), [one_line(name, width, size) for name in self.names], fontsize=size)
        ax.tick_params(axis="y", length=0)

    def label_units(self, ax: Axes, size: float = SMALL) -> None:
        """Their own units at the right of such axes, with a heading."""
        right = ax.secondary_yaxis("right")
        right.set_yticks(range(len(self.names)), self.own_units(), fontsize=size, color=FAINT)
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        place: Mapping[str, Any] = {"xy": (1, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
        ax.annotate(UNITS, xytext=(5, 4), fontsize=SMALL - 1, color=FAINT, **place)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of x (..., d) over the numbers that are not missing; 0 if all are."""
    known = np.isfinite(x)
    axes, n = tuple(range(x.ndim - 1)), np.maximum(known.sum(tuple(range(x.ndim - 1))), 1)
    mean = np.where(known, x, 0.0).sum(axes) / n
    return mean, np.sqrt(np.where(known, (x - mean) ** 2, 0.0).sum(axes) / n)


def short_number(value: float, scale: float) -> str:
    """A number, rounded to two significant digits of `scale`."""
    if not (np.isfinite(value) and np.isfinite(scale)):
        return f"{value:.4g}"
    if max(abs(value), scale) >= LARGE_NUMBER or scale < SMALL_NUMBER:
        return EngFormatter(places=1, sep="")(value).replace("-", "\N{MINUS SIGN}")
    digits = max(0, 1 - int(np.floor(np.log10(scale))))
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def one_line(name: str, width: float, size: float) -> str:
    """A name cut to `width` inches."""
    first, *rest = wrap(name, width, size).split("\n")
    return f"{first}\N{HORIZONTAL ELLIPSIS}" if rest else first


def name_width(names: Sequence[str], most: float, size: float = LABEL) -> float:
    """Inches for the longest of the names, at most so many."""
    return min(most, max(text_size(name, size)[0] for name in names) + 0.1)


def label_size(row: float) -> float:
    """The text size in points for rows of so many inches."""
    return min(float(LABEL), 54 * row)


def label_steps(ax: Axes, names: Sequence[str], width: float) -> None:
    """The names of steps below a map at equal distances, as many as fit, and the last one."""
    last, half = len(names) - 1, [text_size(name, SMALL)[0] / 2 + 0.04 for name in names]
    for apart in sorted(range(1, last + 1), key=lambda n: (last % n > 0 or n == last, n)):  # equal ones first
        places = [*range(0, last - apart + 1, apart), last]
        if all(half[i] + half[j] <= (j - i) * width / len(names) for i, j in pairwise(places)):
            break
    else:
        places = sorted({0, last})
    ax.set_xticks(places, [names[i] for i in places], fontsize=SMALL)
    ax.tick_params(axis="x", length=2)
