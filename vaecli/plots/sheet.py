"""Pictures placed pixel by pixel, with labels around them that are never clipped.

Constrained layout would shrink a picture by some odd factor, and nearest-neighbour scaling would then draw pixels of
unequal size. Here the figure is made to fit the picture, whose pixels are the screen's at 100 dpi or a multiple of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaecli.plots.style import DPI, LABEL, ORANGE, SMALL, TITLE, check_size, text_size, wrap

PAD = 0.12  # inches
MAX_PICTURE_WIDTH = 1280  # pixels: a wider picture is scaled down


class Band(NamedTuple):
    """One tiled picture and what stands around it."""

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


def place(figure: Figure, picture: np.ndarray, left: float, top: float, scale: float) -> Axes:
    """Axes that the picture (H', W', 3) fills, its upper left corner at (left, top) inches from the figure's own."""
    width, height = figure.get_size_inches()
    w, h = picture.shape[1] * scale / DPI, picture.shape[0] * scale / DPI
    ax = figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))
    ax.imshow(picture, aspect="auto", interpolation="nearest" if scale == 1 else "antialiased")
    return ax


def shrink(picture: np.ndarray) -> float:
    """The scale that keeps a picture within `MAX_PICTURE_WIDTH` pixels of width; 1 where it can be."""
    return min(1.0, MAX_PICTURE_WIDTH / int(picture.shape[1]))


def sheet(pieces: list[Band], title: str | None = None) -> Figure:
    """The bands below one another under a title."""
    scale = shrink(pieces[0].picture)
    sizes = np.array([piece.picture.shape[:2] for piece in pieces]) * scale / DPI
    check_size(sizes[:, 1].max(), sizes[:, 0].sum())  # before the labels are measured, which takes its time
    pieces = [_wrapped(piece, scale) for piece in pieces]
    left = PAD + max((text_size(label, LABEL)[0] + PAD for piece in pieces for label in piece.row_labels), default=0.0)
    content = left + max(piece.picture.shape[1] for piece in pieces) * scale / DPI + PAD
    width = max(content, 3.0)
    heading = wrap(title, width - 2 * PAD, TITLE) if title else ""
    top = PAD + (text_size(heading, TITLE)[1] + PAD / 2 if heading else 0.0)
    heights = [_header(piece) + piece.picture.shape[0] * scale / DPI + PAD for piece in pieces]
    figure = Figure((width, top + sum(heights)), DPI, facecolor="white")
    figure.text(0.5, 1 - PAD / (top + sum(heights)), heading, ha="center", va="top", fontsize=TITLE)
    for piece, height in zip(pieces, heights, strict=True):
        _draw(figure, piece, left + (width - content) / 2, top + _header(piece), scale)
        top += height
    return figure


def _wrapped(piece: Band, scale: float) -> Band:
    """The band with its labels broken into lines that fit beside a row and above a column."""
    cell_width = piece.picture.shape[1] / piece.columns * scale / DPI
    cell_height = piece.picture.shape[0] / piece.rows * scale / DPI
    return piece._replace(
        row_labels=[_beside(label, cell_height) for label in piece.row_labels],
        column_labels=[wrap(label, 0.96 * cell_width, SMALL) for label in piece.column_labels],
    )


def _beside(label: str, height: float) -> str:
    """The label in as narrow a column of lines as is no taller than its row, and at least 1.3 inches wide."""
    for width in np.arange(1.3, 12.0, 0.4):
        lines = wrap(label, width, LABEL)
        if text_size(lines, LABEL)[1] <= height:
            return lines
    return label


def _header(piece: Band) -> float:
    return max((text_size(label, SMALL)[1] + 0.04 for label in piece.column_labels), default=0.0)


def _draw(figure: Figure, piece: Band, left: float, top: float, scale: float) -> None:
    ax = place(figure, piece.picture, left, top, scale)
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
