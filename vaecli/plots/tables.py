"""Figures of observations that are rows of a table: x_shape (d,), a few numbers, each with a name and a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from vaecli.plots.style import (
    BLUE,
    COLOURS,
    DARK,
    LABEL,
    SMALL,
    array,
    canvas,
    latent,
    limits,
    locator,
    numbers,
    one_each,
    sequential,
    some,
    text_size,
    tidy,
    wrap,
)
from vaecli.utils import text

LONGEST = 100  # characters of a column's name
PAIRS = 5  # up to so many columns every two are drawn against each other
MARGIN = 0.15  # of the height: room for whole dots
LONG = 10_000  # from here on numbers are too long for small axes


class TablePlots:
    """Figures of rows of a table: every method takes tensors or arrays and returns a matplotlib Figure.

    Every column has axes and a scale of its own; what is missing (NaN) is left out.
    """

    shown = (0.0, 1.0)
    drawn, readable = True, 20  # as in CurvePlots; draws scatter as rows of a table do

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [text.figure(name, LONGEST) for name in names]
        self.x_shape: tuple[int, ...] = (len(names),)

    def samples(self, x: Any, title: str | None = None) -> Figure:
        """x (N, d): a histogram of each column, and up to 5 columns every two against each other."""
        x = array(x, *self.x_shape)
        if 1 < len(self.names) <= PAIRS:
            return self._pairs(x, title)
        figure, axes = self._axes(title, 2.6, 2.0)
        for ax, column, name in zip(axes, x.T, self.names, strict=True):
            _histogram(ax, column)
            ax.set_xlabel(wrap(name, 2.3, LABEL), fontsize=LABEL)
        return figure

    def reconstructions(self, x: Any, rows: list[tuple[str, Any]], notes: list[str] | None = None) -> Figure:
        """x (N, d): axes for each column with the observations side by side, over them each (label, (N, d))."""
        x = array(x, *self.x_shape)
        again = [(label, array(values, *self.x_shape)) for label, values in rows]
        n = len(x)
        width = float(np.clip(0.55 * n + 1.6, 5.0, 14.0))
        figure = canvas(width, 1.25 * len(self.names) + 1.2)
        axes = figure.subplots(len(self.names), 1, squeeze=False, sharex=True)[:, 0]
        colours = COLOURS if len(again) <= len(COLOURS) else sequential(len(again))(range(len(again)))
        for k, (ax, name) in enumerate(zip(axes, self.names, strict=True)):
            ax.plot(range(n), x[:, k], "o", color=DARK, markersize=8, alpha=0.45, label="data")
            for colour, (label, values) in zip(colours, again, strict=False):
                ax.plot(range(n), values[:, k], "_", color=colour, markersize=11, markeredgewidth=2.2, label=label)
            ax.set_ylabel(wrap(name, 1.1, LABEL), fontsize=LABEL)
            ax.margins(y=MARGIN)
            _ticks(ax, y=4)
        axes[-1].set_xlim(-0.6, n - 0.4)
        shown = range(n) if notes and n <= 12 else []
        axes[-1].set_xticks(shown, [wrap(notes[i], (width - 1.0) / n, SMALL) for i in shown] if notes else [])
        figure.align_ylabels(axes)
        _legend(figure, axes[0], width)
        return figure

    def strips(
        self,
        x: Any,
        row_labels: list[str],
        column_labels: list[str] | None = None,
        title: str | None = None,
        mark: list[int] | None = None,
    ) -> Figure:
        """x (R, S, d): axes for each column, in them a line for each of the R rows over its S steps.

        The steps in `mark` (-1 the last) are dots apart from the line.
        """
        x = array(x, *self.x_shape)
        rows, steps = x.shape[:2]
        names = column_labels or [str(s + 1) for s in range(steps)]
        one_each(row_labels, rows, "row_labels")
        one_each(names, steps, "column_labels")
        figure, axes = self._axes(title, 3.4, 2.2)
        colours = COLOURS if rows <= len(COLOURS) else sequential(rows)(range(rows))
        marked = [step % steps for step in mark or []]
        path = [step for step in range(steps) if step not in marked]
        places = [*some(steps)[:: 1 if steps <= 4 else 2][:-1], steps - 1]
        for k, (ax, name) in enumerate(zip(axes, self.names, strict=True)):
            for colour, label, values in zip(colours, row_labels, x[..., k], strict=False):
                ax.plot(path, values[path], color=colour, linewidth=1.5, label=label)
                ax.plot(marked, values[marked], "o", color=colour, markersize=6)
            ax.set_title(wrap(name, 3.0, LABEL), fontsize=LABEL)
            _ticks(ax, y=4)
            ax.set_xticks(places, [names[i] for i in places], rotation=30 if max(map(len, names)) > 5 else 0)
        if any(row_labels):
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=LABEL,
                          frameon=False)  # fmt: skip
        return figure

    def manifold(self, x: Any, values: Any, dims: tuple[int, int], title: str | None = None) -> Figure:
        """x (n, n, d): a map for each column over two latents; x[i, j] is at the dims (values[j], values[i])."""
        x, values = array(x, *self.x_shape), array(values, name="values")
        printed, places = numbers(values), some(len(values))[:: 1 if len(values) <= 6 else 2]
        figure, axes = self._axes(title, 3.2, 2.6)
        for k, (ax, name) in enumerate(zip(axes, self.names, strict=True)):
            shown = ax.imshow(x[..., k], origin="lower", cmap="viridis", interpolation="nearest")
            ax.set_title(wrap(name, 2.8, LABEL), fontsize=LABEL)
            ax.set_xticks(places, [printed[i] for i in places])
            ax.set_yticks(places, [printed[i] for i in places])
            ax.set_xlabel(latent(dims[0]), fontsize=LABEL)
            ax.set_ylabel(latent(dims[1]), fontsize=LABEL)
            ax.tick_params(labelsize=SMALL, length=3)
            figure.colorbar(shown, ax=ax, fraction=0.05, pad=0.03).ax.tick_params(labelsize=SMALL)
        return figure

    def fit(self, target: Any, fit: Any, title: str | None = None) -> Figure:
        """target and fit (d,), a column's two values in axes of their own."""
        target, fit = array(target, *self.x_shape), array(fit, *self.x_shape)
        figure, axes = self._axes(title, 1.9, 2.2, most=6)
        for k, (ax, name) in enumerate(zip(axes, self.names, strict=True)):
            ax.plot([0], target[k], "o", color=DARK, markersize=9, alpha=0.45, label="target")
            ax.plot([0], fit[k], "_", color=COLOURS[0], markersize=14, markeredgewidth=2.2, label="fit")
            ax.set_title(wrap(name, 1.6, LABEL), fontsize=LABEL)
            ax.set_xlim(-1, 1)
            ax.margins(y=MARGIN)
            _ticks(ax, y=4)
            ax.set_xticks([])
        _legend(figure, axes[0], 4.0)
        return figure

    def _pairs(self, x: np.ndarray, title: str | None) -> Figure:
        d = len(self.names)
        figure = canvas(1.7 * d + 0.8, 1.6 * d + 0.6, title)
        axes = figure.subplots(d, d, squeeze=False, sharex="col")
        size = float(np.clip(4000 / max(len(x), 1), 2, 18))
        for (i, j), ax in np.ndenumerate(axes):
            if i == j:
                _histogram(ax, x[:, j])
            else:
                ax.scatter(x[:, j], x[:, i], size, color=BLUE, alpha=0.5, linewidths=0)
                ax.set(xlim=limits(x[:, j]), ylim=limits(x[:, i]))
                _ticks(ax, x=2, y=4)
            ax.tick_params(labelbottom=i == d - 1, labelleft=j == 0 and i > 0)
            if i == d - 1:
                ax.set_xlabel(wrap(self.names[j], 1.5, LABEL), fontsize=LABEL)
            if j == 0:
                ax.set_ylabel(wrap(self.names[i], 1.4, LABEL), fontsize=LABEL)
        figure.align_ylabels(axes[:, 0])
        return figure

    def _axes(self, title: str | None, width: float, height: float, most: int = 4) -> tuple[Figure, list[Axes]]:
        """A figure with axes for each column, at most so many beside one another, each of that size in inches."""
        d = len(self.names)
        rows = -(-d // most)
        columns = -(-d // rows)
        figure = canvas(max(width * columns + 0.4, 4.0), height * rows + 0.6, title)
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat[d:]:
            ax.remove()
        return figure, list(axes.flat[:d])


def _histogram(ax: Axes, column: np.ndarray) -> None:
    known = column[np.isfinite(column)]
    low, high = limits(known)
    bins = int(np.clip(1.5 * len(known) ** 0.5, 8, 60))
    ax.hist(known, bins, range=(low, high), color=BLUE, alpha=0.7)
    ax.set_xlim(low, high)
    _ticks(ax, x=2)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _legend(figure: Figure, ax: Axes, width: float) -> None:
    """What the markers are, below, in as many columns as fit."""
    handles, labels = ax.get_legend_handles_labels()
    labels = [wrap(label, width - 1.0, LABEL) for label in labels]
    widest = max(text_size(label, LABEL)[0] for label in labels) + 0.75
    columns = max(1, min(len(labels), int(width / widest)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=LABEL, frameon=False)


def _ticks(ax: Axes, x: int | None = None, y: int | None = None) -> None:
    """Small labels, and at most so many intervals on either axis."""
    tidy(ax)
    if x is not None:
        ax.xaxis.set_major_locator(locator(x))
    if y is not None:
        ax.yaxis.set_major_locator(locator(y))
    for axis, ends in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if max(map(abs, ends)) >= LONG:
            axis.set_major_formatter(EngFormatter(sep=""))  # 250k: six digits would run into the next axes'
