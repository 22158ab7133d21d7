"""Figures of observations that are rows of a table: x_shape (d,), numbers with names and units.

All figures but the histograms are in the standard units of the training data, so that no column dominates. A column has
a row, with its name at the left and its own units at the right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.plots.cells import mark_beyond, write_categories, write_values
from vaecli.plots.columns import (
    MAX_COLUMNS,
    UNITS,
    Columns,
    Reference,
    label_size,
    label_steps,
    name_width,
    one_line,
)
from vaecli.plots.histograms import Categories, show_rows
from vaecli.plots.style import (
    COLOURS,
    DARK,
    FAINT,
    GREY,
    LABEL,
    SCREEN,
    SMALL,
    array,
    bands,
    canvas,
    grid_shape,
    latent,
    legend_below,
    limits,
    locator,
    one_each,
    round_ticks,
    sequential,
    tidy,
    wrap,
)

ROW, LEAST_ROW = 0.27, 0.145  # inches: the height of a column's row, and where there are many
HEAD = 0.75  # inches above and below the rows of a panel
IN_A_ROW = 5  # observations, and twice as many where one row of them fills a screen
STRIP = 1.25  # inches: the least width of a strip
RIGHT, NAMES = 1.2, 2.3  # inches: the width of the columns' own units, and the most that names get
FARTHEST = 3.0  # standard units: the end of the colour scale
OUTLYING = 8.0  # standard units: values farther out are written at the edge, so that the others can be told apart
CELL = 0.36  # inches: least width of a cell with its number


class TablePlots:
    """Figures of rows of a table: every method takes tensors or arrays and returns a matplotlib Figure.

    Up to 24 columns are drawn, those that vary most; missing numbers (NaN) are left out.
    reference: the training data's moments, and observations to compare samples with, or what reads them when they are
        first needed; None: not available
    categories: of each column the texts whose codes 0, 1, 2 ... it holds, None for numbers; None: all are numbers
    """

    show_draws, default_grid_size = True, 20  # as in CurvePlots; draws scatter as rows of a table do
    default_samples, most_samples = 1000, 10_000

    def __init__(
        self,
        names: Sequence[str],
        reference: Reference | Callable[[], Reference | None] | None = None,
        categories: Categories | None = None,
    ) -> None:
        self.names, self.categories = list(names), categories
        self.read_reference = reference if callable(reference) else lambda: reference
        self.x_shape: tuple[int, ...] = (len(names),)
        self.in_a_row = IN_A_ROW if self._most_bands() > 1 else 2 * IN_A_ROW

    @cached_property
    def reference(self) -> Reference | None:
        return self.read_reference()

    max_reconstruction_rows = 12  # reconstructions that are drawn over one another

    def most_observations(self, rows: int) -> int:
        """How many observations fit on a screen, whatever the `rows` of reconstructions over each other."""
        return self.in_a_row * self._most_bands()

    @property
    def watched_observations(self) -> int:
        """How many reconstructions to draw during training."""
        return IN_A_ROW * min(2, self._most_bands())

    def most_rows(self, columns: int) -> int:
        """How many strips fit on a screen."""
        return int((SCREEN[0] - NAMES - RIGHT - 0.8) / STRIP) * self._most_bands()

    def data(self, x: Any, title: str | None = None) -> Figure:
        """x (N, d): a histogram of each column, and the correlations between them."""
        x = array(x, *self.x_shape)
        return show_rows(self._columns(x), title, data=x, categories=self.categories)

    def samples(self, x: Any, title: str | None = None) -> Figure:
        """x (N, d): for each column a histogram over that of the data, and the correlations of both."""
        x = array(x, *self.x_shape)
        data = None if self.reference is None or self.reference.x is None else array(self.reference.x, *self.x_shape)
        return show_rows(self._columns(x), title, data, x, self.categories)

    def reconstructions(
        self, x: Any, rows: list[tuple[str, Any]], notes: list[str] | None = None, title: str | None = None
    ) -> Figure:
        """x (N, d): a panel for each observation, with each (label, (N, d)) of `rows` drawn over it; notes: N texts."""
        x = array(x, *self.x_shape)
        fits = [(label, array(values, *self.x_shape)) for label, values in rows]
        columns = self._columns(np.concatenate([values for _, values in fits]))
        return self._panels(columns, [("data", x), *fits], notes, title)

    def fit(self, target: Any, fit: Any, title: str | None = None) -> Figure:
        """target and fit (d,), over each other."""
        pair = [(label, array(values, *self.x_shape)[None]) for label, values in (("target", target), ("fit", fit))]
        return self._panels(self._columns(np.concatenate([values for _, values in pair]), "differ"), pair, None, title)

    def strips(
        self,
        x: Any,
        row_labels: list[str],
        column_labels: list[str] | None = None,
        title: str | None = None,
        mark: list[int] | None = None,
    ) -> Figure:
        """x (R, S, d): a map for each of the R rows, the columns below one another, its S steps to the right.

        The steps in `mark` (-1 the last) stand apart. If a cell has room, it shows its number, in the column's own
        units.
        """
        x = array(x, *self.x_shape)
        steps = x.shape[1]
        names = column_labels or [str(s + 1) for s in range(steps)]
        one_each(row_labels, x.shape[0], "row_labels")
        one_each(names, steps, "column_labels")
        columns = self._columns(x)
        across = min(len(x), int((SCREEN[0] - NAMES - RIGHT - 0.8) / STRIP))
        width = min(0.5 * steps, (SCREEN[0] - NAMES - RIGHT - 0.8) / -(-len(x) // -(-len(x) // across)))
        figure, axes, size = self._grid(columns, len(x), across, max(width, STRIP), title)
        reach, shown = self._reach(columns.standard(x)), None
        for ax, label, values in zip(axes, row_labels, columns.standard(x), strict=True):
            shown = _map(ax, values.T, reach, aspect="auto")
            ax.set_title(wrap(label, max(width, STRIP), LABEL), fontsize=LABEL, pad=4)
            label_steps(ax, names, max(width, STRIP))
            for step in {s % steps for s in mark or []}:
                ax.axvline(step - 0.5 if step else 0.5, color="white", linewidth=4)
            if width / steps >= CELL and size >= SMALL:
                write_values(ax, columns, values.T, reach, width / steps)
        self._colourbar(figure, axes, shown, reach)
        return figure

    def manifold(self, x: Any, values: Any, dims: tuple[int, int], title: str | None = None) -> Figure:
        """x (n, n, d): a map for each column over two latents; x[i, j] is at the dims (values[j], values[i])."""
        x, values = array(x, *self.x_shape), array(values, name="values")
        columns, (places, labels) = self._columns(x), round_ticks(values, 4)
        k = len(columns.names)
        rows, across = (1, k) if k <= 3 else grid_shape(k, 1.4)
        side = min(2.6, (SCREEN[0] - 1.5) / across, (SCREEN[1] - 0.4) / rows - 0.45)
        figure = canvas(max((side + 0.12) * across + 1.5, 4.5), (side + 0.45) * rows + 0.4, columns.title(title))
        axes = figure.subplots(rows, across, squeeze=False)
        maps = columns.standard(x)
        reach, shown = self._reach(maps), None
        for i, ax in enumerate(axes.flat):
            if i >= k:
                ax.remove()
                continue
            shown = _map(ax, maps[..., i], reach, origin="lower")
            ax.set_title(f"{one_line(columns.names[i], side, SMALL)}\n{columns.own_units()[i]}", fontsize=SMALL, pad=3)
            ax.set_xticks(places, labels if i + across >= k else [])
            ax.set_yticks(places, labels if i % across == 0 else [])
            ax.tick_params(labelsize=SMALL, length=2)
        figure.supxlabel(latent(dims[0]), fontsize=LABEL)
        figure.supylabel(latent(dims[1]), fontsize=LABEL)
        self._colourbar(figure, list(axes.flat[:k]), shown, reach, f"standard units; below the names {UNITS}")
        return figure

    def _most_bands(self) -> int:
        return max(1, int(SCREEN[1] / (LEAST_ROW * min(len(self.names), MAX_COLUMNS) + HEAD)))

    def _columns(self, drawn: np.ndarray, word: str = "vary") -> Columns:
        return Columns.choose(self.names, self.reference, drawn, word, self.categories)

    def _grid(
        self, columns: Columns, n: int, most: int, width: float, title: str | None, legend: float = 0.0
    ) -> tuple[Figure, list[Axes], float]:
        """A figure, n axes in it with a row for each column, at most so many beside one another; their text size."""
        parts, k = bands(n, most), len(columns.names)
        across = parts[0].stop
        row = float(np.clip((SCREEN[1] / len(parts) - HEAD) / k, LEAST_ROW, ROW))
        size = label_size(row)
        names = name_width(columns.names, NAMES, size)
        total = max(names + across * (width + 0.1) + RIGHT + 0.8, 5.5)
        figure = canvas(total, len(parts) * (k * row + HEAD) + legend, columns.title(title))
        axes = figure.subplots(len(parts), across, squeeze=False)
        for i, ax in enumerate(axes.flat):
            if i >= n:
                ax.remove()
                continue
            tidy(ax)
            ax.spines["left"].set_visible(False)
            ax.set_yticks([])
            if i % across == 0:
                columns.label_rows(ax, names, size)
            if i % across == across - 1:
                columns.label_units(ax, min(size, SMALL))
        return figure, list(axes.flat[:n]), size

    def _panels(
        self, columns: Columns, rows: list[tuple[str, np.ndarray]], notes: list[str] | None, title: str | None
    ) -> Figure:
        """A panel for each observation: the data as dots, the reconstructions as bars, in standard units.

        Categories of the data and of one reconstruction are written instead, as their codes have no order of size.
        """
        n, k = len(rows[0][1]), len(columns.names)
        room = SCREEN[0] - name_width(columns.names, NAMES) - RIGHT
        across = self.in_a_row
        width = min(1.3, room / min(n, across) - 0.1) if n > 3 else 2.2
        names = [wrap(label, 5.0, LABEL) for label, _ in rows]
        figure, axes, _ = self._grid(columns, n, across, width, title, 0.3 * max(1, len(rows) // 3))
        named = [i for i, texts in enumerate(columns.texts) if texts is not None and len(rows) == 2]
        drawn = [columns.standard(values) for _, values in rows]
        categories = [[values[:, i].copy() for i in named] for values in drawn]
        for values in drawn:
            values[:, named] = np.nan
        low, high = limits(*drawn, pad=0.08)
        reach = max(low, -OUTLYING), min(high, OUTLYING)
        colours = COLOURS if len(rows) <= len(COLOURS) else sequential(len(rows))(range(len(rows)))
        for i, ax in enumerate(axes):
            ax.hlines(range(k), *reach, color="#e4e4e4", linewidth=0.7, zorder=0)
            ax.axvline(0.0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
            ax.plot(drawn[0][i], range(k), "o", color=DARK, markersize=6, alpha=0.45, label=names[0])
            for colour, label, values in zip(colours, names[1:], drawn[1:], strict=False):
                ax.plot(values[i], range(k), "|", color=colour, markersize=10, markeredgewidth=2.2, label=label)
            write_categories(ax, columns, named, [[of[i] for of in those] for those in categories], width)
            mark_beyond(ax, columns, [values[i] for values in drawn], [DARK, *colours], reach)
            ax.set(xlim=reach, ylim=(k - 0.4, -0.6))
            ax.xaxis.set_major_locator(locator(3 if width < 2 else 6))
            if notes:
                ax.set_title(wrap(notes[i], width, SMALL), fontsize=SMALL, pad=4)
        below: Mapping[str, Any] = {"xy": (0, 0), "xycoords": "axes fraction", "textcoords": "offset points"}
        axes[-1 - (n - 1) % bands(n, across)[0].stop].annotate(  # at the left of the ticks, below the names
            "standard units", xytext=(-12, -6), ha="right", va="top", fontsize=SMALL, color=FAINT, **below
        )
        legend_below(figure, axes[0])
        return figure

    def _reach(self, standard: np.ndarray) -> float:
        """The range of the colours: up to the largest value, at most FARTHEST."""
        known = np.abs(standard[np.isfinite(standard)])
        return float(np.clip(known.max(initial=0.0), 0.5, FARTHEST))

    def _colourbar(
        self, figure: Figure, axes: list[Axes], shown: Any, reach: float, label: str = "standard units"
    ) -> None:
        ends, size = "both" if reach == FARTHEST else "neither", min(1.0, 5 / figure.get_figheight())
        bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.02, aspect=25, shrink=size, extend=ends)
        bar.ax.tick_params(labelsize=SMALL)
        bar.set_label(label, fontsize=LABEL)


def _map(ax: Axes, values: np.ndarray, reach: float, **how: Any) -> Any:
    """Values (k, S) in standard units, grey where there is none."""
    ax.set_facecolor("#dddddd")
    return ax.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest", **how)
