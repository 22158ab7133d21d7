"""Colours, text sizes, line breaks and conversions that all figures share. No pyplot and no global state."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cbook import is_math_text
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from vaecli.utils.errors import UserError

DPI = 100
MAX_FIGURE_PIXELS = 2**16  # pixels of a figure's side, matplotlib's limit
SCREEN = (13.0, 8.4)  # inches, width and height: what fits on a screen, without headings and labels
FAR_OUT, FEW = 3.0, 0.02  # an axis ends before this share of values if they lie so many times as far out as the others
TITLE, LABEL, SMALL = 12, 10, 8.5  # text sizes in points

PHRASE = r"(?<=[,;])\s|\s(?=(?:between|from|of the)\s)"  # where the line of a title may end

DARK, GREY, FAINT = "#222222", "#8c8c8c", "#4d4d4d"  # the last for small texts
BLUE, ORANGE = "#0072b2", "#d55e00"
# Okabe & Ito (2008) without its yellow and black: distinct with any common colour blindness, on white.
COLOURS = (ORANGE, BLUE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def array(x: Any, *shape: int, name: str = "x") -> np.ndarray:
    """Tensor or array (..., *shape) as a float numpy array; ValueError if its last axes are not `shape`."""
    values = torch.as_tensor(x).detach().cpu().double().numpy()
    if values.shape[values.ndim - len(shape) :] != shape or values.ndim < len(shape):
        expected = ", ".join(["...", *map(str, shape)])
        raise ValueError(f"{name}: expected the shape ({expected}), got {values.shape}")
    return values


def one_each(labels: Sequence[str], n: int, name: str) -> None:
    """ValueError unless there is one label for each of n."""
    if len(labels) != n:
        raise ValueError(f"{name}: expected {n}, got {len(labels)}")


def number(value: float, digits: int = 1) -> str:
    """A number for a label: fixed digits, a true minus sign and no negative zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def numbers(values: np.ndarray) -> list[str]:
    """Labels for the values of an axis, with as many digits as distinguish neighbours."""
    step = np.abs(np.diff(values)).min() if len(values) > 1 else 1.0
    digits = 1 if step >= 0.1 else 2
    return [number(value, digits) for value in values]


def latent(dim: int) -> str:
    """The printed name of latent `dim`: 0 is $z_1$."""
    return f"$z_{{{dim + 1}}}$"


@lru_cache(10_000)
def text_size(text: str, size: float) -> tuple[float, float]:
    """Width and height in inches of (several lines of) text at `size` points."""
    renderer, font = _renderer(), FontProperties(size=size)
    lines = text.split("\n")
    widths = []
    with warnings.catch_warnings(action="ignore"):  # about letters that the font lacks
        for line in lines:
            math = is_math_text(line)
            shown = line if math else line.replace(r"\$", "$")
            widths.append(renderer.get_text_width_height_descent(shown, font, math)[0])
    return max(widths) / DPI, len(lines) * size * 1.25 / 72


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)


def wrap(text: str, width: float, size: float) -> str:
    """`text` broken into lines no wider than `width` inches at `size` points; its own line breaks are kept."""
    return "\n".join(_wrap_line(line, width, size) for line in text.split("\n"))


def _wrap_line(line: str, width: float, size: float) -> str:
    """Breaks after a space; a word that is too wide after `=`, `_` or a dot; a piece still too wide anywhere."""
    lines = [""]
    for word in re.split(r"(?<=\s)", line):
        for piece in [word] if _fits(word, width, size) else re.split(r"(?<=[=_])|(?<=[a-z]\.)", word):
            for part in [piece] if _fits(piece, width, size) else re.findall(r"\\\$|.", piece):
                if lines[-1] and not _fits(lines[-1] + part, width, size):
                    lines.append("")
                lines[-1] += part
    return "\n".join(text.rstrip() for text in lines)


def _fits(text: str, width: float, size: float) -> bool:
    return text_size(text.rstrip(), size)[0] <= width


class Heading(NamedTuple):
    """The text above a figure."""

    title: str  # what it shows
    source: str  # which run it is of: smaller, below the title
    height: float  # inches, with the space around

    def draw(self, figure: Figure) -> None:
        height = figure.get_figheight()
        top = 1 - 0.12 / height
        figure.text(0.5, top, self.title, ha="center", va="top", fontsize=TITLE)
        below = top - (text_size(self.title, TITLE)[1] + 0.03 if self.title else 0.0) / height
        figure.text(0.5, below, self.source, ha="center", va="top", fontsize=SMALL, color=FAINT)


def _by_phrases(title: str, width: float) -> str:
    """The title broken into lines between its phrases, where all of them fit."""
    phrases = re.split(PHRASE, title)
    if not all(_fits(phrase, width, TITLE) for phrase in phrases):
        return wrap(title, width, TITLE)
    lines = [phrases[0]]
    for phrase in phrases[1:]:
        if _fits(f"{lines[-1]} {phrase}", width, TITLE):
            lines[-1] += f" {phrase}"
        else:
            lines.append(phrase)
    return "\n".join(lines)


def heading(title: str | None, width: float) -> Heading:
    """A title broken into lines that fit in `width` inches; what follows its first line break is the source."""
    what, _, source = (title or "").partition("\n")
    shown, below = _by_phrases(what, width - 0.3), wrap(source, width - 0.3, SMALL)
    heights = [text_size(text, size)[1] + 0.05 for text, size in ((shown, TITLE), (below, SMALL)) if text]
    return Heading(shown, below, sum(heights) + 0.12 if heights else 0.0)


def canvas(width: float, height: float, title: str | None = None) -> Figure:
    """An empty figure of width x height inches below its heading, with constrained layout."""
    above = heading(title, width)
    room = height / (height + above.height)
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, rect=(0, 0, 1, room))
    figure = Figure((width, height + above.height), DPI, facecolor="white", layout=layout)
    above.draw(figure)
    return figure


def legend_below(figure: Figure, ax: Axes) -> None:
    """A legend of the axes' markers below the figure, in as many columns as fit."""
    handles, labels = ax.get_legend_handles_labels()
    widest = max(text_size(label, LABEL)[0] for label in labels) + 0.75
    columns = max(1, min(len(labels), int(figure.get_figwidth() / widest)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=LABEL, frameon=False)


def check_size(width: float, height: float) -> None:
    """UserError if a figure of so many inches has more pixels than can be drawn."""
    pixels = int(width * DPI), int(height * DPI)
    if max(pixels) >= MAX_FIGURE_PIXELS:
        raise UserError(
            f"the picture would have {pixels[0]} x {pixels[1]} pixels; the limit is {MAX_FIGURE_PIXELS}: ask for less"
        )


def tidy(ax: Axes, size: float = SMALL) -> None:
    """Small tick labels, few ticks, no upper and right spines."""
    ax.tick_params(labelsize=size, length=3)
    ax.spines[["top", "right"]].set_visible(False)


def zero_line(ax: Axes) -> None:
    ax.axhline(0.0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)


def sequential(n: int) -> ListedColormap:
    """n colours from dark to light, short of the yellow that is lost on white."""
    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, n)))


def limits(*arrays: np.ndarray, pad: float = 0.05) -> tuple[float, float]:
    """The common range of the finite values, padded; never empty."""
    values = np.concatenate([np.ravel(a) for a in arrays])
    values = values[np.isfinite(values)]
    if not len(values):
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = pad * (high - low) or max(abs(high), 1.0) * pad
    return low - margin, high + margin


def usual_limits(x: np.ndarray, pad: float = 0.05) -> tuple[float, float]:
    """`limits` without the few values that lie so far out that the others could not be told apart."""
    values = np.sort(x[np.isfinite(x)])
    n = int(FEW * len(values)) + 1  # at least one at each end
    if len(values) < 4 * n or values[-1 - n] == values[n]:
        return limits(values, pad=pad)
    room = FAR_OUT * (values[-1 - n] - values[n])
    near = (values >= values[n] - room) & (values <= values[-1 - n] + room)
    return limits(values[near], pad=pad)


def about_zero(*x: np.ndarray) -> tuple[float, float]:
    """The range of x, with zero in it unless x would then fill less than four fifths of it."""
    low, high = limits(*x)
    return limits(*x, np.zeros(1)) if max(low, -high) < (high - low) / 4 else (low, high)


def locator(most: int) -> MaxNLocator:
    """At most so many intervals between ticks, of round lengths."""
    return MaxNLocator(most, steps=[1, 2, 5, 10])


def evenly_spaced(n: int, most: int = 12) -> list[int]:
    """The ones of n neighbouring places to label, evenly spaced: all up to `most`, then every second, and so on."""
    return list(range(0, n, -(-n // most)))


def round_ticks(values: np.ndarray, most: int = 8) -> tuple[np.ndarray, list[str]]:
    """Where on an axis of n tiles to put ticks, and their labels: round values if the tiles are evenly spaced."""
    n = len(values)
    if n < 6 or np.ptp(np.diff(values)) > 1e-3 * abs(values[1] - values[0]):
        places, labels = evenly_spaced(n, most), numbers(values)
        return np.array(places), [labels[i] for i in places]
    low, high = values[0], values[-1]
    shown = np.array([v for v in locator(most).tick_values(low, high) if low - 1e-6 <= v <= high + 1e-6])
    return (shown - low) / (high - low) * (n - 1), numbers(shown)


def without_lonely(n: int, columns: int) -> int:
    """The number of columns for n cells: one more where a single cell would be left for the last row."""
    return columns + 1 if n % columns == 1 else columns


def grid_shape(n: int, aspect: float = 1.0) -> tuple[int, int]:
    """Rows and columns for n cells of height / width `aspect`: nearly square, rather wide, and full if possible."""
    ideal = np.sqrt(n * aspect)
    full = [c for c in range(1, n + 1) if n % c == 0 and 0.8 <= c / ideal <= 1.45]
    columns = min(full, key=lambda c: abs(np.log(c / (1.05 * ideal))), default=0)
    columns = columns or without_lonely(n, min(n, int(np.ceil(ideal))))
    return -(-n // columns), columns


def bands(n: int, most: int) -> Sequence[slice]:
    """Split n columns into as few bands of at most `most` as possible, of nearly equal size."""
    count = -(-n // most)
    width = -(-n // count)
    return [slice(start, min(start + width, n)) for start in range(0, n, width)]
