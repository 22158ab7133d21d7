"""Histograms of a table's columns and maps of their correlations, for data, samples or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter

from vaecli.plots.columns import LARGE_NUMBER, SMALL_NUMBER, Columns, label_size, one_line
from vaecli.plots.style import (
    DARK,
    GREY,
    LABEL,
    ORANGE,
    SCREEN,
    SMALL,
    canvas,
    limits,
    locator,
    number,
    tidy,
    usual_limits,
    without_lonely,
    wrap,
)
from vaecli.utils import text

STYLES: Mapping[str, Mapping[str, Any]] = {
    "data": {"histtype": "stepfilled", "color": GREY, "alpha": 0.6},
    "samples": {"histtype": "step", "color": ORANGE, "linewidth": 1.6},
}
BARS: Mapping[str, Mapping[str, Any]] = {
    "data": {"color": GREY, "alpha": 0.6},
    "samples": {"fill": False, "edgecolor": ORANGE, "linewidth": 1.6},
}
MAP = 3.9  # inches: the largest side of a map of correlations
MAX_BARS = 12  # of a column of categories: its most frequent ones

Categories = Sequence[Sequence[str] | None]  # of each column of a table its texts, or None for a column of numbers


def show_rows(
    columns: Columns,
    title: str | None,
    data: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    categories: Categories | None = None,
) -> Figure:
    """data (M, d) grey, samples (N, d) orange; of two columns the points themselves, not their correlation.

    categories: columns of codes, which are drawn as bars
    """
    texts = [None if categories is None else categories[i] for i in columns.places.tolist()]
    drawn = {"data": data, "samples": samples}
    parts = {name: x[:, columns.places] for name, x in drawn.items() if x is not None}
    k, legend = len(columns.names), 0.3 if len(parts) > 1 else 0.0
    across = without_lonely(k, min(k, 8, int(np.ceil(np.sqrt(2.7 * k)))))
    rows = -(-k // across)
    width = float(np.clip(2.3 * across, 6.0, SCREEN[0]))
    upper = rows * min(1.9, 4.2 / rows) + legend
    lower = 0.0 if k == 1 else 3.2 if k == 2 else min(MAP, max(2.2, 0.2 * k)) + 0.35
    figure = canvas(width, upper + lower, columns.title(title))
    if k == 1:
        _histograms(figure, columns, parts, texts, (rows, across), width)
        return figure
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=[upper, lower]))
    _histograms(above, columns, parts, texts, (rows, across), width)
    if k == 2:
        _points(below, columns, parts)
    else:
        _correlations(below, columns, parts, width)
    return figure


def _histograms(
    figure: Figure | SubFigure,
    columns: Columns,
    parts: dict[str, np.ndarray],
    texts: Categories,
    grid: tuple[int, int],
    width: float,
) -> None:
    axes, across = figure.subplots(*grid, squeeze=False), grid[1]
    size = LABEL if across <= 5 else SMALL
    for i, ax in enumerate(axes.flat):
        if i >= len(columns.names):
            ax.remove()
            continue
        column, categories = {name: x[:, i] for name, x in parts.items()}, texts[i]
        _histogram(ax, column) if categories is None else _bars(ax, column, categories, width / across - 0.2)
        lines = wrap(columns.names[i], width / across - 0.2, size).split("\n")
        ax.set_title("\n".join(lines[:2]) + ("\N{HORIZONTAL ELLIPSIS}" if len(lines) > 2 else ""), fontsize=size, pad=3)
    if len(parts) > 1:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=LABEL, frameon=False)


def _histogram(ax: Axes, parts: dict[str, np.ndarray]) -> None:
    """The first part filled, the second an outline; values far from the first part are counted in a note."""
    known = {name: x[np.isfinite(x)] for name, x in parts.items()}
    first = next(iter(known.values()))
    low, high = usual_limits(first)
    reach = low - 0.3 * (high - low), high + 0.3 * (high - low)
    low, high = limits(*(x[(x >= reach[0]) & (x <= reach[1])] for x in known.values()))
    bins = edges(first, low, high, int(np.clip(1.5 * min(map(len, known.values())) ** 0.5, 8, 40)))
    low, high = bins[0], bins[-1]
    said = []
    for name, x in known.items():
        ax.hist(x, bins, weights=np.full(len(x), 1 / max(len(x), 1)), label=name, **STYLES[name])
        beyond = int(((x < low) | (x > high)).sum())
        if beyond and name == "data":
            said.append((f"{text.plural(beyond, 'value')}\nbeyond", DARK))
        elif beyond > 0.001 * len(x):
            said.append((f"{number(100 * beyond / len(x), 1)} %\nbeyond", ORANGE))
    for i, (note, colour) in enumerate(said):
        place: Mapping[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "top"}
        ax.text(1, 0.98 - 0.3 * i, note, fontsize=SMALL - 0.5, color=colour, **place)
    ax.set_xlim(low, high)
    small_ticks(ax, 3)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def edges(x: np.ndarray, low: float, high: float, n: int) -> list[float]:
    """The edges of about n bins from low to high; where x (N,) are whole, each bin has equally many of the numbers."""
    if not len(x) or (x != np.rint(x)).any():
        return [float(edge) for edge in np.linspace(low, high, n + 1)]
    least, most = np.ceil(low), np.floor(high)
    width = max(1.0, np.ceil((most - least + 1) / n))
    return [float(edge) for edge in np.arange(least - 0.5, most + width, width)]


def _bars(ax: Axes, parts: dict[str, np.ndarray], categories: Sequence[str], width: float) -> None:
    """The share of each category, the first part filled, the second an outline; the most frequent, the rest as one."""
    shares = {name: np.bincount(x[np.isfinite(x)].astype(int), minlength=len(categories))[: len(categories)]
              / max(int(np.isfinite(x).sum()), 1) for name, x in parts.items()}  # fmt: skip
    order = np.argsort(-next(iter(shares.values())), kind="stable")
    shown = np.sort(order[:MAX_BARS]) if len(categories) > MAX_BARS else np.arange(len(categories))
    names = [one_line(text.figure(categories[k], 40), width / len(shown) * 1.6, SMALL) for k in shown]
    for name, share in shares.items():
        values = share[shown]
        if len(shown) < len(categories):
            values = np.append(values, 1 - values.sum())
        ax.bar(range(len(values)), values, 0.8, label=name, **BARS[name])
    names += [] if len(shown) == len(categories) else ["others"]
    long = len(names) > 4 or max(map(len, names)) * len(names) > 12 * width
    ax.set_xticks(range(len(names)), names, rotation=90 if long else 0)
    ax.tick_params(axis="x", length=0, labelsize=SMALL - 1)
    ax.set_yticks([])
    ax.spines[["left", "top", "right"]].set_visible(False)


def small_ticks(ax: Axes, most: int) -> None:
    """Few ticks on the x axis, their numbers short."""
    tidy(ax)
    ax.xaxis.set_major_locator(locator(most))
    low, high = ax.get_xlim()
    if max(abs(low), abs(high)) >= LARGE_NUMBER or high - low < SMALL_NUMBER:
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))  # 250k: six digits would run into the next axes'


def _points(figure: SubFigure, columns: Columns, parts: dict[str, np.ndarray]) -> None:
    """Two columns against each other, each part in axes of its own on the first's scale."""
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    first = next(iter(parts.values()))
    for ax, (name, x) in zip(axes, parts.items(), strict=True):
        size = float(np.clip(4000 / max(len(x), 1), 2, 18))
        ax.scatter(x[:, 0], x[:, 1], size, color=DARK if name == "data" else ORANGE, alpha=0.5, linewidths=0)
        ax.set(xlim=limits(first[:, 0], pad=0.15), ylim=limits(first[:, 1], pad=0.15))
        ax.set_title(name, fontsize=LABEL)
        ax.set_xlabel(one_line(columns.names[0], 3.0, LABEL), fontsize=LABEL)
        small_ticks(ax, 4)
        ax.yaxis.set_major_locator(locator(4))
    axes[0].set_ylabel(one_line(columns.names[1], 2.5, LABEL), fontsize=LABEL)


def _correlations(figure: SubFigure, columns: Columns, parts: dict[str, np.ndarray], width: float) -> None:
    """Maps of the correlations, white for none, grey for a column that never varies."""
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    size = label_size(min(MAP, max(2.2, 0.2 * len(columns.names))) / len(columns.names))
    for ax, (name, x), side in zip(axes, parts.items(), "EW" if len(parts) > 1 else "C", strict=True):
        shown = ax.imshow(correlations(x), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set(xticks=[], yticks=[], facecolor="#dddddd", anchor=side)
        ax.set_title(f"correlations of the {name}", fontsize=LABEL)
    columns.label_rows(axes[0], min(2.4, 0.3 * width), size)
    bar = figure.colorbar(shown, cax=axes[-1].inset_axes((1.04, 0.0, 0.04, 1.0)), ticks=[-1, 0, 1])
    bar.ax.tick_params(labelsize=SMALL)


def correlations(x: np.ndarray) -> np.ndarray:
    """(d, d) of x (N, d), over the rows in which neither of two columns is missing; NaN for one that never varies."""
    known = np.isfinite(x)
    n = np.maximum(known.sum(0), 1)
    z = np.where(known, x - np.where(known, x, 0.0).sum(0) / n, 0.0)
    squares = (z**2).T @ known  # [i, j]: of column i where j is known
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix: np.ndarray = (z.T @ z) / np.sqrt(squares * squares.T)
    return matrix
