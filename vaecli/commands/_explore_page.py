"""One reader's page of `vae explore`: what happens when the point moves, or an observation or dots are chosen."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import Button, ColumnDataSource, Div, RadioButtonGroup, Select, Slider, Toggle
from torch import Tensor

from vaecli.analysis.exploration import Posterior, decoded, decoded_draws, decodings_of, posterior
from vaecli.commands._explore_map import Overview
from vaecli.plots.explore.frame import Frame
from vaecli.plots.explore.gestures import download, follow
from vaecli.plots.explore.layout import BESIDE, wrapped
from vaecli.plots.explore.look import safe
from vaecli.plots.explore.map import terms_table
from vaecli.plots.explore.pictures import Shown, picture_of, show

SLIDERS = 10  # latents with a slider of their own
FAR = 3.5  # a slider goes at least from -FAR to FAR


class Page:
    """The widgets of one reader's page, and what they do."""

    def __init__(self, overview: Overview, frame: Frame) -> None:
        self.overview, self.explored, self.frame, self.map = overview, overview.explored, frame, frame.map
        e, self.safely, self.message = self.explored, overview.safely, overview.message
        self.model = e.run.model
        self.z = e.codes.mean(0)
        self.ask = ColumnDataSource(data={"n": [0], "kind": [""], "x": [0.0], "y": [0.0]})
        self.answer = ColumnDataSource(data={"n": [0]})
        self.picture, self.seen, self.back = (
            picture_of(e.view, side, title, e.sample, e.cells)
            for side, title in ((280, "decoding"), (170, "observation"), (170, "reconstruction"))
        )
        self.terms, self.refused = Div(), Div()  # refused: why an observation could not be encoded
        self.kind = RadioButtonGroup(labels=["mean of p(x|z)", "a draw"], active=0)
        self.file = ColumnDataSource(data={"name": [], "content": []})
        self.number, self.height = 0, float(np.median(e.heights))  # height: of the point, over a single latent
        self.found: Posterior | None = None
        self.shown: int | None = None  # the index of the encoded observation
        self.after: list[Callable[[], None]] = []  # called when an observation has been encoded
        self.moves = {"latent": self.to_latent, "plane": self.to_place, "tap": self.to_dot}
        self._sliders()
        self.kind.on_change("active", self.safely(lambda *_: self.show()))
        self.ask.on_change("data", self.safely(lambda attr, old, new: self.answer_question(new)))
        overview.replaned += [self.show_posterior, self.show]
        download(self.file)

    def _sliders(self) -> None:
        """A slider for each of the most active latents; the rest share one, folded away."""
        e, reach = self.explored, np.maximum(FAR, np.abs(self.explored.codes).max(0))
        shown = e.order[: min(SLIDERS, e.active)]
        self.dims, self.rest = shown, [i for i in e.order if i not in shown]
        self.sliders = [
            Slider(start=-reach[i], end=reach[i], value=float(np.clip(self.z[i], -reach[i], reach[i])), step=0.01,
                   title=f"z_{i + 1}", sizing_mode="stretch_width", styles=BESIDE) for i in shown
        ]  # fmt: skip
        label = "the other latent" if len(self.rest) == 1 else f"the other {len(self.rest)} latents"
        self.more = Toggle(label=label, visible=bool(self.rest))
        self.other = Select(options=[f"z_{i + 1}" for i in self.rest], visible=False, width=100, title="latent",
                            value=f"z_{self.rest[0] + 1}" if self.rest else "")  # fmt: skip
        self.other_value = Slider(start=-FAR, end=FAR, value=0.0, step=0.01, title="value", visible=False)
        self.more.on_change("active", self.safely(lambda attr, old, new: self.unfold(new)))
        self.other.on_change("value", self.safely(lambda attr, old, new: self.unfold(True)))
        self.other_value.on_change("value", self.safely(lambda attr, old, new: self.slide(new)))

    def answer_question(self, asked: dict[str, Any]) -> None:
        """Answer the browser's question `asked`: decode the place, latent or dot that the reader has chosen."""
        before = self.number
        try:
            self.moves[asked["kind"][0]](float(asked["x"][0]), float(asked["y"][0]))
            self.show()
        finally:
            if self.number == before:  # after an error, too, the browser waits for a reply
                self.reply({})

    def to_latent(self, i: float, value: float) -> None:
        self.z = self.z.copy()
        self.z[int(i)] = value

    def to_place(self, x: float, y: float) -> None:
        self.height = y
        self.z = self.overview.plane.moved(self.z, np.array([x, y]))

    def to_dot(self, x: float, y: float) -> None:
        """Encode the observation whose dot is at a place of the map, or move there if there is none."""
        dot = self.map.near(x, y) if self.explored.split is not None else None
        if dot is None:
            self.to_place(x, y)
        else:
            self.encode(*self.chosen(dot))

    def reply(self, shown: Shown, said: str = "", warning: str = "") -> None:
        """Tell the browser what to show, and where the point is; it sends its next question only after this."""
        self.number += 1
        x, y = map(float, self.overview.place(self.z, self.height))
        columns = {f"shown_{key}": [values] for key, values in shown.items()}
        self.answer.data = {"n": [self.number], "x": [x], "y": [y],
                            "z": [self.z.tolist()], "said": [said], "warning": [warning], **columns}  # fmt: skip

    def show(self) -> None:
        """Decode the point."""
        p = decoded(self.model, self.z)
        if self.kind.active == 1:
            shown = self.picture.columns(decoded_draws(self.model, self.z, 1, self.number)[0])
        else:
            shown = self.picture.columns(p.mean, p.stddev)
        inside = self.explored.coverage.covers(self.z)
        self.reply(shown, f"log p(z) = {p.log_prior:.2f} nats", "" if inside else "▲ outside what the codes cover")

    def decodings(self, z: np.ndarray) -> np.ndarray:
        """Means of p(x|z) of z (M, D): (M, *x_shape)."""
        return decodings_of(self.model, z)

    def encode(self, x: Tensor, called: str, index: int | None = None) -> None:
        """Encode an observation, show q(z|x), reconstruction and the ELBO, and move the point to its code.

        index: of the observation in the split; None: it comes from elsewhere
        """
        self.x, self.called = x, called
        found = self.found = posterior(self.model, x, self.explored.seed)
        self.z, self.shown, self.height = found.mean, index, found.kl
        show(self.seen, x.cpu().numpy())
        show(self.back, found.reconstruction)
        self.terms.text = f"<p><b>{safe(called)}</b></p>" + terms_table([
            ("log p(x|z)", f"{found.log_px:.2f}", "how well the decoding explains the observation"),
            ("KL", f"{found.kl:.2f}", "how much this observation tells the code"),
            ("ELBO", f"{found.elbo:.2f}", "their difference, a lower bound of log p(x), in nats"),
        ])  # fmt: skip
        self.show_posterior()
        for act in self.after:
            act()

    def encode_and_reply(self, x: Tensor, called: str, index: int | None = None) -> None:
        """As `encode`, when the browser has not asked with the mouse or a slider."""
        self.encode(x, called, index)
        self.show()

    def chosen(self, i: int) -> tuple[Tensor, str, int]:
        """The observation of an index, what it is called, and the index."""
        return self.explored.observation(i), f"row {self.explored.rows[i]}", i

    @property
    def index(self) -> int | None:
        """Which observation's code the point is at; None: no one's."""
        here = self.found is not None and np.array_equal(self.z, self.found.mean)
        return self.shown if here else None

    def give(self, name: str, content: bytes) -> None:
        """Let the browser save a file."""
        self.file.data = {"name": [name], "content": [base64.b64encode(content).decode()]}

    def show_posterior(self) -> None:
        """q(z|x) on the map."""
        if self.found is None:
            return
        shape = None if self.found.covariance is None else self.overview.plane.ellipse(self.found.covariance)
        centre, draws = (self.overview.place(z, self.found.kl) for z in (self.found.mean, self.found.draws))
        self.map.show_posterior(centre, shape, draws)

    def unfold(self, opened: bool) -> None:
        """Show the shared slider of the less active latents."""
        self.other.visible = self.other_value.visible = opened
        self.other_value.value = float(np.clip(self.z[int(self.other.value[2:]) - 1], -FAR, FAR))

    def slide(self, value: float) -> None:
        i = int(self.other.value[2:]) - 1
        if abs(self.z[i] - value) > 1e-6:
            self.to_latent(i, value)
            self.show()

    def start(self, document: Document, cards: dict[str, list[Any]]) -> None:
        """Put everything in its place and show the first decoding."""
        over = self.overview
        above = wrapped(over.axis_x, over.axis_y, over.colour, over.prior)
        latents = [wrapped(*self.sliders), self.more, wrapped(self.other, self.other_value)]
        with document.models.freeze():  # it looks through all models once, not at each change
            self.frame.fill(above, over.legend, [self.message, self.kind, self.picture.plot], latents, cards)
        with document.models.freeze():
            follow(document, self.map, self.ask, self.answer, self.picture.source, self.sliders, self.dims, self.file,
                   self.refused)  # fmt: skip
        document.add_next_tick_callback(self.show)


def button(label: str, act: Callable[[], None], page: Page, where: Div | None = None, **settings: Any) -> Button:
    """A button whose errors are a line on the page, at `where`."""
    made = Button(label=label, **settings)
    guarded = page.safely(lambda *_: act(), where)
    made.on_click(lambda: guarded("", None, None))
    return made
