"""The cards of `vae explore` for a path between two places, and for files to save."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import Div, Slider

from vaecli.commands._explore_page import Page, button
from vaecli.commands._outputs import column_titles
from vaecli.plots.explore.gestures import along
from vaecli.plots.explore.layout import wrapped
from vaecli.plots.explore.look import safe
from vaecli.plots.explore.pictures import ImagePicture, rgba
from vaecli.plots.explore.strips import STEPS, scrubbed, strip_of
from vaecli.plots.view import png
from vaecli.utils.text import csv_line

ENLARGED = 8  # factor by which a saved image is enlarged


class End(NamedTuple):
    """A place where a path begins or ends."""

    z: np.ndarray  # (D,)
    shown: int | None  # the index of the observation whose code it is; None: no one's
    height: float  # on the map of a single latent


class Path:
    """A path between two places, as a strip, and a slider that goes along it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.ends: dict[str, End] = {}
        self.said = Div(text="<span class=soft>Move the point and press a button, for each end of the path.</span>")
        self.lines = Div(sizing_mode="stretch_width")
        self.scrub = Slider(start=0, end=1, value=0, step=0.005, title="along the path", visible=False, name="scrub",
                            sizing_mode="stretch_width")  # fmt: skip
        self.strip = strip_of(page.picture)
        self.strip.plot.update(name="strip", visible=False)
        self.save = button("path.npy", self.take, page, width=100, visible=False)
        scrubbed(self.strip.plot, self.strip.width, self.scrub)
        along(self.scrub)
        page.moves["path"] = self.move
        ends = (button(f"{which} here", lambda which=which: self.end(which), page, width=100)  # type: ignore[misc]
                for which in ("start", "end"))  # fmt: skip
        self.parts: list[Any] = [wrapped(*ends, self.save), self.said, self.strip.plot, self.scrub, self.lines]

    @property
    def places(self) -> np.ndarray:
        """Latents along the path (STEPS, D)."""
        return np.linspace(self.ends["start"].z, self.ends["end"].z, STEPS)

    @property
    def heights(self) -> tuple[float, float]:
        return self.ends["start"].height, self.ends["end"].height

    def end(self, which: str) -> None:
        """Let the path start or end where the point is."""
        self.ends[which] = End(self.page.z.copy(), self.page.index, self.page.height)
        self.said.text = f"<span class=soft>{' and '.join(self.ends)} set</span>"
        if len(self.ends) < 2:
            return
        self.said.visible = False
        for part in (self.strip.plot, self.scrub, self.save):
            part.visible = True
        at = self.page.overview.place(self.places, np.linspace(*self.heights, STEPS))
        self.page.map.path.data = {"x": at[:, 0], "y": at[:, 1]}
        self.strip.source.data = {**self.strip.source.data, **self.strip.columns(self.page.decodings(self.places))}
        self.lines.text = self.command()

    def command(self) -> str:
        """The command line that decodes the same path, as HTML."""
        ends = [self.ends[which].shown for which in ("start", "end")]
        if None not in ends:
            line = self.page.explored.command("interpolate", f"from={ends[0]}", f"to={ends[1]}", f"steps={STEPS}")
            return f"<p>the same path: <code>{safe(line, 1000)}</code></p>"
        return ("<p class=soft>Between two encoded observations, <code>vae interpolate</code> makes the same "
                "path; path.npy has this one.</p>")  # fmt: skip

    def move(self, t: float, _: float) -> None:
        """Go to a share t of the path."""
        if len(self.ends) == 2:
            self.page.z = self.ends["start"].z + t * (self.ends["end"].z - self.ends["start"].z)
            self.page.height = (1 - t) * self.heights[0] + t * self.heights[1]

    def take(self) -> None:
        """Hand out the path's latents."""
        self.page.give("path.npy", npy(self.places))
        line = self.page.explored.command("sample", "z=path.npy", "mode=mean", data=False)
        self.lines.text = f"<p>its decodings: <code>{safe(line, 1000)}</code></p>"


def npy(z: np.ndarray) -> bytes:
    """Latents (N, D) as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, z.astype(np.float32), allow_pickle=False)
    return file.getvalue()


def away(page: Page) -> list[Any]:
    """Saves the latents and the decoding as files, and shows the command that makes the same."""
    said = Div(sizing_mode="stretch_width")

    def latents() -> None:
        page.give("latents.npy", npy(page.z[None]))
        line = page.explored.command("sample", "z=latents.npy", "mode=mean", data=False)
        said.text = f"<p>decoded by: <code>{safe(line, 1000)}</code></p>"

    def decoding() -> None:
        x = page.decodings(page.z[None])[0]
        if isinstance(page.picture, ImagePicture):
            pixels = rgba(page.picture.view.shades(x))[::-1].copy().view(np.uint8)
            pixels = pixels.reshape(*pixels.shape[:-1], -1, 4)[..., :3]
            page.give("decoding.png", png(pixels.repeat(ENLARGED, 0).repeat(ENLARGED, 1)))
        else:
            cells = page.explored.cells(x)
            page.give("decoding.csv", (csv_line(column_titles(page.explored.run)) + csv_line(cells)).encode())

    name = "decoding.png" if isinstance(page.picture, ImagePicture) else "decoding.csv"
    both = button("latents.npy", latents, page, width=120), button(name, decoding, page, width=130)
    return [wrapped(*both), said]
