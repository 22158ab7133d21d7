"""The page without server and network: a map, and decodings that are blended from a grid computed in advance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady, MouseMove, Pan, Tap
from bokeh.models import CustomJS, Model
from bokeh.resources import INLINE

from vaecli.plots.explore.layout import PAGE
from vaecli.plots.explore.map import Map
from vaecli.plots.explore.pictures import CurvePicture, ImagePicture, Picture, TablePicture

BUDGET = 2_600_000  # bytes of decodings, so that the page stays below 6 MB with Bokeh's 1.3 and a third for base 64
FINEST, COARSEST = 61, 5  # places along a side of the grid

BLEND = """
const v = window.vaeGrid ??= (() => {
  const raw = Uint8Array.from(atob(grid), (c) => c.charCodeAt(0));
  return bytes ? raw : new Float32Array(raw.buffer); })();
const show = (x, y) => {
  const place = (at, axis) => Math.min(n - 1.000001, Math.max(0, (at - axis[0]) / (axis[1] - axis[0]) * (n - 1)));
  const a = place(x, xs), b = place(y, ys), i = Math.floor(b), j = Math.floor(a), s = a - j, t = b - i;
  const size = v.length / (n * n), out = new Float32Array(size);
  const p = (i * n + j) * size, q = p + size, r = p + n * size, u = r + size;
  for (let k = 0; k < size; k++)
    out[k] = (1 - t) * ((1 - s) * v[p + k] + s * v[q + k]) + t * ((1 - s) * v[r + k] + s * v[u + k]);
  mark.data = {x: [x], y: [y]};
  SHOW
};
"""
SHOW_IMAGE = """
  const old = source.data.image[0], next = new Uint32Array(old.length), [h, w] = old.shape, plane = h * w;
  for (let row = 0; row < h; row++) for (let c = 0; c < w; c++) {
    const k = row * w + c, red = Math.round(out[k]);
    const green = channels == 3 ? Math.round(out[plane + k]) : red;
    const blue = channels == 3 ? Math.round(out[2 * plane + k]) : red;
    next[(h - 1 - row) * w + c] = (255 << 24 | blue << 16 | green << 8 | red) >>> 0; }
  source.data = {image: [new old.constructor(next.buffer, old.shape)]};
"""
SHOW_CURVE = "source.data = {...source.data, x: Array.from(out), low: Array.from(out), high: Array.from(out)};"
SHOW_TABLE = """
  const bars = [], text = [];
  for (let k = 0; k < places.length; k++) {
    const value = out[places[k]];
    bars.push(Math.max(-3.1, Math.min(3, (value - mean[k]) / scale[k])));
    const names = categories[k];
    const last = names ? names.length - 1 : 0, code = Math.max(0, Math.min(last, Math.round(value)));
    text.push(names ? names[code] : Number(value.toPrecision(4)) + "");
  }
  source.data = {...source.data, x: bars, low: bars, high: bars, text};
"""
ON_KEY = """
document.addEventListener("keydown", (event) => {
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
  if (!step) return;
  event.preventDefault();
  show(mark.data.x[0] + step[0] * (xs[1] - xs[0]) / 60, mark.data.y[0] + step[1] * (ys[1] - ys[0]) / 60); });
"""


def grid_size(numbers: int, bytes_each: int) -> int:
    """How many places along a side of a grid of decodings of so many numbers."""
    return int(np.clip(np.sqrt(BUDGET / max(1, numbers * bytes_each)), COARSEST, FINEST))


def stored(picture: Picture, x: np.ndarray) -> np.ndarray:
    """Decodings (n, n, *x_shape) as the page stores them: images in 256 steps, other numbers as float32."""
    if isinstance(picture, ImagePicture):
        shades = picture.view.shades(x)
        return np.rint(255 * np.clip(shades, 0, 1)).astype(np.uint8)
    return x.astype(np.float32)


def numbers_of(picture: Picture, x_shape: Sequence[int]) -> tuple[int, int]:
    """How many numbers of a decoding are stored, and how many bytes each takes."""
    if isinstance(picture, ImagePicture):
        return int(np.prod(picture.view.tile_shape)), 1
    return int(np.prod(x_shape)), 4


def table_arguments(picture: TablePicture, categories: Sequence[Sequence[str] | None] | None) -> Mapping[str, Any]:
    """What the page needs to write a table's row in the data's units."""
    columns = picture.reference
    texts = [list(categories[i] or []) or None if categories else None for i in columns.places]
    return {"places": columns.places.tolist(), "mean": columns.mean.tolist(), "scale": columns.scale.tolist(),
            "categories": texts}  # fmt: skip


def static_page(
    map: Map, picture: Picture, x: np.ndarray, xs: np.ndarray, ys: np.ndarray, words: Mapping[str, Any],
    categories: Sequence[Sequence[str] | None] | None = None,
) -> str:  # fmt: skip
    """The page as HTML: x (n, n, *) as `stored`, the first axis along ys (n,), the second along xs (n,).

    words: `heading`, `lead`, `legend` (HTML) and `notes` of the template
    """
    arguments: dict[str, Any] = {
        "grid": base64.b64encode(np.ascontiguousarray(x).data).decode(), "bytes": x.dtype == np.uint8, "n": len(xs),
        "xs": [float(xs[0]), float(xs[-1])], "ys": [float(ys[0]), float(ys[-1])], "source": picture.source,
        "mark": map.mark,
    }  # fmt: skip
    code = BLEND.replace("SHOW", SHOW_TABLE)
    if isinstance(picture, ImagePicture):
        code, arguments["channels"] = BLEND.replace("SHOW", SHOW_IMAGE), picture.view.tile_shape[0]
    elif isinstance(picture, CurvePicture):
        code = BLEND.replace("SHOW", SHOW_CURVE)
    else:
        arguments |= table_arguments(picture, categories)
    begin = CustomJS(
        args=arguments, code=code + "window.vaeShow = show; show(mark.data.x[0], mark.data.y[0]);" + ON_KEY
    )
    for event in (MouseMove, Pan, Tap):
        map.plot.js_on_event(event, CustomJS(code="window.vaeShow(cb_obj.x, cb_obj.y);"))
    map.plot.tools = [tool for tool in map.plot.tools if tool is not map.lasso]
    return rendered(map, picture, begin, words)


def rendered(map: Map, picture: Picture, begin: Model, words: Mapping[str, Any]) -> str:
    """The HTML of both figures, with Bokeh in it."""
    document = Document()
    for name, plot in (("map", map.plot), ("point", picture.plot)):
        plot.name = name
        document.add_root(plot)
    document.js_on_event(DocumentReady, begin)
    html: str = file_html(document, INLINE, words["heading"], template=PAGE, template_variables=dict(words),
                          suppress_callback_warning=True)  # fmt: skip
    return html
