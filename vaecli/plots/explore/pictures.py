"""An observation on a page: an image as an image, a curve with its band, a table's row as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LabelSet, Range1d
from bokeh.plotting import figure as bokeh_figure

from vaecli.plots.columns import MAX_COLUMNS, Columns
from vaecli.plots.curves import CurvePlots
from vaecli.plots.explore.look import ACCENT, plain, plain_figure
from vaecli.plots.images import ImagePlots, in_bytes
from vaecli.plots.style import limits
from vaecli.plots.tables import TablePlots
from vaecli.plots.view import View
from vaecli.utils.text import shorten

NAME = 26  # characters of a column's name
GREY = "#808080"  # legible on white and on black
Shown = dict[str, Any]  # columns of a picture's source, by their names
Texts = Callable[[np.ndarray], Sequence[str]]  # a table's row (d,) -> its cells in the data's units


def rgba(shades: np.ndarray) -> np.ndarray:
    """One image (1 or 3, H, W), 0 to 1, as Bokeh draws it: uint32 (H, W), the last row first."""
    values = in_bytes(shades[None])[0]
    colours = np.broadcast_to(values, (3, *values.shape[1:])).transpose(1, 2, 0)[::-1]
    whole = np.full((*colours.shape[:2], 4), 255, np.uint8)
    whole[..., :3] = colours
    return whole.view(np.uint32)[..., 0]


class ImagePicture:
    """An image that changes."""

    def __init__(self, view: ImagePlots, side: int, title: str) -> None:
        self.view = view
        _, height, width = view.tile_shape
        wide, high = (side, max(40, side * height // width)) if width >= height else (side * width // height, side)
        self.source = ColumnDataSource(data={"image": [np.zeros((height, width), np.uint32)]})
        self.plot = bare_figure(wide, high, width, height)
        self.plot.name = title
        self.plot.image_rgba("image", source=self.source, x=0, y=0, dw=width, dh=height)

    def columns(self, x: np.ndarray, spread: np.ndarray | None = None) -> Shown:
        """The columns of the source that show x (C, H, W)."""
        return {"image": [rgba(self.view.shades(x))]}


def bare_figure(wide: int, high: int, width: float, height: float) -> bokeh_figure:
    """A figure of wide x high pixels over width x height units, without axes."""
    return plain_figure(width=wide, height=high, x_range=Range1d(0, width), y_range=Range1d(0, height),
                        min_border=0, margin=5, outline_line_color="#999999", x_axis_type=None,
                        y_axis_type=None)  # fmt: skip


class CurvePicture:
    """A curve with a band of two standard deviations."""

    def __init__(self, view: CurvePlots, side: int, title: str, data: np.ndarray | None) -> None:
        self.grid = np.asarray(view.grid, float)
        blank = np.zeros_like(self.grid)
        self.source = ColumnDataSource(data={"t": self.grid, "x": blank, "low": blank, "high": blank})
        low, high = limits(np.array([-1.0, 1.0]) if data is None else data)
        self.plot = plain_figure(height=side, y_range=Range1d(low, high), name=title, **fluid(side, 1.5))
        self.plot.varea("t", "low", "high", source=self.source, fill_color=ACCENT, fill_alpha=0.25)
        self.plot.line("t", "x", source=self.source, line_color=ACCENT, line_width=2.5)
        self.plot.xaxis.axis_label, self.plot.yaxis.axis_label = plain(str(view.x_label)), plain(str(view.label))

    def columns(self, x: np.ndarray, spread: np.ndarray | None = None) -> Shown:
        """The columns that show x (P,), with the standard deviations (P,) around it if they are known."""
        band = np.zeros_like(x) if spread is None else 2 * spread
        return {"x": x, "low": x - band, "high": x + band}


def fluid(side: int, share: float) -> dict[str, Any]:
    """A figure as wide as there is room, up to a share of `side`, and in proportion to it."""
    return {"sizing_mode": "stretch_width", "max_width": max(400, int(side * share)), "min_width": 120}


class TablePicture:
    """A row of a table: a bar for each column, in standard units, with its value in the data's units."""

    def __init__(self, view: TablePlots, side: int, title: str, data: np.ndarray, texts: Texts) -> None:
        self.reference, self.texts = Columns.choose(view.names, view.reference, data), texts
        names = [shorten(plain(view.names[i]), NAME) for i in self.reference.places]
        self.names = [f"{name}\u200b{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
        blank = np.zeros(len(names))
        self.source = ColumnDataSource(data={"name": self.names, "x": blank, "low": blank, "high": blank,
                                             "text": [""] * len(names)})  # fmt: skip
        height = 66 + 22 * min(len(names), MAX_COLUMNS)
        self.plot = plain_figure(height=height, y_range=self.names[::-1], x_range=Range1d(-3.2, 6.2), name=title,
                                 **fluid(side, 1.8))  # fmt: skip
        self.plot.hbar("name", height=0.6, left=0, right="x", source=self.source, fill_color=ACCENT, line_color=None)
        self.plot.hbar("name", height=0.12, left="low", right="high", source=self.source, fill_color=GREY,
                       line_color=None)  # fmt: skip
        self.plot.add_layout(LabelSet(x=3.1, y="name", text="text", source=self.source, text_font_size="12px",
                                      text_baseline="middle", text_color=GREY))  # fmt: skip
        self.plot.xaxis.axis_label = "standard deviations\nfrom the mean"
        self.plot.xaxis.ticker = [-3, -2, -1, 0, 1, 2, 3] if side > 200 else [-2, 0, 2]
        self.plot.ygrid.visible = False

    def columns(self, x: np.ndarray, spread: np.ndarray | None = None) -> Shown:
        """The columns that show x (d,), with the standard deviations (d,) if they are known."""
        values = self.reference.standard(x)
        near = np.clip(np.where(np.isfinite(values), values, 0.0), -3.1, 3.0)
        band = np.zeros_like(near) if spread is None else spread[self.reference.places] / self.reference.scale
        band = np.where(np.isfinite(band), band, 0.0)
        cells = self.texts(x)
        return {"x": near, "low": np.clip(near - band, -3.1, 3), "high": np.clip(near + band, -3.1, 3),
                "text": [shorten(str(cells[i]), 14) for i in self.reference.places]}  # fmt: skip


Picture = ImagePicture | CurvePicture | TablePicture


def picture_of(view: View, side: int, title: str, data: np.ndarray, texts: Texts) -> Any:
    """A Picture of `side` pixels for the observations of a view; data (N, *x_shape): some, which set the ranges."""
    if isinstance(view, ImagePlots):
        return ImagePicture(view, side, title)
    if isinstance(view, CurvePlots):
        return CurvePicture(view, side, title, data)
    return TablePicture(view, side, title, data, texts)


def show(picture: Picture, x: np.ndarray, spread: np.ndarray | None = None) -> None:
    """Show an observation x (*x_shape)."""
    picture.source.data = {**picture.source.data, **picture.columns(x, spread)}
