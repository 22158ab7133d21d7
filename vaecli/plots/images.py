"""Figures of observations that are images, x_shape (C, H, W) with C in {1, 3}; NaN is what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vaecli.plots.sheet import PAD, Band, place, sheet, shrink
from vaecli.plots.style import (
    DPI,
    LABEL,
    SMALL,
    TITLE,
    array,
    bands,
    canvas,
    grid_shape,
    latent,
    locator,
    numbers,
    one_each,
    some,
    text_size,
    wrap,
)

GAP, GAP_GREY = 3, 88  # pixels between tiles, and a grey that both black and white backgrounds stand out from
MISSING = (150, 190, 230)  # a light blue, which no grey is taken for
WIDTH, TILE = 720, 240  # pixels: what a picture and one of its tiles are enlarged towards
LABELLED = 46  # pixels: the least width of a tile with a text above it


def tile(images: Any, columns: int, zoom: int = 1, gap: int = GAP) -> np.ndarray:
    """Images (N, C, H, W), clipped to [0, 1], side by side: uint8 (H', W', C), row by row, `columns` in a row.

    Every pixel becomes zoom x zoom pixels; `gap` dark grey ones lie around every image, and none where it is 0.
    With NaN in them the picture is in colour, and what is missing light blue.
    """
    values = in_bytes(array(images))
    n, channels, height, width = values.shape
    rows = -(-n // columns)
    cells = np.full((rows * columns, height * zoom + gap, width * zoom + gap, channels), GAP_GREY, np.uint8)
    large = values.transpose(0, 2, 3, 1).repeat(zoom, axis=1).repeat(zoom, axis=2)
    cells[:n, gap:, gap:] = large
    joined = cells.reshape(rows, columns, *cells.shape[1:]).transpose(0, 2, 1, 3, 4)
    picture = joined.reshape(rows * cells.shape[1], columns * cells.shape[2], channels)
    return np.pad(picture, ((0, gap), (0, gap), (0, 0)), constant_values=GAP_GREY)


def in_bytes(images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as uint8, 0 to 1 being 0 to 255; where a value is NaN, in three channels."""
    missing = np.isnan(images)
    values = (np.clip(np.where(missing, 0.0, images), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if not missing.any():
        return values
    blank = missing.all(1, keepdims=True)  # of one channel alone it is the others that are seen
    return np.where(blank, np.array(MISSING, np.uint8).reshape(3, 1, 1), values)


class ImagePlots:
    """Figures of images: every method takes tensors or arrays and returns a matplotlib Figure.

    shown: the values that are drawn black and white
    """

    drawn, readable = False, 20  # as in CurvePlots

    def __init__(self, x_shape: Sequence[int], shown: tuple[float, float] = (0.0, 1.0)) -> None:
        self.x_shape, self.shown = tuple(x_shape), shown
        if len(self.x_shape) != 3 or self.x_shape[0] not in (1, 3):
            raise ValueError(f"expected the x_shape (C, H, W) with C 1 or 3, got {self.x_shape}")

    def samples(self, x: Any, title: str | None = None) -> Figure:
        """x (N, C, H, W) in a nearly square picture."""
        x = self._array(x)
        rows, columns = grid_shape(len(x), self.x_shape[1] / self.x_shape[2])
        zoom = self._zoom(rows, columns)
        return sheet([Band(_rgb(tile(x, columns, zoom)), rows, columns, GAP, [], [], [])], title)

    def reconstructions(self, x: Any, rows: list[tuple[str, Any]], notes: list[str] | None = None) -> Figure:
        """x (N, C, H, W) in the top row, below it a row per (label, images (N, C, H, W)); notes: a text per column."""
        images = np.stack([self._array(values) for _, values in [("data", x), *rows]])  # (R, N, C, H, W)
        labels = ["data", *(label for label, _ in rows)]
        parts = bands(images.shape[1], 10)
        zoom = self._zoom(len(labels), parts[0].stop, LABELLED if notes else 0)
        pieces = [self._band(images[:, part], zoom, labels, (notes or [])[part]) for part in parts]
        return sheet(pieces)

    def strips(
        self,
        x: Any,
        row_labels: list[str],
        column_labels: list[str] | None = None,
        title: str | None = None,
        mark: list[int] | None = None,
    ) -> Figure:
        """x (R, S, C, H, W) as R rows of S images, the columns in `mark` framed (-1 is the last)."""
        x = self._array(x)
        one_each(row_labels, x.shape[0], "row_labels")
        one_each(column_labels or [""] * x.shape[1], x.shape[1], "column_labels")
        zoom = self._zoom(x.shape[0], x.shape[1], LABELLED if column_labels else 0)
        return sheet([self._band(x, zoom, row_labels, column_labels or [], mark or [])], title)

    def manifold(self, x: Any, values: Any, dims: tuple[int, int], title: str | None = None) -> Figure:
        """x (n, n, C, H, W) as one seamless picture; x[i, j] is p(x|z)'s mean at the dims (values[j], values[i]).

        values[j] grows to the right and values[i] upwards; dims count from 0, their labels from 1.
        """
        x, values = self._array(x), array(values, name="values")
        n = len(values)
        picture = tile(x[::-1].reshape(-1, *self.x_shape), n, self._zoom(n, n), gap=0)
        return _ticked(_rgb(picture), values, dims, title)

    def fit(self, target: Any, fit: Any, title: str | None = None) -> Figure:
        """target and fit (C, H, W) and, beside them, fit - target (the mean over channels)."""
        target, fit = array(target, *self.x_shape), array(fit, *self.x_shape)
        difference = (fit - target).mean(0)
        most = max(float(np.abs(difference[~np.isnan(difference)]).max(initial=0.0)), 1e-3)
        figure = canvas(8.0, 2.4 * self.x_shape[1] / self.x_shape[2] + 0.5, title)
        axes = figure.subplots(1, 3)
        names = ["target", "fit", "fit \N{MINUS SIGN} target" + (", mean of channels" if len(target) > 1 else "")]
        for ax, name, image in zip(axes, names, [target, fit, None], strict=True):
            ax.set_title(name, fontsize=LABEL)
            ax.set(xticks=[], yticks=[])
            if image is not None:
                ax.imshow(_rgb(tile(self._array(image[None]), 1, gap=0)), interpolation="nearest")
        shown = axes[2].imshow(difference, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        bar = figure.colorbar(shown, cax=axes[2].inset_axes((1.04, 0.0, 0.06, 1.0)))
        bar.ax.tick_params(labelsize=SMALL)
        return figure

    def _array(self, x: Any) -> np.ndarray:
        """Images (..., C, H, W) with 0 for black and 1 for white."""
        low, high = self.shown
        return (array(x, *self.x_shape) - low) / (high - low)

    def _zoom(self, rows: int, columns: int, least: int = 0) -> int:
        """How many times to enlarge so that the picture fills the page, and a tile is at least `least` wide."""
        _, height, width = self.x_shape
        page = min(WIDTH // (columns * width), 2 * WIDTH // (rows * height), TILE // max(height, width))
        return max(1, page, -(-least // width))

    def _band(
        self,
        x: np.ndarray,
        zoom: int,
        row_labels: list[str],
        column_labels: list[str],
        marks: Sequence[int] = (),
    ) -> Band:
        """Images (R, S, C, H, W) as R labelled rows."""
        rows, columns = x.shape[:2]
        picture = _rgb(tile(x.reshape(-1, *self.x_shape), columns, zoom))
        return Band(picture, rows, columns, GAP, row_labels, column_labels, list(marks))


def _rgb(picture: np.ndarray) -> np.ndarray:
    """(H', W', 1 or 3) as (H', W', 3): a colour picture needs no colormap."""
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _ticked(picture: np.ndarray, values: np.ndarray, dims: tuple[int, int], title: str | None) -> Figure:
    """A seamless n x n picture with the values (n,) of two latents on its axes."""
    scale, n = shrink(picture), len(values)
    height, width = (size * scale / DPI for size in picture.shape[:2])
    left, bottom = 0.85, 0.6
    total = max(left + width + 2 * PAD, 3.0)
    heading = wrap(title, total - 2 * PAD, TITLE) if title else ""
    top = 2 * PAD + (text_size(heading, TITLE)[1] if heading else 0.0)
    figure = Figure((total, top + height + bottom), DPI, facecolor="white")
    figure.text(0.5, 1 - PAD / (top + height + bottom), heading, ha="center", va="top", fontsize=TITLE)
    ax = place(figure, picture, left, top, scale)
    places, labels = _ticks(values)
    across, down = picture.shape[1] / n, picture.shape[0] / n
    ax.set_xticks((places + 0.5) * across - 0.5, labels)
    ax.set_yticks((n - places - 0.5) * down - 0.5, labels)
    ax.tick_params(labelsize=SMALL, length=3)
    ax.set_xlabel(latent(dims[0]), fontsize=TITLE)
    ax.set_ylabel(latent(dims[1]), fontsize=TITLE)
    return figure


def _ticks(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Where on an axis of n tiles to put ticks, and their labels: round values if the tiles are evenly spaced."""
    n = len(values)
    if n < 6 or np.ptp(np.diff(values)) > 1e-3 * abs(values[1] - values[0]):
        places, labels = some(n), numbers(values)
        return np.array(places), [labels[i] for i in places]
    low, high = values[0], values[-1]
    shown = np.array([v for v in locator(8).tick_values(low, high) if low - 1e-6 <= v <= high + 1e-6])
    return (shown - low) / (high - low) * (n - 1), numbers(shown)
