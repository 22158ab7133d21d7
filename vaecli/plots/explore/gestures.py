"""JavaScript for the browser: the point follows mouse and keys, with one question to the model at a time."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.document import Document
from bokeh.events import DocumentReady, Pan, PanEnd, PanStart, Tap
from bokeh.models import ColumnDataSource, CustomJS, Div, Model, Slider
from bokeh.plotting import figure as bokeh_figure

from vaecli.plots.explore.map import MARK, Map

MAX_UPLOAD = 20_000_000  # bytes

# A drag moves an element, which takes the browser a tenth of what it takes to paint the map's canvas again; the mark of
# the map itself follows when the drag rests. A question is answered before the next is sent, and only the newest waits:
# the picture never lags behind the mouse.
BEGIN = """
const begin = () => {
const view = Bokeh.index.find_one(plot), dot = document.createElement("div");
dot.style = `position: absolute; width: 15px; height: 15px; margin: -8px; border: 2px solid white; border-radius: 10px;
  background: ${colour}; pointer-events: none; will-change: transform; left: 0; top: 0;`;
view.el.shadowRoot.append(dot);
const v = {
  number: 0, answers: 0, busy: false, next: null, since: 0, at: [0, 0], told: {},
  put(x, y) { v.at = [x, y];
    if (mark.data.x.length) mark.setv({data: {x: [], y: []}}, {sync: false});
    const across = view.frame.x_scale.compute(x), up = view.frame.y_scale.compute(y);
    dot.style.visibility = view.frame.bbox.contains(across, up) ? "visible" : "hidden";
    dot.style.transform = `translate(${across}px, ${up}px)`; },
  settle() { mark.setv({data: {x: [v.at[0]], y: [v.at[1]]}}, {sync: false}); dot.style.visibility = "hidden"; },
  send(what) { v.busy = true; v.since = performance.now(); v.current = what; v.number += 1;
    ask.data = {n: [v.number], kind: [what.kind], x: [what.x], y: [what.y]}; },
  want(what) { if (v.busy && performance.now() - v.since < 3000) v.next = what; else v.send(what); },
  move(kind, x, y) { v.put(x, y); v.want({kind, x, y}); },
  place: document.getElementById("place"),
};
document.addEventListener("input", (event) => {  // before Bokeh reads the file; without one it does nothing
  const at = event.composedPath()[0], file = at.type == "file" ? at.files[0] : null;
  if (!file || file.size > 0 && file.size <= limit) return;
  at.value = "";
  const why = file.size == 0 ? "This file is empty: give one that has at least one observation." :
    `This file has ${Math.ceil(file.size / 1e6)} MB; at most ${limit / 1e6} can be uploaded. ` +
    "Give the part of it that is to be encoded.";
  refused.text = `<span class=warn>${why}</span>`;
}, true);
document.addEventListener("keydown", (event) => {
  const at = event.composedPath()[0], name = at.tagName ?? "";
  if (/INPUT|SELECT|TEXTAREA/.test(name) || at.classList?.contains("noUi-handle")) return;
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
  if (!step) return;
  event.preventDefault();
  const far = event.shiftKey ? 0.1 : 0.02;
  const across = step[0] * far * (plot.x_range.end - plot.x_range.start);
  const up = step[1] * far * (plot.y_range.end - plot.y_range.start);
  v.move("plane", v.at[0] + across, v.at[1] + up);
});
return v;
};
const v = window.vae ??= begin();
"""
# The text over a dot takes the browser longer than the picture: there is none during a drag. Bokeh has no public way to
# take a text away that is shown; without `_move_exit` it stays until the mouse rests.
MOVE = """
const v = window.vae, kind = cb_obj.event_name;
if (!v || lasso.active || hand.active) return;
if (kind == "panstart" || kind == "panend") hover.setv({active: kind == "panend"}, {sync: false});
if (kind != "tap") Bokeh.index.find_one(hover)?._move_exit?.();
v.move(kind == "tap" ? "tap" : "plane", cb_obj.x, cb_obj.y);
"""
# Callbacks may run later than what they follow: a slider that an answer has moved is known by its value.
SLIDE = """
if (window.vae && window.vae.told[index] !== cb_obj.value) window.vae.want({kind: "latent", x: index, y: cb_obj.value});
"""
ALONG = "if (window.vae) window.vae.want({kind: 'path', x: cb_obj.value, y: 0});"
ANSWERED = (
    BEGIN
    + """
const data = answer.data;
if (!data.n[0]) return;  // the page is there before its first answer
const shown = {...source.data};
for (const key in shown) if (`shown_${key}` in data) shown[key] = data[`shown_${key}`][0];
source.setv({data: shown}, {sync: false});
v.place.replaceChildren(data.said[0]);
if (data.warning[0]) {
  const warning = document.createElement("span");
  warning.className = "warn"; warning.textContent = data.warning[0];
  v.place.append(" ", warning); }
if (!v.next) v.put(data.x[0], data.y[0]);
v.busy = false; v.answers += 1; v.answered = v.current;
if (v.next) { const next = v.next; v.next = null; v.send(next); }
clearTimeout(v.timer);
v.timer = setTimeout(() => { v.settle(); const z = data.z[0];
  sliders.forEach((slider, i) => { const to = Math.min(slider.end, Math.max(slider.start, z[dims[i]]));
    v.told[dims[i]] = to;
    if (Math.abs(slider.value - to) > 1e-6) slider.value = to; }); }, 150);
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


def follow(document: Document, map: Map, ask: ColumnDataSource, answer: ColumnDataSource, source: ColumnDataSource,
           sliders: Sequence[Slider], dims: Sequence[int], file: ColumnDataSource, refused: Div) -> None:  # fmt: skip
    """Send the map's moves and taps and the sliders' values as questions `ask`.

    answer: ends a question; what it says is written below the picture, whose `source` takes its columns shown_*
    file: see `download`; refused: says that a file is empty or too large to be uploaded
    """
    answered = {"answer": answer, "ask": ask, "mark": map.mark, "plot": map.plot, "source": source, "colour": MARK,
                "sliders": list(sliders), "dims": list(dims), "refused": refused, "limit": MAX_UPLOAD}  # fmt: skip
    show = CustomJS(args=answered, code=ANSWERED)
    answer.js_on_change("data", show)
    document.js_on_event(DocumentReady, show)  # a page that is opened again has its first answer when it comes
    for slider, index in zip(sliders, dims, strict=True):
        slider.js_on_change("value", CustomJS(args={"index": index}, code=SLIDE))
    names: dict[str, Model] = {"mark": map.mark, "lasso": map.lasso, "hand": map.hand, "hover": map.hover,
                               "ask": ask, "answer": answer, "file": file}  # fmt: skip
    move = CustomJS(args=names, code=MOVE)  # a page has only the models that something on it names
    for event in (PanStart, Pan, PanEnd, Tap):
        map.plot.js_on_event(event, move)


def along(scrub: Slider) -> None:
    """Ask where a slider along a path is."""
    scrub.js_on_change("value", CustomJS(code=ALONG))


def drawing(pad: bokeh_figure, strokes: ColumnDataSource) -> None:
    """Let the mouse draw on the figure `pad`, whose image is in `strokes`."""
    for event in (PanStart, Pan, Tap):
        pad.js_on_event(event, CustomJS(args={"pad": pad, "strokes": strokes}, code=DRAW))


def download(file: ColumnDataSource) -> None:
    """Save what is put into `file` (name, content in base 64) on the reader's machine."""
    file.js_on_change("data", CustomJS(args={"file": file}, code=DOWNLOAD))
