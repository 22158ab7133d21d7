"""Decodings along a path, side by side: images as tiles, curves as panels, a table's rows as columns of colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.events import Pan, Tap
from bokeh.models import ColumnDataSource, CustomJS, FactorRange, LinearColorMapper, Range1d, Slider, Span
from bokeh.palettes import interp_palette
from bokeh.plotting import figure as bokeh_figure

from vaecli.plots.explore.look import ACCENT, plain_figure
from vaecli.plots.explore.map import MARK
from vaecli.plots.explore.pictures import CurvePicture, ImagePicture, Picture, Shown, TablePicture, bare_figure, rgba
from vaecli.plots.style import limits

STEPS = 9  # decodings on a strip
TILE = 38  # pixels
BLUE_TO_ORANGE = interp_palette(["#0072b2", "#f4f4f4", "#d55e00"], 101)

SCRUB = "scrub.value = Math.min(1, Math.max(0, (cb_obj.x / width - 0.5) / (steps - 1)));"
FOLLOW = "here.location = width * (0.5 + cb_obj.value * (steps - 1));"


class ImageStrip:
    """Images side by side."""

    def __init__(self, picture: ImagePicture) -> None:
        self.view = picture.view
        _, height, self.width = self.view.tile_shape
        blank = np.full((height, self.width * STEPS), 0xFFFFFFFF, np.uint32)
        self.source = ColumnDataSource(data={"image": [blank]})
        across = self.width * STEPS
        self.plot = bare_figure(TILE * STEPS, max(24, TILE * height // self.width), across, height)
        self.plot.image_rgba("image", source=self.source, x=0, y=0, dw=across, dh=height)

    def columns(self, x: np.ndarray) -> Shown:
        """The columns that show x (STEPS, C, H, W)."""
        return {"image": [np.concatenate([rgba(self.view.shades(one)) for one in x], 1)]}


class CurveStrip:
    """Curves in panels side by side, on the same axis."""

    width = 1.0

    def __init__(self, picture: CurvePicture) -> None:
        span = float(np.ptp(picture.grid)) or 1.0
        self.within = 0.06 + 0.88 * (picture.grid - picture.grid.min()) / span
        self.source = ColumnDataSource(data={"t": [], "x": []})
        self.plot = bare_figure(TILE * STEPS, 90, STEPS, 1)
        self.plot.y_range = Range1d(0, 1)
        self.plot.multi_line("t", "x", source=self.source, line_color=ACCENT, line_width=1.5)

    def columns(self, x: np.ndarray) -> Shown:
        """The columns that show x (STEPS, P); the axis follows."""
        low, high = limits(x)
        self.plot.y_range.update(start=low, end=high)
        return {"t": [k + self.within for k in range(len(x))], "x": list(x)}


class TableStrip:
    """A column of cells for each decoding: orange above the data's mean, blue below."""

    width = 1.0

    def __init__(self, picture: TablePicture) -> None:
        self.reference, names = picture.reference, picture.names
        blank = np.zeros((len(names), STEPS), np.float32)
        self.source = ColumnDataSource(data={"image": [blank]})
        colours = LinearColorMapper(palette=BLUE_TO_ORANGE, low=-2.5, high=2.5)
        self.plot = plain_figure(width=TILE * STEPS, height=16 + 20 * len(names), x_range=Range1d(0, STEPS),
                                 y_range=FactorRange(factors=names[::-1]), x_axis_type=None)  # fmt: skip
        self.plot.image("image", source=self.source, x=0, y=0, dw=STEPS, dh=len(names), color_mapper=colours)
        self.plot.grid.visible = False

    def columns(self, x: np.ndarray) -> Shown:
        """The columns that show x (STEPS, d)."""
        values = self.reference.standard(x)
        return {"image": [np.where(np.isfinite(values), values, 0.0).T[::-1].astype(np.float32)]}


def strip_of(picture: Picture) -> Any:
    """The strip of decodings like the one that a picture shows."""
    if isinstance(picture, ImagePicture):
        return ImageStrip(picture)
    return CurveStrip(picture) if isinstance(picture, CurvePicture) else TableStrip(picture)


def scrubbed(plot: bokeh_figure, width: float, scrub: Slider) -> None:
    """Let mouse and slider move along a strip whose decodings are `width` wide; a line shows where the slider is."""
    here = Span(location=width / 2, dimension="height", line_color=MARK, line_width=2, level="overlay")
    plot.add_layout(here)
    names = {"scrub": scrub, "here": here, "width": width, "steps": STEPS}
    for event in (Tap, Pan):
        plot.js_on_event(event, CustomJS(args=names, code=SCRUB))
    scrub.js_on_change("value", CustomJS(args=names, code=FOLLOW))
