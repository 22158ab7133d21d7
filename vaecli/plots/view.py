"""Chooses the figures for observations of a shape, and renders figures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vaecli.plots.columns import Reference
from vaecli.plots.curves import CurvePlots
from vaecli.plots.histograms import Categories
from vaecli.plots.images import ImagePlots
from vaecli.plots.style import DPI
from vaecli.plots.tables import TablePlots
from vaecli.utils.columns import unnamed
from vaecli.utils.errors import UserError

# Observations of at most this many numbers are drawn as tables, not as curves:
MAX_UNNAMED_COLUMNS = 12  # without names
MAX_NUMBERED_COLUMNS = 64  # with names like x_1


View = ImagePlots | CurvePlots | TablePlots  # three classes with the same methods


def view(
    x_shape: tuple[int, ...],
    grid: Any = None,
    label: str = "",
    names: Sequence[str] | None = None,
    display_range: tuple[float, float] = (0.0, 1.0),
    channels: Sequence[int] | None = None,
    reference: Reference | Callable[[], Reference | None] | None = None,
    categories: Categories | None = None,
) -> View:
    """The figures for observations of `x_shape`: (C, H, W) are images, (P,) curves on `grid` (P,), or on 0 to P-1.

    Numbers without a grid are the columns of a table if they have `names` or are few. `display_range`: the values of
    images that are drawn black and white. `channels`: those that are drawn, of images with many.
    """
    if len(x_shape) == 3:
        return ImagePlots(x_shape, display_range, channels)
    if len(x_shape) != 1:
        raise ValueError(f"expected the x_shape (C, H, W) of images or (P,) of curves, got {tuple(x_shape)}")
    if grid is None and is_table(x_shape[0], names):
        return TablePlots(names or unnamed(x_shape[0]), reference, categories)
    if grid is None:
        return CurvePlots(np.arange(x_shape[0]), label, "index")
    plots = CurvePlots(grid, label)
    if plots.x_shape != tuple(x_shape):
        raise ValueError(f"grid: expected the shape {tuple(x_shape)}, got {plots.x_shape}")
    return plots


def is_table(n: int, names: Sequence[str] | None) -> bool:
    """Whether n numbers are columns, not points of a curve: generic names count only for a few."""
    return n <= MAX_UNNAMED_COLUMNS or (names is not None and (n <= MAX_NUMBERED_COLUMNS or list(names) != unnamed(n)))


def view_of(
    dataset: Any,
    x_shape: tuple[int, ...],
    channels: Sequence[int] | None = None,
    reference: Callable[[], Reference | None] | None = None,
) -> View:
    """The figures for the observations of a data set, which may have a grid, a label, names and a range of its own.

    channels: of images, those to draw; reference: called when rows of a table are drawn
    UserError for channels that the images do not have.
    """
    check_channels(x_shape, channels)
    names = dataset.names if dataset.names and len(dataset.names) == x_shape[0] else None
    if len(x_shape) == 3:
        return view(x_shape, display_range=dataset.display_range, channels=channels)
    return view(x_shape, dataset.grid, dataset.label, names, reference=reference, categories=dataset.categories)


def check_channels(x_shape: tuple[int, ...], channels: Sequence[int] | None) -> None:
    """UserError unless `channels`, None apart, are one to three of the images' channels."""
    if channels is None:
        return
    given = f"images.channels=[{','.join(map(str, channels))}]"
    if len(x_shape) != 3:
        raise UserError(f"{given}: these observations are not images; leave it out")
    if not 1 <= len(channels) <= 3:
        raise UserError(f"{given}: expected one channel (grey), two (red, green) or three (red, green, blue)")
    if max(channels) >= x_shape[0]:
        have = "one channel, 0" if x_shape[0] == 1 else f"the channels 0 to {x_shape[0] - 1}"
        raise UserError(f"{given}: these images have {have}")


def figure_array(figure: Figure, dpi: int = DPI) -> np.ndarray:
    """The figure as pixels, uint8 (H, W, 3)."""
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # about letters that the font lacks
        canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]
    figure.set_dpi(before)
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """Pixels, uint8 (H, W, 3), as the content of a .png file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png", dpi=(DPI, DPI))
    return content.getvalue()
