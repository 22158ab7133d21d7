"""What is written into the figures of tables: numbers and categories in the columns' own units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vaecli.plots.columns import Columns, one_line
from vaecli.plots.style import COLOURS, DARK, SMALL, text_size

CELL_TEXT = 7  # points of the numbers in cells


def write_values(ax: Axes, columns: Columns, standard: np.ndarray, reach: float, cell: float) -> None:
    """Each number in its column's own units, if they all fit into cells of so many inches; categories cut to fit."""
    texts = {}
    for (row, step), value in np.ndenumerate(standard):
        if np.isfinite(value):
            own = columns.own_value(row, float(value))
            texts[row, step] = one_line(own, cell, CELL_TEXT) if columns.texts[row] else own
    if any(text_size(text, CELL_TEXT)[0] > cell for (row, _), text in texts.items() if not columns.texts[row]):
        return
    for (row, step), text in texts.items():
        colour = "white" if abs(standard[row, step]) > 0.65 * reach else DARK
        ax.text(step, row, text, ha="center", va="center", fontsize=CELL_TEXT, color=colour)


def write_categories(ax: Axes, columns: Columns, rows: Sequence[int], values: list[list[float]], width: float) -> None:
    """The categories of the data at the left of the middle, those of a reconstruction at the right, in these rows."""
    for these, colour, place, side in zip(values, (DARK, COLOURS[0]), (0.47, 0.53), ("right", "left"), strict=False):
        for row, value in zip(rows, these, strict=True):
            if np.isfinite(value):
                own = one_line(columns.own_value(row, float(value)), 0.45 * width, SMALL)
                where: Mapping[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": side, "va": "center"}
                ax.text(place, row, own, fontsize=SMALL, color=colour, **where)


def mark_beyond(
    ax: Axes, columns: Columns, values: Sequence[np.ndarray], colours: Sequence[Any], reach: tuple[float, float]
) -> None:
    """An arrow at the edge for each of the values, (k,) each, beyond it; the first of a row also as text."""
    for edge, marker, side, out in ((reach[0], "<", "left", np.less), (reach[1], ">", "right", np.greater)):
        written: set[int] = set()
        for these, colour in zip(values, colours, strict=False):
            for row in np.flatnonzero(out(these, edge)).tolist():
                ax.plot(edge, row, marker, color=colour, markersize=5, alpha=0.7, clip_on=False)
                if row not in written:
                    own = f"  {columns.own_value(row, float(these[row]))}  "
                    ax.text(edge, row, own, fontsize=SMALL - 1, color=colour, ha=side, va="center")
                written.add(row)
