"""Figures of observations that are images, x_shape (C, H, W), of which up to three channels are drawn.

NaN stands for a missing number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vaecli.plots.sheet import PAD, Band, place_picture, sheet, shrink
from vaecli.plots.style import (
    DPI,
    LABEL,
    SCREEN,
    SMALL,
    TITLE,
    array,
    bands,
    canvas,
    grid_shape,
    heading,
    latent,
    one_each,
    round_ticks,
)

GAP, GAP_GREY = 3, 88  # pixels between tiles, and a grey that differs from black and white backgrounds
MISSING = (150, 190, 230)  # a light blue, distinct from every grey
WIDTH, TILE = 720, 240  # pixels: the sizes to which a picture and a tile are enlarged
SMALLEST = 64  # pixels: no tile is scaled down further
LABELLED, HEADER = 46, 40  # pixels: the least width of a tile with a text above it, and the height of that text
IN_A_ROW = 10  # observations


def tile(images: Any, columns: int, zoom: int = 1, gap: int = GAP) -> np.ndarray:
    """Images (N, C, H, W), clipped to [0, 1], side by side: uint8 (H', W', C), row by row, `columns` in a row.

    Every pixel becomes zoom x zoom pixels; `gap` dark grey ones lie around every image, and none where it is 0.
    With NaN in them the picture is in colour, and missing pixels are light blue.
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
    blank = missing.all(1, keepdims=True)  # where all channels are missing
    return np.where(blank, np.array(MISSING, np.uint8).reshape(3, 1, 1), values)


class ImagePlots:
    """Figures of images: every method takes tensors or arrays and returns a matplotlib Figure.

    display_range: the values that are drawn black and white
    channels: those that are drawn, counted from 0: one as grey, two as red and green, three as red, green and blue;
        None: the first three
    """

    show_draws, default_grid_size, default_samples, watched_observations = False, 20, 64, 10  # as in CurvePlots

    def __init__(
        self,
        x_shape: Sequence[int],
        display_range: tuple[float, float] = (0.0, 1.0),
        channels: Sequence[int] | None = None,
    ) -> None:
        self.x_shape, self.display_range = tuple(x_shape), display_range
        if len(self.x_shape) != 3:
            raise ValueError(f"expected the x_shape (C, H, W), got {self.x_shape}")
        self.channels = list(range(self.x_shape[0])[:3]) if channels is None else list(channels)
        self.tile_shape = (1 if len(self.channels) == 1 else 3, *self.x_shape[1:])

    @property
    def most_samples(self) -> int:
        """How many fit on a screen."""
        height, width = self._pitch()
        return max(1, int(SCREEN[1] * DPI / height)) * max(1, int(SCREEN[1] * DPI / width))

    @property
    def max_reconstruction_rows(self) -> int:
        """How many rows of reconstructions fit on a screen."""
        return max(1, self.most_rows(IN_A_ROW) - 1)

    def most_observations(self, rows: int) -> int:
        """How many observations fit on a screen if each takes `rows` labelled pictures, ten observations in a row."""
        _, height, width = self.x_shape
        pitch = self._pitch()[0] if width >= LABELLED else height * -(-LABELLED // width) + GAP
        return IN_A_ROW * max(1, int(SCREEN[1] * DPI / (rows * pitch + HEADER)))

    def most_rows(self, columns: int) -> int:
        """How many rows of so many pictures fit on a screen."""
        _, height, width = self.x_shape
        scale = min(SMALLEST / max(height, width), (SCREEN[0] * DPI / columns - GAP) / width, 1.0)
        return max(1, int(SCREEN[1] * DPI / (height * scale + GAP)))

    @property
    def most_grid(self) -> int:
        """How many rows and columns of a manifold can be told apart on a screen, at least as many as by default."""
        side = min(max(self.x_shape[1:]), SMALLEST // 2)
        return max(self.default_grid_size, int(SCREEN[1] * DPI / side))

    def samples(self, x: Any, title: str | None = None) -> Figure:
        """x (N, C, H, W) in a nearly square picture."""
        x = self.shades(x)
        rows, columns = grid_shape(len(x), self.x_shape[1] / self.x_shape[2])
        zoom = self._zoom(rows, columns)
        return sheet([Band(_rgb(tile(x, columns, zoom)), rows, columns, GAP, [], [], [])], self._titled(title))

    data = samples

    def reconstructions(
        self, x: Any, rows: list[tuple[str, Any]], notes: list[str] | None = None, title: str | None = None
    ) -> Figure:
        """x (N, C, H, W) in the top row, below it a row per (label, images (N, C, H, W)); notes: a text per column."""
        images = np.stack([self.shades(values) for _, values in [("data", x), *rows]])  # (R, N, C, H, W)
        labels = ["data", *(label for label, _ in rows)]
        parts = bands(images.shape[1], IN_A_ROW)
        zoom = self._zoom(len(labels), parts[0].stop, LABELLED if notes else 0, len(parts))
        pieces = [self._band(images[:, part], zoom, labels, (notes or [])[part]) for part in parts]
        return sheet(pieces, self._titled(title))

    def strips(
        self,
        x: Any,
        row_labels: list[str],
        column_labels: list[str] | None = None,
        title: str | None = None,
        mark: list[int] | None = None,
    ) -> Figure:
        """x (R, S, C, H, W) as R rows of S images, the columns in `mark` framed (-1 is the last)."""
        x = self.shades(x)
        one_each(row_labels, x.shape[0], "row_labels")
        one_each(column_labels or [""] * x.shape[1], x.shape[1], "column_labels")
        zoom = self._zoom(x.shape[0], x.shape[1], LABELLED if column_labels else 0)
        return sheet([self._band(x, zoom, row_labels, column_labels or [], mark or [])], self._titled(title))

    def manifold(self, x: Any, values: Any, dims: tuple[int, int], title: str | None = None) -> Figure:
        """x (n, n, C, H, W) as one seamless picture; x[i, j] is p(x|z)'s mean at the dims (values[j], values[i]).

        values[j] grows to the right and values[i] upwards; dims count from 0, their labels from 1.
        """
        x, values = self.shades(x), array(values, name="values")
        n = len(values)
        picture = tile(x[::-1].reshape(-1, *self.tile_shape), n, self._zoom(n, n), gap=0)
        return _ticked(_rgb(picture), values, dims, self._titled(title))

    def fit(self, target: Any, fit: Any, title: str | None = None) -> Figure:
        """target and fit (C, H, W) and, beside them, fit - target (the mean over channels)."""
        target, fit = array(target, *self.x_shape), array(fit, *self.x_shape)
        difference = (fit - target).mean(0)
        most = max(float(np.abs(difference[~np.isnan(difference)]).max(initial=0.0)), 1e-3)
        height = min(2.4 * self.x_shape[1] / self.x_shape[2] + 0.5, SCREEN[1])
        figure = canvas(8.0, height, self._titled(title))
        axes = figure.subplots(1, 3)
        names = ["target", "fit", "fit \N{MINUS SIGN} target" + (", mean of channels" if len(target) > 1 else "")]
        for ax, name, image in zip(axes, names, [target, fit, None], strict=True):
            ax.set_title(name, fontsize=LABEL)
            ax.set(xticks=[], yticks=[])
            if image is not None:
                ax.imshow(_rgb(tile(self.shades(image[None]), 1, gap=0)), interpolation="nearest")
        shown = axes[2].imshow(difference, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        bar = figure.colorbar(shown, cax=axes[2].inset_axes((1.04, 0.0, 0.06, 1.0)))
        bar.ax.tick_params(labelsize=SMALL)
        return figure

    def shades(self, x: Any) -> np.ndarray:
        """The channels that are drawn, (..., 1 or 3, H, W), with 0 for black and 1 for white."""
        low, high = self.display_range
        chosen = (array(x, *self.x_shape)[..., self.channels, :, :] - low) / (high - low)
        if len(self.channels) == 2:
            chosen = np.concatenate([chosen, 0.0 * chosen[..., :1, :, :]], axis=-3)  # no blue; NaN stays NaN
        return chosen

    def _titled(self, title: str | None) -> str | None:
        """The title, with a note on the channels unless they are those of a grey or colour image."""
        n = self.x_shape[0]
        if self.channels == list(range(n)) and n in (1, 3):
            return title
        names = ", ".join(map(str, self.channels))
        kinds = " as red and green" if len(self.channels) == 2 else " as red, green, blue"
        said = f"channel {names} of {n}" if len(self.channels) == 1 else f"channels {names} of {n}{kinds}"
        what, _, source = (title or "").partition("\n")
        return f"{what}\n{', '.join(filter(None, [source, said]))}"

    def _pitch(self) -> tuple[float, float]:
        """The least height and width of a picture in pixels."""
        _, height, width = self.x_shape
        scale = min(1.0, SMALLEST / max(height, width))
        return height * scale + GAP, width * scale + GAP

    def _zoom(self, rows: int, columns: int, least: int = 0, parts: int = 1) -> int:
        """The factor by which to enlarge, so that the picture fills the page and a tile is at least `least` wide.

        rows, columns: of each of the `parts` below one another
        """
        _, height, width = self.x_shape
        page = max(min(WIDTH // (columns * width), TILE // max(height, width)), -(-least // width))
        across, down = SCREEN[0] * DPI / columns - GAP, (SCREEN[1] * DPI / parts - HEADER) / rows - GAP
        return max(1, min(page, int(across / width), int(down / height)))

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
        picture = _rgb(tile(x.reshape(-1, *self.tile_shape), columns, zoom))
        return Band(picture, rows, columns, GAP, row_labels, column_labels, list(marks))


def _rgb(picture: np.ndarray) -> np.ndarray:
    """(H', W', 1 or 3) as (H', W', 3): a colour picture needs no colormap."""
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _ticked(picture: np.ndarray, values: np.ndarray, dims: tuple[int, int], title: str | None) -> Figure:
    """A seamless n x n picture with the values (n,) of two latents on its axes."""
    scale, n = shrink(*picture.shape[:2]), len(values)
    height, width = (size * scale / DPI for size in picture.shape[:2])
    left, bottom = 0.85, 0.6
    total = max(left + width + 2 * PAD, 4.0)
    above = heading(title, total)
    top = above.height + PAD
    figure = Figure((total, top + height + bottom), DPI, facecolor="white")
    above.draw(figure)
    ax = place_picture(figure, picture, (total + left - 2 * PAD - width) / 2, top, scale)
    places, labels = round_ticks(values)
    across, down = picture.shape[1] / n, picture.shape[0] / n
    ax.set_xticks((places + 0.5) * across - 0.5, labels)
    ax.set_yticks((n - places - 0.5) * down - 0.5, labels)
    ax.tick_params(labelsize=SMALL, length=3)
    ax.set_xlabel(latent(dims[0]), fontsize=TITLE)
    ax.set_ylabel(latent(dims[1]), fontsize=TITLE)
    return figure
