"""The map of a latent space: dots, the point that moves, q(z|x), the prior's contours and paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJSHover,
    CustomJSTransform,
    HoverTool,
    LassoSelectTool,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    WheelZoomTool,
)
from bokeh.plotting import figure as bokeh_figure
from bokeh.transform import transform

from vaecli.plots.explore.look import LIGHT_TO_DARK, packed, quiet, safe
from vaecli.utils.text import printable, shorten

MARK = "#d55e00"
BINS, SMOOTHING = 90, 2.0  # of the histogram from which contours are drawn
SHARES = (0.5, 0.9, 0.99)  # of the prior within its contours
EMPTY = 3.5  # the reach of axes without dots
LABEL = "return names ? (names[value] ?? '') : isNaN(value) ? '' : Number(value.toPrecision(4)) + '';"


# The dots' colours are those of a light ground; the browser knows whether the ground is dark.
ON_GROUND = """
const query = matchMedia("(prefers-color-scheme: dark)");
if (!source.on_ground) { source.on_ground = true; query.addEventListener("change", () => source.change.emit()); }
if (!query.matches || !xs.shape) return xs;
const to = new Map(light.map((colour, i) => [colour, dark[i]])), next = Uint32Array.from(xs, (c) => to.get(c) ?? c);
return new xs.constructor(next.buffer, xs.shape);
"""


class Map:
    """A figure of dots, and what lies over them; it has axes before it has dots."""

    def __init__(self, title: str = "latent map", height: int = 520) -> None:
        self.lasso, self.wheel, self.hand = LassoSelectTool(), WheelZoomTool(), PanTool()
        self.plot = bokeh_figure(
            height=height, sizing_mode="stretch_width", name=title, toolbar_location="above", active_drag=None,
            tools=[self.lasso, self.hand, self.wheel, ResetTool(), SaveTool()], active_scroll=self.wheel, min_border=5,
            x_range=Range1d(-EMPTY, EMPTY), y_range=Range1d(-EMPTY, EMPTY),
        )  # fmt: skip
        quiet(self.plot)
        empty: dict[str, list[float]] = {key: [] for key in ("x", "y", "label", "row", "colour")}
        self.dots = ColumnDataSource(data=empty)
        tables = {key: [int(packed(colour)) for colour in table] for key, table in LIGHT_TO_DARK.items()}
        colour = transform("colour", CustomJSTransform(args={"source": self.dots, **tables}, v_func=ON_GROUND))
        self.drawn = self.plot.scatter("x", "y", source=self.dots, size=4, color=colour, line_color=None, alpha=0.7,
                                       nonselection_alpha=0.12, selection_alpha=0.95)  # fmt: skip
        self.label = CustomJSHover(code=LABEL)
        self.hover = HoverTool(
            renderers=[self.drawn], limit=1, attachment="above", visible=False, formatters={"@label": self.label},
            tooltips="<div style='max-width:260px;overflow-wrap:anywhere'>row @row<br>@label{custom}</div>",
        )  # fmt: skip
        self.plot.add_tools(self.hover)
        self._over()

    def fill(self, at: np.ndarray, labels: np.ndarray, names: Sequence[str] | None, rows: np.ndarray,
             colours: np.ndarray) -> None:  # fmt: skip
        """Show dots at (N, 2).

        labels (N,): places in `names`, or numbers without, shown when the mouse is over a dot, with its row number;
        colours (N,): as of `dot_colours`
        """
        shown = None if names is None else [*(shorten(printable(name), 80) for name in names), ""]
        if names is not None:
            labels = np.where(np.isfinite(labels), labels, len(names))  # without a label
        self.label.args = {"names": shown}
        for glyph in (self.drawn.glyph, self.drawn.selection_glyph, self.drawn.nonselection_glyph):
            glyph.size = 7 if len(at) < 1500 else 5 if len(at) < 5000 else 4
        x, y = at.astype(np.float32).T.copy()
        self.dots.data = {"x": x, "y": y, "label": labels.astype(np.float32), "row": rows.astype(np.int32),
                          "colour": colours}  # fmt: skip
        self._fit(at)

    def _fit(self, at: np.ndarray) -> None:
        """Let the axes span all dots."""
        for axis, values in ((self.plot.x_range, at[:, 0]), (self.plot.y_range, at[:, 1])):
            low, high = float(values.min()), float(values.max())
            margin = 0.05 * (high - low) or 1.0
            axis.update(start=low - margin, end=high + margin, reset_start=low - margin, reset_end=high + margin)

    def _over(self) -> None:
        """Draw what lies over the dots. The point has a level of its own, so that the dots need not be drawn again."""
        self.prior = ColumnDataSource(data={"xs": [], "ys": []})
        self.path, self.draws = (ColumnDataSource(data={"x": [], "y": []}) for _ in range(2))
        self.ellipse = ColumnDataSource(data={"x": [], "y": [], "width": [], "height": [], "angle": []})
        self.mark = ColumnDataSource(data={"x": [0.0], "y": [0.0]})
        self.plot.multi_line("xs", "ys", source=self.prior, line_color="#8c8c8c", line_dash="dashed")
        self.plot.line("x", "y", source=self.path, line_color=MARK, line_width=2)
        self.plot.scatter("x", "y", source=self.draws, size=4, color=MARK, alpha=0.4, line_color=None)
        self.plot.ellipse("x", "y", "width", "height", angle="angle", source=self.ellipse, fill_color=None,
                          line_color=MARK, line_width=2)  # fmt: skip
        self.plot.scatter("x", "y", source=self.mark, size=17, fill_color=MARK, line_color="white", line_width=2.5,
                          level="overlay")  # fmt: skip

    def place(self, at: np.ndarray) -> None:
        """Move the dots to (N, 2)."""
        x, y = at.astype(np.float32).T.copy()
        self.dots.data = {**self.dots.data, "x": x, "y": y}
        self._fit(at)

    def colour(self, colours: np.ndarray) -> None:
        """Give the dots other colours (N,), as of `dot_colours`."""
        self.dots.data["colour"] = colours

    def name_axes(self, across: str, up: str) -> None:
        self.plot.xaxis.axis_label, self.plot.yaxis.axis_label = across, up

    def show_posterior(self, centre: np.ndarray, shape: tuple[float, float, float] | None, draws: np.ndarray) -> None:
        """q(z|x) around centre (2,): the width, height and angle of an ellipse, or without one draws (M, 2)."""
        if shape is None:
            self.ellipse.data = {"x": [], "y": [], "width": [], "height": [], "angle": []}
            self.draws.data = {"x": draws[:, 0], "y": draws[:, 1]}
            return
        width, height = (max(side, 1e-3) for side in shape[:2])
        self.draws.data = {"x": [], "y": []}
        self.ellipse.data = {"x": [centre[0]], "y": [centre[1]], "width": [width], "height": [height],
                             "angle": [shape[2]]}  # fmt: skip

    def show_prior(self, draws: np.ndarray | None) -> None:
        """Lines around half, 90 and 99 percent of draws (M, 2), or (M, 1), from the prior; None: no lines."""
        self.prior.data = {"xs": [], "ys": []} if draws is None else self._lines(draws)

    def _lines(self, draws: np.ndarray) -> dict[str, list[np.ndarray]]:
        if draws.shape[1] == 2:
            return contours(draws)
        ends = np.quantile(draws[:, 0], [(1 + sign * share) / 2 for share in SHARES for sign in (-1, 1)])
        height = [float(self.plot.y_range.start), float(self.plot.y_range.end)]
        return {"xs": [np.full(2, end) for end in ends], "ys": [np.array(height)] * len(ends)}

    def near(self, x: float, y: float) -> int | None:
        """The dot within some nine pixels of a place; None: there is none."""
        xs, ys = np.asarray(self.dots.data["x"]), np.asarray(self.dots.data["y"])
        if not len(xs):
            return None
        spans = [max(abs(float(axis.end) - float(axis.start)), 1e-9) for axis in (self.plot.x_range, self.plot.y_range)]
        far = np.hypot((xs - x) / spans[0], (ys - y) / spans[1])
        nearest = int(far.argmin())
        return nearest if far[nearest] < 0.013 else None


def contours(points: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Lines that enclose SHARES of points (M, 2), by a smoothed histogram."""
    import contourpy
    from scipy.ndimage import gaussian_filter

    counts, xs, ys = np.histogram2d(points[:, 0], points[:, 1], bins=BINS)
    counts = gaussian_filter(np.pad(counts, 6), SMOOTHING)
    step = xs[1] - xs[0], ys[1] - ys[0]
    xs, ys = ((e[0] - 5.5 * s) + s * np.arange(len(counts)) for e, s in zip((xs, ys), step, strict=True))
    ordered = np.sort(counts.ravel())[::-1]
    within = np.cumsum(ordered) / ordered.sum()
    generator = contourpy.contour_generator(xs, ys, counts.T)
    levels = [float(ordered[np.searchsorted(within, share)]) for share in SHARES]
    lines = [np.asarray(line) for level in levels for line in generator.lines(level)]
    return {"xs": [line[:, 0] for line in lines], "ys": [line[:, 1] for line in lines]}


def terms_table(rows: Sequence[tuple[str, str, str]]) -> str:
    """HTML of rows: name, value, meaning."""
    body = "".join(f"<tr><td>{safe(a)}</td><td><b>{safe(b)}</b></td><td class=soft>{safe(c)}</td></tr>"
                   for a, b, c in rows)  # fmt: skip
    return f"<table>{body}</table>"
