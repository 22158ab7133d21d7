"""The cards below the map of `vae explore`: an observation to encode, the other runs."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div, FileInput, LinearColorMapper, Spinner
from bokeh.models.layouts import Column

from vaecli.commands._explore_map import Overview
from vaecli.commands._explore_page import Page, button
from vaecli.commands._explore_path import Path, away
from vaecli.commands._explore_select import Selection
from vaecli.commands._explored import Explored
from vaecli.commands._inputs import read_input
from vaecli.commands._keys import source
from vaecli.plots.explore.frame import Frame
from vaecli.plots.explore.gestures import MAX_UPLOAD, drawing
from vaecli.plots.explore.layout import card, stacked, wrapped
from vaecli.plots.explore.look import LONGEST, safe
from vaecli.plots.explore.pictures import bare_figure
from vaecli.plots.images import ImagePlots
from vaecli.utils.errors import UserError
from vaecli.utils.text import shorten


def fill_page(document: Document, frame: Frame, overview: Overview, others_explored: Sequence[Explored]) -> None:
    """Put around the map, which has its dots, what moves through the run, and the other runs."""
    first = overview.explored
    with document.models.freeze():
        page = Page(overview, frame)
        frame.say(lead(first))
    cards = {"first": [card("Encode an observation", *encoding(page))], "second": [],
             "third": [card("A path", *Path(page).parts), card("Save", *away(page))]}  # fmt: skip
    if first.split is not None:
        cards["second"].append(card("Select", *Selection(page).parts))
    if others_explored:
        cards["second"].insert(0, card("The same observation in the other runs", *others(page, others_explored)))
    page.start(document, cards)
    told = [""]

    def look() -> None:
        if (changed := first.changed) != told[0]:
            told[0] = changed
            frame.say(lead(first), changed)

    document.add_periodic_callback(look, 2000)


def lead(explored: Explored) -> str:
    """The sentence at the top of the page: what is shown."""
    n, of = len(explored.codes), shorten(source(explored.run), LONGEST)
    if explored.split is None:
        return f"{n:,} draws from the prior of {of}, as its data cannot be read."
    first = "" if n == explored.total else f"the first {n:,} of "
    return (f"The codes of {first}{explored.total:,} {explored.part} observations of {of}. "
            "Drag the point, or click a dot.")  # fmt: skip


def encoding(page: Page) -> list[Any]:
    """Takes an observation: by its index, from a file, or drawn."""
    n = len(page.explored.codes)
    index = Spinner(title=f"index, 0 to {n - 1:,}", low=0, high=n - 1, step=1, value=None, width=140)
    index.on_change("value", page.safely(lambda attr, old, new: choose(page, new), page.refused))
    index.visible = page.explored.split is not None
    page.after.append(lambda: setattr(index, "value", page.shown))
    upload = FileInput(title=f"or a file, as for input=, of at most {MAX_UPLOAD // 10**6} MB", width=280)
    read = page.safely(lambda *_: uploaded(page, upload.filename, upload.value), page.refused)

    def when_named(attr: str, old: object, new: object) -> None:
        """The browser sends the name after the content, and none if it has refused the file."""
        if upload.document is not None:
            upload.document.add_next_tick_callback(lambda: take(attr, old, new) if upload.filename else None)

    def take(attr: str, old: object, new: object) -> None:
        read(attr, old, new)
        upload.clear()  # so that the same file can be chosen again

    upload.on_change("value", when_named)
    parts: list[Any] = [wrapped(index, upload), page.refused]
    if isinstance(page.explored.view, ImagePlots):
        parts.append(pad(page, page.explored.view))
    side_by_side = wrapped if isinstance(page.explored.view, ImagePlots) else stacked
    pair = side_by_side(titled("observation", page.seen.plot), titled("reconstruction", page.back.plot))
    pair.visible = False
    page.after.append(lambda: setattr(pair, "visible", True))
    return [*parts, page.terms, pair]


def titled(text: str, plot: Any) -> Any:
    return Column(children=[Div(text=f"<span class=soft>{text}</span>"), plot], sizing_mode=plot.sizing_mode)


def choose(page: Page, i: object) -> None:
    """Encode the observation with an index, unless it is shown."""
    if isinstance(i, int | float) and i != page.shown:
        page.encode_and_reply(*page.chosen(int(i)))


def uploaded(page: Page, name: Any, content: Any) -> None:
    """Encode the first observation of an uploaded file."""
    called, data = str(name), base64.b64decode(content or "")
    if len(data) > MAX_UPLOAD:
        raise UserError(f"{called}: has {len(data) / 1e6:.0f} MB; at most {MAX_UPLOAD / 1e6:.0f} can be uploaded")
    with tempfile.TemporaryDirectory(prefix="vaecli-") as folder:
        path = FilePath(folder, "file" + FilePath(called).suffix[:12])
        path.write_bytes(data)
        try:
            seen = read_input(page.explored.run, str(path))
        except UserError as error:
            raise UserError(str(error).replace(f"input={path}", called).replace(str(path), called)) from None
    first = "" if len(seen.x) == 1 else f", the first of {len(seen.x):,} observations"
    page.encode_and_reply(seen.x[0], called + first)


def pad(page: Page, view: ImagePlots) -> Any:
    """A square to draw on with the mouse."""
    _, height, width = view.x_shape
    blank = np.zeros((height, width), np.float32)
    strokes = ColumnDataSource(data={"image": [blank]})
    side = 170
    plot = bare_figure(side, max(40, side * height // width), width, height)
    plot.name = "pad"
    black_to_white = LinearColorMapper(palette=[f"#{k:02x}{k:02x}{k:02x}" for k in range(256)], low=0, high=1)
    plot.image("image", source=strokes, x=0, y=0, dw=width, dh=height, color_mapper=black_to_white)
    drawing(plot, strokes)
    strokes.on_change("data", page.safely(lambda attr, old, new: drawn(page, view, new["image"][0]), page.refused))
    clear = button("clear", lambda: setattr(strokes, "data", {"image": [blank]}), page, width=80)
    return stacked(Div(text="<span class=soft>or draw with the mouse</span>"), wrapped(plot, clear))


def drawn(page: Page, view: ImagePlots, image: Any) -> None:
    """Encode what was drawn: white on black, in all channels."""
    strokes = np.asarray(image, np.float32).reshape(view.x_shape[1:])[::-1]
    if not strokes.any():
        return
    low, high = view.display_range
    shades = np.broadcast_to(low + strokes * (high - low), view.x_shape).copy()
    x = torch.from_numpy(shades).to(next(page.model.parameters()))
    if page.explored.binary:
        x = (x > (low + high) / 2).to(x)
    page.encode_and_reply(x, "drawn")


def others(page: Page, explored: Sequence[Explored]) -> list[Any]:
    """The encoded observation in each of the other runs."""
    frames = [Frame("", height=260) for _ in explored]
    pages = [Page(Overview(other, frame), frame) for other, frame in zip(explored, frames, strict=True)]
    rows = []
    for one in pages:
        for plot in (one.map.plot, one.picture.plot, one.seen.plot, one.back.plot):
            plot.name = None  # names belong to the first run's
        one.back.plot.visible = False
        name = Div(text=f"<b>{safe(one.explored.run.folder.title)}</b>")
        rows.append(stacked(name, one.map.plot, one.terms, titled("reconstruction", one.back.plot)))

    def follow() -> None:
        for one in pages:
            one.encode(page.x.to(one.explored.run.device), page.called)
            one.back.plot.visible = True
            x, y = map(float, one.overview.place(one.z, one.height))
            one.map.mark.data = {"x": [x], "y": [y]}

    page.after.append(follow)
    return rows
