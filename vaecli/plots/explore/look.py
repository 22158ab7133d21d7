"""The looks of the pages of `vae explore`: style sheets, colours, and texts that are safe in HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import numpy as np
from bokeh.models import InlineStyleSheet
from bokeh.palettes import Viridis256
from bokeh.plotting import figure as bokeh_figure

from vaecli.plots.palette import CLASS_COLOURS, DARK_CLASS_COLOURS
from vaecli.utils.text import printable

ACCENT = "#0072b2"
PALE = "#bbbbbb"  # dots without a colour of their own
LONGEST = 120  # characters of a name or label
NUMBERS = [Viridis256[round(1.867 * k)].lower() for k in range(128)]  # without its palest yellow
DARK_NUMBERS = [Viridis256[round(88 + 1.315 * k)].lower() for k in range(128)]  # without its darkest
FORMULA = re.compile(r"\$(?=\$)|\\(?=[(\[])")  # where $$, \( or \[ begins
MAX_CLASSES = 20  # with colours of their own in the legend; more are coloured like numbers

CSS = """
:root { color-scheme: light dark; --ink: #222; --soft: #5c5c5c; --ground: #fff; --line: #ddd; --accent: #0072b2;
  --warn: #b84a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #aaa; --ground: #16181b; --line: #3a3d42; --accent: #56b4e9; --warn: #ff8c42; } }
:root { --bk-axis-label-text-color: var(--ink); --bk-major-label-text-color: var(--ink);
  --bk-axis-line-color: var(--line); --bk-major-tick-line-color: var(--line); --bk-grid-line-color: var(--line);
  --bk-outline-line-color: var(--line); }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 10px 16px 40px; }
h1 { font-size: 19px; margin: 4px 5px; } h2 { font-size: 15px; margin: 12px 5px 4px; }
p { margin: 4px 0; } main p { margin: 4px 5px; } .warn { color: var(--warn); font-weight: 600; }
#place { min-height: 22px; }
.soft { color: var(--soft); }
.columns { display: grid; grid-template-columns: minmax(0, 7fr) minmax(0, 5fr); gap: 4px 26px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 6px 26px;
  border-top: 1px solid var(--line); margin-top: 12px; }
.cards > div { min-width: 0; }
@media (max-width: 760px) { .columns { grid-template-columns: minmax(0, 1fr); } main { padding: 6px 10px 30px; } }
a { color: var(--accent); }
"""
WIDGETS = """
:host { color: var(--ink); font-family: inherit; font-size: 14px; --bokeh-font-size: 14px; }
.bk-input, select { background-color: var(--ground) !important; color: var(--ink) !important;
  border-color: var(--line) !important; }
select { appearance: auto !important; background-image: none !important; }
input::file-selector-button { background: transparent; color: var(--ink); border: 1px solid var(--line);
  border-radius: 4px; padding: 3px 8px; }
.bk-btn { background: transparent !important; color: var(--ink) !important; border-color: var(--line) !important; }
.bk-btn.bk-active { border-color: var(--accent) !important; box-shadow: inset 0 -2px 0 var(--accent);
  font-weight: 600; }
.bk-btn:focus-visible, .bk-input:focus-visible, .noUi-handle:focus-visible { outline: 2px solid var(--accent);
  outline-offset: 1px; }
.noUi-connect { background: var(--accent) !important; }
.noUi-target { background: var(--line) !important; border-color: var(--line) !important; box-shadow: none !important; }
.bk-clearfix, .bk-description { overflow-wrap: anywhere; } .bk-clearfix:empty { display: none; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
h2 { font-size: 15px; margin: 12px 0 4px; }
td { padding: 0 12px 4px 0; vertical-align: top; } td b { white-space: nowrap; }
td:first-child { white-space: nowrap; max-width: 150px; overflow: hidden; text-overflow: ellipsis; }
.soft { color: var(--soft); } .warn { color: var(--warn); font-weight: 600; }
code { overflow-wrap: anywhere; user-select: all; }
"""
LEGEND = """
.key { display: inline-block; margin: 0 10px 2px 0; white-space: nowrap; max-width: 100%; overflow: hidden;
  text-overflow: ellipsis; vertical-align: bottom; box-sizing: border-box; padding-right: 2px; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 4px;
  background: var(--light); }
.ramp { display: inline-block; width: 120px; height: 10px; background: linear-gradient(90deg, var(--light)); }
@media (prefers-color-scheme: dark) { .dot { background: var(--dark); }
  .ramp { background: linear-gradient(90deg, var(--dark)); } }
"""


def sheet() -> InlineStyleSheet:
    """The style sheet of widgets; every page needs one of its own."""
    return InlineStyleSheet(css=WIDGETS + LEGEND)


def plain(text: str) -> str:
    """A figure's text from data, on one line, with a character of no width in what Bokeh would typeset as a formula."""
    return FORMULA.sub("\\g<0>\u200b", printable(text))


def safe(text: object, most: int = LONGEST) -> str:
    """A text from data as HTML that shows it as it is, cut where it is long."""
    shown = printable(str(text))
    return escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")


def plain_figure(**settings: object) -> bokeh_figure:
    """A figure without a toolbar's logo, on the page's own ground."""
    plot = bokeh_figure(toolbar_location=None, tools="", **settings)
    quiet(plot)
    return plot


def quiet(plot: bokeh_figure) -> None:
    """Remove what distracts: fills, minor ticks, the logo."""
    plot.background_fill_alpha = plot.border_fill_alpha = 0
    plot.toolbar.logo = None
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "13px"
    plot.grid.grid_line_color = "#e4e4e4"


def dot_colours(values: np.ndarray | None, n: int, classes: Sequence[str] | None) -> tuple[np.ndarray, str]:
    """A colour for each of n dots, uint32 (n,) as in 0xRRGGBBAA, and the legend as HTML.

    values (N,): class numbers with `classes`, the names, or numbers without; None: all alike; NaN: unknown
    """
    if values is None:
        return np.full(n, packed(ACCENT)), ""
    if classes is not None and len(classes) <= MAX_CLASSES:
        keys = (f"<span class=key><span class=dot style='{by_ground([light], [dark])}'></span>{safe(name, 30)}</span>"
                for light, dark, name in zip(CLASSES, DARK_CLASSES, classes, strict=False))  # fmt: skip
        return from_table(values, CLASSES), "".join(keys)
    known = values[np.isfinite(values)]
    if classes is None:
        low, high = np.quantile(known, [0.01, 0.99]) if len(known) else (0.0, 1.0)
    else:
        low, high = 0, len(classes) - 1
    shares = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    ends = (safe(classes[int(low)], 30), safe(classes[int(high)], 30)) if classes else (f"{low:.4g}", f"{high:.4g}")
    bar = f"<span class=ramp style='{by_ground(NUMBERS[::16], DARK_NUMBERS[::16])}'></span>"
    return from_table(np.floor(127 * shares), NUMBERS), f"{ends[0]} {bar} {ends[1]}"


def from_table(places: np.ndarray, table: Sequence[str]) -> np.ndarray:
    """The colours, uint32, at places (N,) in a table; NaN: PALE."""
    known = np.isfinite(places)
    colours = np.array([packed(colour) for colour in [*table, PALE]], np.uint32)
    return colours[np.where(known, places, len(table)).astype(int)]


def packed(colour: str) -> np.uint32:
    """A colour #rrggbb as Bokeh takes it in an array."""
    return np.uint32(int(colour[1:] + "ff", 16))


def by_ground(light: Sequence[str], dark: Sequence[str]) -> str:
    """The style of a part of the legend, on a light and on a dark ground."""
    return f"--light:{','.join(light)};--dark:{','.join(dark)}"


def mixed(colour: str, other: str, share: float) -> str:
    """A colour that has a share of another."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round((1 - share) * a + share * b):02x}" for a, b in pairs)


# Beyond ten classes: darker ones, or on a dark ground paler ones.
CLASSES = [*CLASS_COLOURS, *(mixed(colour, "#000000", 0.45) for colour in CLASS_COLOURS)]
DARK_CLASSES = [*DARK_CLASS_COLOURS, *(mixed(colour, "#ffffff", 0.5) for colour in DARK_CLASS_COLOURS)]
LIGHT_TO_DARK = {"light": [ACCENT, *CLASSES, *NUMBERS], "dark": ["#56b4e9", *DARK_CLASSES, *DARK_NUMBERS]}
