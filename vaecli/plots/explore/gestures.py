"""JavaScript for the browser: the point follows mouse and keys, with one question to the model at a time."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.document import Document
from bokeh.events import DocumentReady, Pan, PanEnd, PanStart, Tap
from bokeh.models import ColumnDataSource, CustomJS, Model, Slider
from bokeh.plotting import figure as bokeh_figure

from vaecli.plots.explore.look import DARK_JS
from vaecli.plots.explore.map import Map

# A question is answered before the next is sent, and only the newest waits: the picture never lags behind the mouse.
ASK = """
const v = (window.vae ??= {times: [], number: 0});
const send = (what) => { v.busy = true; v.since = performance.now(); v.number += 1;
  ask.data = {n: [v.number], kind: [what.kind], x: [what.x], y: [what.y]}; };
v.send = send;
const want = (what) => { if (v.busy && performance.now() - v.since < 3000) v.next = what; else send(what); };
"""
MOVE = (
    ASK
    + """
if (lasso.active || hand.active) return;
mark.setv({data: {x: [cb_obj.x], y: [cb_obj.y]}}, {sync: false});
v.began ??= performance.now();
want({kind: cb_obj.event_name == "tap" ? "tap" : "plane", x: cb_obj.x, y: cb_obj.y});
"""
)
SLIDE = (
    ASK
    + """
if (!v.setting) want({kind: "latent", x: index, y: cb_obj.value});
"""
)
ANSWERED = """
const v = window.vae, data = answer.data, since = v.since;
v.busy = false;
mark.setv({data: {x: [data.x[0]], y: [data.y[0]]}}, {sync: false});
if (v.next) { const next = v.next; v.next = null; v.send(next); }
requestAnimationFrame(() => requestAnimationFrame(() => { v.times.push(performance.now() - since); }));
v.answers = (v.answers ?? 0) + 1;
clearTimeout(v.timer);
v.timer = setTimeout(() => { v.setting = true; const z = data.z[0];
  sliders.forEach((slider, i) => { const to = Math.min(slider.end, Math.max(slider.start, z[dims[i]]));
    if (Math.abs(slider.value - to) > 1e-6) slider.value = to; });
  v.setting = false; }, 150);
"""
KEYS = (
    ASK
    + """
document.addEventListener("keydown", (event) => {
  const at = event.composedPath()[0], name = at.tagName ?? "";
  if (/INPUT|SELECT|TEXTAREA/.test(name) || at.classList?.contains("noUi-handle")) return;
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
  if (!step) return;
  event.preventDefault();
  const far = event.shiftKey ? 0.1 : 0.02;
  const x = mark.data.x[0] + step[0] * far * (plot.x_range.end - plot.x_range.start);
  const y = mark.data.y[0] + step[1] * far * (plot.y_range.end - plot.y_range.start);
  mark.setv({data: {x: [x], y: [y]}}, {sync: false});
  want({kind: "plane", x, y});
});
"""
)
DRAW = """
const w = pad.x_range.end, h = pad.y_range.end;
const old = strokes.data.image[0], next = new Float32Array(old);
const last = cb_obj.event_name == "panstart" || cb_obj.event_name == "tap" ? null : window.vaePen;
const here = {x: cb_obj.x, y: cb_obj.y}; window.vaePen = here;
const from = last ?? here, n = Math.max(1, Math.ceil(2 * Math.hypot(here.x - from.x, here.y - from.y)));
const radius = Math.max(0.6, Math.min(w, h) / 22);
for (let s = 0; s <= n; s++) {
  const cx = from.x + (here.x - from.x) * s / n, cy = from.y + (here.y - from.y) * s / n;
  for (let i = Math.max(0, Math.floor(cy - 3 * radius)); i < Math.min(h, cy + 3 * radius); i++)
    for (let j = Math.max(0, Math.floor(cx - 3 * radius)); j < Math.min(w, cx + 3 * radius); j++) {
      const d = Math.hypot(j + 0.5 - cx, i + 0.5 - cy) / radius;
      const ink = Math.min(1, Math.max(0, 1.6 - d));
      next[i * w + j] = Math.max(next[i * w + j], ink); } }
strokes.data = {image: [new old.constructor(next.buffer, old.shape)]};
"""
DOWNLOAD = """
for (let i = 0; i < file.data.name.length; i++) {
  const bytes = Uint8Array.from(atob(file.data.content[i]), (c) => c.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes])); link.download = file.data.name[i];
  document.body.appendChild(link); link.click(); link.remove(); }
"""


def follow(map: Map, ask: ColumnDataSource, answer: ColumnDataSource, sliders: Sequence[Slider],
           dims: Sequence[int]) -> None:  # fmt: skip
    """Send the map's moves and taps and the sliders' values as questions `ask`; `answer` ends each of them."""
    names: dict[str, Model] = {
        "ask": ask,
        "mark": map.mark,
        "lasso": map.lasso,
        "hand": map.hand,
        "answer": answer,
    }  # the page has only what something on it names
    for event in (PanStart, Pan, PanEnd, Tap):
        map.plot.js_on_event(event, CustomJS(args=names, code=MOVE))
    for slider, index in zip(sliders, dims, strict=True):
        slider.js_on_change("value", CustomJS(args={"ask": ask, "index": index}, code=SLIDE))
    answer.js_on_change("data", CustomJS(args={"answer": answer, "mark": map.mark, "sliders": list(sliders),
                                               "dims": list(dims)}, code=ANSWERED))  # fmt: skip


def ready(document: Document, map: Map, ask: ColumnDataSource, plots: Sequence[bokeh_figure]) -> None:
    """Arrow keys, and figures in the page's colours."""
    document.js_on_event(DocumentReady, CustomJS(args={"ask": ask, "mark": map.mark, "plot": map.plot}, code=KEYS))
    document.js_on_event(DocumentReady, CustomJS(args={"plots": list(plots)}, code=DARK_JS))


def drawing(pad: bokeh_figure, strokes: ColumnDataSource) -> None:
    """Let the mouse draw on the figure `pad`, whose image is in `strokes`."""
    for event in (PanStart, Pan, Tap):
        pad.js_on_event(event, CustomJS(args={"pad": pad, "strokes": strokes}, code=DRAW))


def download(file: ColumnDataSource) -> None:
    """Save what is put into `file` (name, content in base 64) on the reader's machine."""
    file.js_on_change("data", CustomJS(args={"file": file}, code=DOWNLOAD))
