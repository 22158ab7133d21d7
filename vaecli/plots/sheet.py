"""Pictures placed pixel by pixel, with labels around them that are never clipped.

Constrained layout would shrink a picture by some odd factor, and nearest-neighbour scaling would then draw pixels of
unequal size. Here the figure is made to fit the picture, whose pixels are the screen's at 100 dpi or a multiple of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaecli.plots.style import DPI, LABEL, ORANGE, SCREEN, SMALL, check_size, heading, text_size, wrap

PAD = 0.12  # inches


class Band(NamedTuple):
    """One tiled picture and the labels around it."""

    picture: np.ndarray  # (H', W', 3) uint8: rows x columns tiles with a gap around each
    rows: int
    columns: int
    gap: int
    row_labels: list[str]  # at the left; as many as rows, or none
    column_labels: list[str]  # above; as many as columns, or none
    marks: list[int]  # columns to frame

    def middle(self, row: int, column: int) -> tuple[float, float]:
        """x, y of a tile's centre, and so its labels', in pixels."""
        height, width, _ = self.picture.shape
        return (
            self.gap / 2 + (column + 0.5) * (width - self.gap) / self.columns - 0.5,
            self.gap / 2 + (row + 0.5) * (height - self.gap) / self.rows - 0.5,
        )


def place_picture(figure: Figure, picture: np.ndarray, left: float, top: float, scale: float) -> Axes:
    """Axes that the picture (H', W', 3) fills, its upper left corner at (left, top) inches from the figure's own."""
    width, height = figure.get_size_inches()
    w, h = picture.shape[1] * scale / DPI, picture.shape[0] * scale / DPI
    ax = figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))
    ax.imshow(picture, aspect="auto", interpolation="nearest" if scale == 1 else "antialiased")
    return ax


def shrink(height: float, width: float) -> float:
    """The scale that keeps pictures of so many pixels together within a screen; 1 where they fit."""
    across, down = (side * DPI for side in SCREEN)
    return min(1.0, across / width, down / height)


def sheet(pieces: list[Band], title: str | None = None) -> Figure:
    """The bands below one another under a title."""
    shapes = [piece.picture.shape[:2] for piece in pieces]
    scale = shrink(sum(height for height, _ in shapes), max(width for _, width in shapes))
    pieces = [_wrapped(piece, scale) for piece in pieces]
    left = PAD + max((text_size(label, LABEL)[0] + PAD for piece in pieces for label in piece.row_labels), default=0.0)
    content = left + max(width for _, width in shapes) * scale / DPI + PAD
    width = max(content, 4.0)
    above = heading(title, width)
    top = max(above.height, PAD)
    heights = [_header(piece) + piece.picture.shape[0] * scale / DPI + PAD for piece in pieces]
    check_size(width, top + sum(heights))
    figure = Figure((width, top + sum(heights)), DPI, facecolor="white")
    above.draw(figure)
    for piece, height in zip(pieces, heights, strict=True):
        _draw(figure, piece, left + (width - content) / 2, top + _header(piece), scale)
        top += height
    return figure


def _wrapped(piece: Band, scale: float) -> Band:
    """The band with its labels broken into lines that fit beside a row and above a column; of many, every k-th."""
    cell_width = piece.picture.shape[1] / piece.columns * scale / DPI
    cell_height = piece.picture.shape[0] / piece.rows * scale / DPI
    words = " ".join(piece.column_labels).split()
    widest = max((text_size(word, SMALL)[0] for word in words), default=0.0)
    every = max(1, math.ceil(widest / (0.96 * cell_width)))
    columns = [wrap(label, 0.96 * every * cell_width, SMALL) if i % every == 0 else ""
               for i, label in enumerate(piece.column_labels)]  # fmt: skip
    return piece._replace(
        row_labels=[_beside(label, cell_height) for label in piece.row_labels],
        column_labels=columns,
    )


def _beside(label: str, height: float) -> str:
    """The label wrapped to the narrowest width (1.3 to 4 inches) at which it is no taller than its row; else cut."""
    for width in np.arange(1.3, 4.0, 0.3):
        lines = wrap(label, width, LABEL)
        if text_size(lines, LABEL)[1] <= height:
            return lines
    most = max(1, int(height / text_size("", LABEL)[1]))
    shown = lines.split("\n")
    return lines if len(shown) <= most else "\n".join([*shown[: most - 1], f"{shown[most - 1]} ..."])


def _header(piece: Band) -> float:
    return max((text_size(label, SMALL)[1] + 0.04 for label in piece.column_labels), default=0.0)


def _draw(figure: Figure, piece: Band, left: float, top: float, scale: float) -> None:
    ax = place_picture(figure, piece.picture, left, top, scale)
    ax.set_axis_off()
    offset = PAD * 0.7 * DPI / scale
    for row, label in enumerate(piece.row_labels):
        ax.text(-offset, piece.middle(row, 0)[1], label, ha="right", va="center", fontsize=LABEL)
    for column, label in enumerate(piece.column_labels):
        ax.text(piece.middle(0, column)[0], -3 / scale, label, ha="center", va="bottom", fontsize=SMALL)
    height, width, _ = piece.picture.shape
    step = (width - piece.gap) / piece.columns
    for column in piece.marks:
        corner = (column % piece.columns * step + piece.gap / 2 - 0.5, piece.gap / 2 - 0.5)
        ax.add_patch(
            Rectangle(corner, step, height - piece.gap, fill=False, color=ORANGE, linewidth=2.2, clip_on=False)
        )
