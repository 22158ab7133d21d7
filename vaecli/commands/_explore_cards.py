"""The cards below the map of `vae explore`: an observation to encode, a selection, a path, files to save."""

from __future__ import annotations

import base64
import io
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bokeh.models import ColumnDataSource, Div, FileInput, LinearColorMapper, Slider, Spinner
from bokeh.models.layouts import Column

from vaecli.commands._explore_page import Page, button
from vaecli.commands._explore_select import select_card
from vaecli.commands._explored import Explored
from vaecli.commands._inputs import read_input
from vaecli.commands._outputs import column_titles
from vaecli.plots.explore.gestures import drawing
from vaecli.plots.explore.layout import stacked, wrapped
from vaecli.plots.explore.look import safe
from vaecli.plots.explore.pictures import ImagePicture, bare_figure, rgba
from vaecli.plots.images import ImagePlots
from vaecli.plots.view import png
from vaecli.utils.errors import UserError
from vaecli.utils.text import csv_line

Cards = dict[str, tuple[str, Any]]
MAX_UPLOAD = 50_000_000  # bytes
PATH_STEPS = 9
ENLARGED = 8  # factor by which a saved image is enlarged


def make_cards(page: Page, explored: Sequence[Explored]) -> Cards:
    """All cards of a page."""
    cards: Cards = {"input": ("Encode an observation", input_card(page))}
    if len(explored) > 1:
        cards["others"] = ("The same observation in the other runs", others_card(page, explored[1:]))
    if page.explored.split is not None:
        cards["select"] = ("Select", select_card(page))
    cards["path"] = ("A path", path_card(page))
    cards["away"] = ("Save", away_card(page))
    return cards


def input_card(page: Page) -> Any:
    """Takes an observation: by its index, from a file, or drawn."""
    n = len(page.explored.codes)
    index = Spinner(title=f"index, 0 to {n - 1:,}", low=0, high=n - 1, step=1, value=None, width=140)
    index.on_change("value", page.safely(lambda attr, old, new: choose(page, new)))
    index.visible = page.explored.split is not None
    upload = FileInput(title="or a file, as for input=", width=280)
    upload.on_change("value", page.safely(lambda attr, old, new: uploaded(page, upload.filename, new)))
    parts: list[Any] = [wrapped(index, upload)]
    if isinstance(page.explored.view, ImagePlots):
        parts.append(pad(page, page.explored.view))
    return stacked(*parts, page.terms, wrapped(titled("observation", page.seen.plot),
                                               titled("reconstruction", page.back.plot)))  # fmt: skip


def titled(text: str, plot: Any) -> Any:
    return Column(children=[Div(text=f"<span class=soft>{text}</span>"), plot])


def choose(page: Page, i: object) -> None:
    """Encode the observation with an index."""
    if isinstance(i, int | float):
        page.encode_and_reply(page.explored.observation(int(i)), f"row {page.explored.rows[int(i)]}")


def uploaded(page: Page, name: Any, content: Any) -> None:
    """Encode the first observation of an uploaded file."""
    called, data = str(name or "file"), base64.b64decode(content or "")
    if len(data) > MAX_UPLOAD:
        raise UserError(f"{called}: has {len(data) / 1e6:.0f} MB; at most {MAX_UPLOAD / 1e6:.0f} can be uploaded")
    with tempfile.TemporaryDirectory(prefix="vaecli-") as folder:
        path = Path(folder, "file" + Path(called).suffix[:12])
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
    strokes.on_change("data", page.safely(lambda attr, old, new: drawn(page, view, new["image"][0])))
    clear = button("clear", lambda: setattr(strokes, "data", {"image": [blank]}), page, width=80)
    return stacked(Div(text="<span class=soft>or draw with the mouse</span>"), wrapped(plot, clear))


def drawn(page: Page, view: ImagePlots, image: Any) -> None:
    """Encode what was drawn: white on black, in all channels."""
    strokes = np.asarray(image, np.float32).reshape(view.x_shape[1:])[::-1]
    if not strokes.any():
        return
    low, high = view.display_range
    x = np.broadcast_to(low + strokes * (high - low), view.x_shape).copy()
    model = page.model
    like = next(model.parameters())
    x_in = torch.as_tensor(x, dtype=like.dtype, device=like.device)
    if bool(page.explored.binary):
        x_in = (x_in > (low + high) / 2).to(like.dtype)
    page.encode_and_reply(x_in, "drawn")


def path_card(page: Page) -> Any:
    """A path between two places, as a strip and a slider."""
    ends: dict[str, np.ndarray] = {}
    said = Div(text="<span class=soft>Move the point and press a button, for each end of the path.</span>")
    scrub = Slider(start=0, end=1, value=0, step=0.01, title="along the path", visible=False, name="scrub")
    strip = Strip(page) if isinstance(page.explored.view, ImagePlots) else None

    def end(which: str) -> None:
        ends[which] = page.z.copy()
        said.text = f"<span class=soft>{' and '.join(ends)} set</span>"
        if len(ends) == 2:
            between = np.linspace(ends["start"], ends["end"], PATH_STEPS)
            at = page.plane.coordinates(between)
            page.map.path.data = {"x": at[:, 0], "y": at[:, 1]}
            scrub.visible = True
            if strip is not None:
                strip.show(between)

    def move(t: float) -> None:
        if len(ends) == 2:
            page.z = ends["start"] + t * (ends["end"] - ends["start"])
            page.show()
            page.reply()

    scrub.on_change("value", page.safely(lambda attr, old, new: move(float(new))))
    buttons = wrapped(*(button(f"{which} here", lambda which=which: end(which), page, width=100)  # type: ignore[misc]
                        for which in ("start", "end")))  # fmt: skip
    return stacked(buttons, said, *([strip.plot] if strip else []), scrub)


class Strip:
    """Decodings side by side."""

    def __init__(self, page: Page) -> None:
        self.page, view = page, page.explored.view
        assert isinstance(view, ImagePlots)
        _, self.height, self.width = view.tile_shape
        blank = np.full((self.height, self.width * PATH_STEPS), 0xFFFFFFFF, np.uint32)
        self.source, self.view = ColumnDataSource(data={"image": [blank]}), view
        wide = 42 * PATH_STEPS
        self.plot = bare_figure(wide, 42 * self.height // self.width, self.width * PATH_STEPS, self.height)
        self.plot.image_rgba("image", source=self.source, x=0, y=0, dw=self.width * PATH_STEPS, dh=self.height)

    def show(self, z: np.ndarray) -> None:
        """Show what z (PATH_STEPS, D) decode to."""
        tiles = [rgba(self.view.shades(x)) for x in self.page.decodings(z)]
        self.source.data = {"image": [np.concatenate(tiles, 1)]}


def away_card(page: Page) -> Any:
    """Saves the latents and the decoding as files, and shows the command that makes the same."""
    said = Div(sizing_mode="stretch_width")
    image = isinstance(page.picture, ImagePicture)

    def give(name: str, content: bytes) -> None:
        page.file.data = {"name": [name], "content": [base64.b64encode(content).decode()]}
        folder = shlex.quote(str(page.explored.run.folder.path))
        line = safe(f"vae sample run={folder} z=latents.npy mode=mean", 600)
        said.text = f"<p>the same again, from latents.npy: <code>{line}</code></p>"

    def latents() -> None:
        file = io.BytesIO()
        np.save(file, page.z.astype(np.float32)[None], allow_pickle=False)
        give("latents.npy", file.getvalue())

    def decoding() -> None:
        x = page.decodings(page.z[None])[0]
        if isinstance(page.picture, ImagePicture):
            pixels = rgba(page.picture.view.shades(x))[::-1].copy().view(np.uint8).reshape(*x.shape[1:], 4)[..., :3]
            give("decoding.png", png(pixels.repeat(ENLARGED, 0).repeat(ENLARGED, 1)))
        else:
            cells = page.explored.cells(x)
            give("decoding.csv", (csv_line(column_titles(page.explored.run)) + csv_line(cells)).encode())

    name = "decoding.png" if image else "decoding.csv"
    both = button("latents.npy", latents, page, width=120), button(name, decoding, page, width=130)
    return stacked(wrapped(*both), said)


def others_card(page: Page, others: Sequence[Explored]) -> Any:
    """The encoded observation in each of the other runs."""
    pages = [Page(other) for other in others]
    rows = []
    for one in pages:
        for plot in (one.map.plot, one.picture.plot, one.seen.plot, one.back.plot):
            plot.name = None  # names belong to the first run's
        page.other_plots += [one.map.plot, one.back.plot]
        one.map.plot.height = 260
        one.map.place(one.spread(one.plane.coordinates(one.explored.codes)), *one.axis_titles())
        one.recolour()
        name = Div(text=f"<b>{safe(one.explored.run.folder.title)}</b>")
        rows.append(stacked(name, one.map.plot, wrapped(titled("reconstruction", one.back.plot), one.terms)))

    def follow() -> None:
        for one in pages:
            one.encode(page.x.to(one.explored.run.device), page.called)
            at = one.plane.coordinates(one.z)
            one.map.mark.data = {"x": [float(at[0])], "y": [float(at[1])]}

    page.after.append(follow)
    return stacked(*rows)
