"""Figures of observations that are curves: x_shape (P,), the values of a function on a grid of P points."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from vaecli.plots.curve_grid import titled, untitled
from vaecli.plots.style import (
    BLUE,
    COLOURS,
    DARK,
    LABEL,
    SCREEN,
    SMALL,
    about_zero,
    array,
    bands,
    canvas,
    evenly_spaced,
    grid_shape,
    limits,
    locator,
    one_each,
    sequential,
    text_size,
    tidy,
    usual_limits,
    without_lonely,
    wrap,
    zero_line,
)
from vaecli.utils import text

SEPARATE = 30  # up to so many samples have axes of their own
TITLED = 12  # up to so many rows and columns of a manifold have axes of their own, titled with their z
BANDS, IN_A_ROW = 3, 5  # of observations


class CurvePlots:
    """Figures of curves: every method takes tensors or arrays and returns a matplotlib Figure.

    grid: (P,), the points of the curves; label: the name of their values; x_label: the name of the grid
    """

    default_grid_size = 10  # rows and columns of a manifold
    show_draws = False  # whether samples are draws from p(x|z); False: its means, which look more like data
    default_samples = 64
    watched_observations = 10  # whose reconstructions are drawn during training
    most_samples = 1000  # a picture of more is no clearer

    def __init__(self, grid: Any, label: str = "", x_label: str = "t") -> None:
        self.grid = array(grid, name="grid")
        if self.grid.ndim != 1:
            raise ValueError(f"grid: expected the shape (P,), got {self.grid.shape}")
        self.label, self.x_label = text.figure(label or "value"), x_label
        self.x_shape = self.grid.shape

    max_reconstruction_rows = 12  # reconstructions that are drawn over one another

    def most_observations(self, rows: int) -> int:
        """How many observations fit on a screen, however many reconstructions (`rows`) are drawn over them."""
        return BANDS * IN_A_ROW

    def most_rows(self, columns: int) -> int:
        """How many strips fit on a screen."""
        return 16

    def samples(self, x: Any, title: str | None = None) -> Figure:
        """x (N, P): up to 30 curves each in axes of their own on one scale, more of them together in one."""
        x = array(x, *self.x_shape)
        return self._separate(x, title) if len(x) <= SEPARATE else self._together(x, title)

    data = samples

    def reconstructions(
        self, x: Any, rows: list[tuple[str, Any]], notes: list[str] | None = None, title: str | None = None
    ) -> Figure:
        """x (N, P) with each (label, curves (N, P)) over it, beneath each the errors, on one scale; notes: N texts."""
        x = array(x, *self.x_shape)
        fits = [(label, array(values, *self.x_shape)) for label, values in rows]
        parts = bands(len(x), IN_A_ROW)
        columns = parts[0].stop
        width = max(1.9 * columns + 0.8, 5.5)
        names = ["data", *(wrap(label, width - 0.8, LABEL) for label, _ in fits)]
        in_row = _legend_columns(names, width - 0.8)
        height = min(2.9, SCREEN[1] / len(parts)) * len(parts) + 0.4 + 0.25 * -(-len(names) // in_row)
        errors = np.stack([values - x for _, values in fits]) if fits else np.zeros((1, *x.shape))
        figure = canvas(width, height, noted(title, errors, "error"))
        axes = figure.subplots(2 * len(parts), columns, squeeze=False, height_ratios=[5, 3] * len(parts))
        scale = limits(within(errors), np.zeros(1))
        for i, (upper, lower) in enumerate(zip(axes[::2].flat, axes[1::2].flat, strict=True)):
            if i >= len(x):
                upper.remove()
                lower.remove()
                continue
            self._reconstruction(upper, lower, x[i], [values[i] for _, values in fits])
            lower.set_ylim(*scale)
            upper.tick_params(labelbottom=False)
            lower.tick_params(labelleft=i % columns == 0)
            if i + columns >= len(x):
                lower.set_xlabel(self.x_label, fontsize=LABEL)
            if notes:
                upper.set_title(wrap(notes[i], 1.7, SMALL), fontsize=SMALL)
        self._label_reconstructions(figure, axes, names, in_row)
        return figure

    def strips(
        self,
        x: Any,
        row_labels: list[str],
        column_labels: list[str] | None = None,
        title: str | None = None,
        mark: list[int] | None = None,
    ) -> Figure:
        """x (R, S, P): axes per row with its S curves from dark to light; the curves in `mark` (-1 the last) thick."""
        x = array(x, *self.x_shape)
        names = column_labels or [str(s + 1) for s in range(x.shape[1])]
        one_each(row_labels, x.shape[0], "row_labels")
        one_each(names, x.shape[1], "column_labels")
        columns = without_lonely(len(x), int(np.ceil(np.sqrt(len(x)))))
        rows = -(-len(x) // columns)
        figure = canvas(max(3.1 * columns + 1.0, 6.0), max(2.05 * rows + 0.2, 3.4), noted(title, x))
        axes = self._grid(figure, rows, columns, x)
        colours = sequential(x.shape[1])
        thick = {column % x.shape[1] for column in mark or []}
        for ax, label, curves in zip(axes.flat, row_labels, x, strict=False):
            for s, curve in enumerate(curves):
                ax.plot(self.grid, curve, color=colours(s), linewidth=3.0 if s in thick else 1.3)
            ax.set_title(wrap(label, 2.8, LABEL), fontsize=LABEL)
        self._finish(figure, axes, len(x))
        _colourbar(figure, names)
        return figure

    def manifold(self, x: Any, values: Any, dims: tuple[int, int], title: str | None = None) -> Figure:
        """x (n, n, P), up to 12 x 12 each in small axes titled with its z, more without axes and titles.

        x[i, j] is at the dims (values[j], values[i]): values[j] grows to the right and values[i] upwards; dims count
        from 0, their labels from 1.
        """
        x, values = array(x, *self.x_shape), array(values, name="values")
        if len(values) > TITLED:
            return untitled(self.grid, x, values, dims, title)
        return titled(self.grid, x, values, dims, (self.x_label, self.label), title)

    def fit(self, target: Any, fit: Any, title: str | None = None) -> Figure:
        """target and fit (P,) in the left axes, fit - target in the right."""
        target, fit = array(target, *self.x_shape), array(fit, *self.x_shape)
        figure = canvas(8.0, 3.4, title)
        left, right = figure.subplots(1, 2)
        left.plot(self.grid, target, color=DARK, linewidth=3.0, alpha=0.45, label="target")
        left.plot(self.grid, fit, color=COLOURS[0], linewidth=1.5, label="fit")
        left.legend(fontsize=LABEL, frameon=False)
        right.plot(self.grid, fit - target, color=COLOURS[0], linewidth=1.5)
        zero_line(right)
        for ax, label in ((left, self.label), (right, "fit \N{MINUS SIGN} target")):
            tidy(ax)
            ax.set_xlabel(self.x_label, fontsize=LABEL)
            ax.set_ylabel(label, fontsize=LABEL)
        return figure

    def _separate(self, x: np.ndarray, title: str | None) -> Figure:
        rows, columns = grid_shape(len(x), 0.8)
        figure = canvas(max(1.5 * columns + 0.5, 4.0), max(1.25 * rows + 0.5, 3.0), noted(title, x))
        axes = self._grid(figure, rows, columns, x)
        for ax, curve in zip(axes.flat, x, strict=False):
            ax.plot(self.grid, curve, color=BLUE, linewidth=1.5)
        self._finish(figure, axes, len(x))
        return figure

    def _together(self, x: np.ndarray, title: str | None) -> Figure:
        figure = canvas(6.4, 4.4, noted(title, x))
        axes = self._grid(figure, 1, 1, x)
        points = np.stack([np.broadcast_to(self.grid, x.shape), x], axis=-1)  # (N, P, 2)
        alpha = float(np.clip(20 / len(x), 0.05, 0.5))
        axes[0, 0].add_collection(LineCollection(list(points), colors=BLUE, linewidths=1.0, alpha=alpha))
        self._finish(figure, axes, 1)
        return figure

    def _reconstruction(self, upper: Axes, lower: Axes, x: np.ndarray, fits: list[np.ndarray]) -> None:
        upper.plot(self.grid, x, color=DARK, linewidth=3.0, alpha=0.45)
        colours = COLOURS if len(fits) <= len(COLOURS) else sequential(len(fits))(range(len(fits)))
        for colour, fit in zip(colours, fits, strict=False):
            upper.plot(self.grid, fit, color=colour, linewidth=1.3)
            lower.plot(self.grid, fit - x, color=colour, linewidth=1.3)
        zero_line(lower)
        for ax in (upper, lower):
            tidy(ax)
            ax.yaxis.set_major_locator(locator(5))
            ax.xaxis.set_major_locator(locator(3))

    def _label_reconstructions(self, figure: Figure, axes: np.ndarray, names: list[str], columns: int) -> None:
        for row, ax in enumerate(axes[:, 0]):
            ax.set_ylabel("error" if row % 2 else self.label, fontsize=LABEL)
        figure.align_ylabels(axes[:, 0])
        # Below, as an outer legend above would lie on the title.
        figure.legend(axes[0, 0].lines, names, loc="outside lower center", ncols=columns, fontsize=LABEL, frameon=False)

    def _grid(self, figure: Figure, rows: int, columns: int, x: np.ndarray) -> np.ndarray:
        """Axes (rows, columns) on one scale that includes x (..., P), and zero if it is near."""
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        axes[0, 0].set(xlim=limits(self.grid, pad=0.02), ylim=about_zero(within(x)))
        axes[0, 0].xaxis.set_major_locator(locator(3 if columns > 2 else 5))
        axes[0, 0].yaxis.set_major_locator(locator(5))
        return axes

    def _finish(self, figure: Figure, axes: np.ndarray, n: int) -> None:
        """Label a grid of axes of which the first n are used, and remove the others."""
        columns = axes.shape[1]
        for i, ax in enumerate(axes.flat):
            if i >= n:
                ax.remove()
                continue
            tidy(ax)
            zero_line(ax)
            ax.tick_params(labelbottom=i + columns >= n, labelleft=i % columns == 0)
        figure.supxlabel(self.x_label, fontsize=LABEL)
        figure.supylabel(self.label, fontsize=LABEL)


def within(x: np.ndarray) -> np.ndarray:
    """The values of the curves (..., P) that do not lie so far out that all others would look flat."""
    low, high = usual_range(x)
    return np.where((x >= low) & (x <= high), x, np.nan)


def noted(title: str | None, x: np.ndarray, noun: str = "curve") -> str | None:
    """The title, with a note on how many of the curves (..., P) leave their axes."""
    low, high = usual_range(x)
    n = int(((x < low) | (x > high)).any(-1).sum())
    what, end, source = (title or "").partition("\n")
    note = f"{text.plural(n, noun)} {'leaves' if n == 1 else 'leave'} the axes" if n else ""
    return "; ".join(filter(None, [what, note])) + end + source or None


def usual_range(x: np.ndarray) -> tuple[float, float]:
    """The range of the curves (..., P), but for a few of them that reach many times as far as all others."""
    curves = x.reshape(-1, x.shape[-1])
    known = curves[np.isfinite(curves).any(1)]
    if not len(known):
        return -np.inf, np.inf
    ends = np.concatenate([np.nanmin(known, 1), np.nanmax(known, 1)])
    return usual_limits(ends, pad=0.0)


def _legend_columns(names: list[str], width: float) -> int:
    """The number of columns in which a legend's names fit into `width` inches, with evenly filled rows."""
    widest = max(text_size(name, LABEL)[0] for name in names) + 0.75
    rows = -(-len(names) // max(1, int(width / widest)))
    return -(-len(names) // rows)


def _colourbar(figure: Figure, labels: list[str]) -> None:
    """A colour bar that shows which colour is which column; at most eight are named."""
    n = len(labels)
    mappable = ScalarMappable(BoundaryNorm((np.arange(n + 1) - 0.5).tolist(), n), sequential(n))
    shown = evenly_spaced(n)
    shown[-1] = n - 1  # where a path ends is always named
    bar = figure.colorbar(mappable, ax=figure.axes, ticks=shown, aspect=30, pad=0.02)
    bar.minorticks_off()
    bar.ax.set_yticklabels([labels[s] for s in shown], fontsize=SMALL)
    bar.ax.tick_params(length=0)
