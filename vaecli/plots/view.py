"""From the shape of an observation to the figures that suit it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vaecli.plots.curves import CurvePlots
from vaecli.plots.images import ImagePlots
from vaecli.plots.style import DPI
from vaecli.plots.tables import TablePlots

FEW = 12  # up to so many numbers without a grid are columns of a table, more of them a curve


View = ImagePlots | CurvePlots | TablePlots  # figures of observations of one shape: the same methods, by the same names


def view(
    x_shape: tuple[int, ...],
    grid: Any = None,
    label: str = "",
    names: Sequence[str] | None = None,
    shown: tuple[float, float] = (0.0, 1.0),
) -> View:
    """The figures for observations of `x_shape`: (C, H, W) are images, (P,) curves on `grid` (P,), or on 0 to P-1.

    Up to FEW numbers without a grid are the columns of a table, called `names`; `shown` is drawn black and white.
    """
    if len(x_shape) == 3:
        return ImagePlots(x_shape, shown)
    if len(x_shape) != 1:
        raise ValueError(f"expected the x_shape (C, H, W) of images or (P,) of curves, got {tuple(x_shape)}")
    if grid is None and x_shape[0] <= FEW:
        return TablePlots(names or [f"x_{i + 1}" for i in range(x_shape[0])])
    if grid is None:
        return CurvePlots(np.arange(x_shape[0]), label, "index")
    plots = CurvePlots(grid, label)
    if plots.x_shape != tuple(x_shape):
        raise ValueError(f"grid: expected the shape {tuple(x_shape)}, got {plots.x_shape}")
    return plots


def view_of(dataset: Any, x_shape: tuple[int, ...]) -> View:
    """The figures for the observations of a data set, which may have a grid, a label, names and a range of its own."""
    names = dataset.names if dataset.names and len(dataset.names) == x_shape[0] else None
    shown = dataset.shown if len(x_shape) == 3 else (0.0, 1.0)
    return view(x_shape, dataset.grid, dataset.label, names, shown)


def figure_array(figure: Figure, dpi: int = DPI) -> np.ndarray:
    """The figure as pixels, uint8 (H, W, 3)."""
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of letters that the font lacks
        canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]
    figure.set_dpi(before)
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """Pixels, uint8 (H, W, 3), as the content of a .png file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png", dpi=(DPI, DPI))
    return content.getvalue()
