"""From the shape of an observation to the figures that suit it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaecli.plots.curves import CurvePlots
from vaecli.plots.images import ImagePlots


class View(Protocol):
    """Figures of observations of one shape; the methods of ImagePlots and CurvePlots, where they are explained."""

    x_shape: tuple[int, ...]

    def samples(self, x: Any, title: str | None = None) -> Figure: ...

    def reconstructions(
        self, x: Any, rows: list[tuple[str, Any]], title: str | None = None, notes: list[str] | None = None
    ) -> Figure: ...

    def manifold(self, x: Any, values: Any, dims: tuple[int, int], title: str | None = None) -> Figure: ...

    def strips(
        self,
        x: Any,
        row_labels: list[str],
        column_labels: list[str] | None = None,
        title: str | None = None,
        mark: list[int] | None = None,
    ) -> Figure: ...

    def fit(self, target: Any, fit: Any, title: str | None = None) -> Figure: ...

    def thumbnails(self, x: Any) -> np.ndarray: ...


def view(x_shape: tuple[int, ...], grid: Any = None, label: str = "") -> View:
    """The figures for observations of `x_shape`: (C, H, W) are images, (P,) curves on `grid` (P,), or on 0 to P-1."""
    if len(x_shape) == 3:
        return ImagePlots(x_shape)
    if len(x_shape) != 1:
        raise ValueError(f"expected the x_shape (C, H, W) of images or (P,) of curves, got {tuple(x_shape)}")
    if grid is None:
        return CurvePlots(np.arange(x_shape[0]), label, "index")
    plots = CurvePlots(grid, label)
    if plots.x_shape != tuple(x_shape):
        raise ValueError(f"grid: expected the shape {tuple(x_shape)}, got {plots.x_shape}")
    return plots


def figure_array(figure: Figure, dpi: int = 100) -> np.ndarray:
    """The figure as pixels, uint8 (H, W, 3), as TensorBoard takes them."""
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]
    figure.set_dpi(before)
    return pixels
