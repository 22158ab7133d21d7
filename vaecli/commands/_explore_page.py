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
from vaecli.commands._explored import Explored
from vaecli.plots.explore.frame import Frame
from vaecli.plots.explore.gestures import download, follow
from vaecli.plots.explore.layout import wrapped
from vaecli.plots.explore.look import dot_colours, safe
from vaecli.plots.explore.map import terms_table
from vaecli.plots.explore.pictures import Shown, picture_of, show
from vaecli.utils.errors import UserError

SLIDERS = 10  # latents with a slider of their own
FAR = 3.5  # a slider goes at least from -FAR to FAR


class Page:
    """The widgets of one reader's page, and what they do."""

    def __init__(self, explored: Explored, frame: Frame) -> None:
        self.explored, self.frame, self.map = explored, frame, frame.map
        e = explored
        self.model = e.run.model
        d = self.model.latent_dim
        self.z = e.codes.mean(0)
        self.across, self.up = (e.axes[0], e.axes[min(1, d - 1)])
        if d > 1 and e.order[0] > e.order[1]:
            self.across, self.up = self.up, self.across
        self.plane = e.plane(self.across, self.up)
        self.ask = ColumnDataSource(data={"n": [0], "kind": [""], "x": [0.0], "y": [0.0]})
        self.answer = ColumnDataSource(data={"n": [0]})
        self.picture, self.seen, self.back = (
            picture_of(e.view, side, title, e.sample, e.cells)
            for side, title in ((280, "decoding"), (170, "observation"), (170, "reconstruction"))
        )
        self.terms, self.message = Div(), Div()
        self.kind = RadioButtonGroup(labels=["mean of p(x|z)", "a draw"], active=0)
        self.file = ColumnDataSource(data={"name": [], "content": []})
        self.number, self.height = 0, 0.0  # height: where the point is drawn, over a single latent
        self.found: Posterior | None = None
        self.shown: int | None = None  # the index of the encoded observation
        self.after: list[Callable[[], None]] = []  # called when an observation has been encoded
        self.moves = {"latent": self.to_latent, "plane": self.to_place, "tap": self.to_dot}
        self._sliders()
        self._choices()
        download(self.file)
        values, names = e.labels
        self.map.fill(self.dots, values, names, np.array(e.rows), self.recolour())
        self.map.name_axes(*self.axis_titles())

    def _sliders(self) -> None:
        """A slider for each of the most active latents; the rest share one, folded away."""
        e, reach = self.explored, np.maximum(FAR, np.abs(self.explored.codes).max(0))
        shown = e.order[: min(SLIDERS, e.active)]
        self.dims, self.rest = shown, [i for i in e.order if i not in shown]
        self.sliders = [
            Slider(start=-reach[i], end=reach[i], value=float(np.clip(self.z[i], -reach[i], reach[i])), step=0.01,
                   title=f"z_{i + 1}", sizing_mode="stretch_width") for i in shown
        ]  # fmt: skip
        label = "the other latent" if len(self.rest) == 1 else f"the other {len(self.rest)} latents"
        self.more = Toggle(label=label, visible=bool(self.rest))
        self.other = Select(options=[f"z_{i + 1}" for i in self.rest], visible=False, width=100, title="latent",
                            value=f"z_{self.rest[0] + 1}" if self.rest else "")  # fmt: skip
        self.other_value = Slider(start=-FAR, end=FAR, value=0.0, step=0.01, title="value", visible=False)
        self.more.on_change("active", self.safely(lambda attr, old, new: self.unfold(new)))
        self.other.on_change("value", self.safely(lambda attr, old, new: self.unfold(True)))
        self.other_value.on_change("value", self.safely(lambda attr, old, new: self.slide(new)))

    def _choices(self) -> None:
        """What the map shows."""
        e = self.explored
        self.axis_x = Select(title="across", options=e.axes, value=self.across, width=90)
        self.axis_y = Select(title="up", options=e.axes, value=self.up, width=90)
        names = list(e.colourings) or ["one colour"]
        self.colour = Select(title="colour", options=[(name, safe_option(name)) for name in names], value=names[0],
                             width=150)  # fmt: skip
        self.prior = Toggle(label="contours of the prior", align="end")
        self.legend = Div(sizing_mode="stretch_width")
        self.one = len(e.axes) == 1
        self.axis_y.visible = not self.one
        self.axis_x.on_change("value", self.safely(lambda *_: self.replane()))
        self.axis_y.on_change("value", self.safely(lambda *_: self.replane()))
        self.colour.on_change("value", self.safely(lambda *_: self.map.colour(self.recolour())))
        self.prior.on_change("active", self.safely(lambda *_: self.show_prior()))
        self.kind.on_change("active", self.safely(lambda *_: self.show()))
        self.ask.on_change("data", self.safely(lambda attr, old, new: self.answer_question(new)))

    def safely(self, act: Callable[..., None]) -> Callable[..., None]:
        """`act` as a callback that shows its errors as a line on the page, without a traceback."""

        def callback(attr: str, old: object, new: object) -> None:
            try:
                self.message.text = ""
                act(attr, old, new)
            except UserError as error:
                self.say(str(error))
            except Exception as error:  # a command would end here; the page stays usable
                self.say(f"this did not work: {type(error).__name__}: {error}")

        return callback

    def say(self, text: str) -> None:
        """Show a line in the page."""
        self.message.text = f"<span class=warn>{safe(text, 500)}</span>"

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
        self.z = self.plane.moved(self.z, np.array([x, y]))

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
        x, y = map(float, self.plane.coordinates(self.z))
        columns = {f"shown_{key}": [values] for key, values in shown.items()}
        self.answer.data = {"n": [self.number], "x": [x], "y": [self.height if self.one else y],
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
        self.z, self.shown = found.mean, index
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
        shape = None if self.found.covariance is None else self.plane.ellipse(self.found.covariance)
        self.map.show_posterior(
            self.plane.coordinates(self.found.mean), shape, self.plane.coordinates(self.found.draws)
        )

    def unfold(self, opened: bool) -> None:
        """Show the shared slider of the less active latents."""
        self.other.visible = self.other_value.visible = opened
        self.other_value.value = float(np.clip(self.z[int(self.other.value[2:]) - 1], -FAR, FAR))

    def slide(self, value: float) -> None:
        i = int(self.other.value[2:]) - 1
        if abs(self.z[i] - value) > 1e-6:
            self.z = self.z.copy()
            self.z[i] = value
            self.show()

    def replane(self) -> None:
        """Draw the map over other axes."""
        across, up = self.axis_x.value, self.axis_y.value
        if across == up and not self.one:
            raise UserError(f"across and up are both {across}: choose two different axes")
        self.plane = self.explored.plane(across, up)
        self.map.place(self.dots)
        self.map.name_axes(*self.axis_titles())
        self.show_posterior()
        self.show_prior()
        self.show()

    @property
    def dots(self) -> np.ndarray:
        """Where the codes are in the plane (N, 2).

        Those of a single latent are at random heights, which mean nothing, so that they do not hide each other.
        """
        at = self.plane.coordinates(self.explored.codes)
        return np.stack([at[:, 0], np.random.default_rng(0).uniform(-1, 1, len(at))], 1) if self.one else at

    def axis_titles(self) -> tuple[str, str]:
        """The names of the map's axes, with what each latent tells."""
        across, up = (self.axis_title(name) for name in (self.axis_x.value, self.axis_y.value))
        return across, "at random heights, to be visible" if self.one else up

    def axis_title(self, name: str) -> str:
        if name.startswith("PC"):
            return f"principal component {name[3:]} of the codes"
        kl = self.explored.kl
        return name if kl is None else f"{name}   (KL {kl[int(name[2:]) - 1]:.2f} nats)"

    def recolour(self) -> np.ndarray:
        """Write the legend of the colours chosen; returns these, a colour for each dot."""
        e, colouring = self.explored, self.explored.colourings.get(self.colour.value)
        values, classes = colouring() if colouring else (None, None)
        colours, self.legend.text = dot_colours(values, len(e.codes), classes)
        return colours

    def show_prior(self) -> None:
        on = self.prior.active and not self.one
        self.map.show_prior(self.plane.coordinates(self.explored.prior) if on else None)

    def start(self, document: Document, cards: dict[str, list[Any]]) -> None:
        """Put everything in its place and show the first decoding."""
        above = wrapped(self.axis_x, self.axis_y, self.colour, self.prior)
        latents = [*self.sliders, self.more, wrapped(self.other, self.other_value)]
        with document.models.freeze():  # it looks through all models once, not at each change
            self.frame.fill(above, self.legend, [self.message, self.kind, self.picture.plot], latents, cards)
        with document.models.freeze():
            follow(self.map, self.ask, self.answer, self.picture.source, self.sliders, self.dims, self.file)
        document.add_next_tick_callback(self.show)


def safe_option(name: str) -> str:
    """A name for a list of choices, which shows texts as they are."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def button(label: str, act: Callable[[], None], page: Page, **settings: Any) -> Button:
    """A button whose errors are a line on the page."""
    made = Button(label=label, **settings)
    guarded = page.safely(lambda *_: act())
    made.on_click(lambda: guarded("", None, None))
    return made
