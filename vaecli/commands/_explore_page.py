"""One reader's page of `vae explore`: what happens when the point moves, or an observation or dots are chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import Button, ColumnDataSource, Div, RadioButtonGroup, Select, Slider, Toggle
from torch import Tensor

from vaecli.analysis.exploration import Posterior, decoded, decoded_draws, decodings_of, posterior
from vaecli.commands._explored import Explored
from vaecli.commands._keys import source
from vaecli.plots.explore.gestures import download, follow, ready
from vaecli.plots.explore.layout import arrange, dress, stacked, wrapped
from vaecli.plots.explore.look import dot_colours, safe
from vaecli.plots.explore.map import Map, terms_table
from vaecli.plots.explore.pictures import picture_of
from vaecli.utils.errors import UserError

SLIDERS = 10  # latents with a slider of their own
FAR = 3.5  # a slider goes at least from -FAR to FAR


class Page:
    """The widgets of one reader's page, and what they do."""

    def __init__(self, explored: Explored) -> None:
        self.explored = explored
        e = explored
        self.model = e.run.model
        d = self.model.latent_dim
        self.z = e.codes.mean(0)
        self.across, self.up = (e.axes[0], e.axes[min(1, d - 1)])
        if d > 1 and e.order[0] > e.order[1]:
            self.across, self.up = self.up, self.across
        self.plane = e.plane(self.across, self.up)
        self.map = Map(self.plane.coordinates(e.codes), e.labels(), e.rows)
        self.ask = ColumnDataSource(data={"n": [0], "kind": [""], "x": [0.0], "y": [0.0]})
        self.answer = ColumnDataSource(data={"n": [0], "x": [0.0], "y": [0.0], "z": [list(self.z)]})
        self.picture, self.seen, self.back = (
            picture_of(e.view, side, title, e.sample, e.cells)
            for side, title in ((280, "decoding"), (170, "observation"), (170, "reconstruction"))
        )
        self.info, self.terms, self.message = Div(), Div(), Div()
        self.kind = RadioButtonGroup(labels=["mean of p(x|z)", "a draw"], active=0)
        self.file = ColumnDataSource(data={"name": [], "content": []})
        self.number, self.height = 0, 0.0  # height: where the point is drawn, over a single latent
        self.found: Posterior | None = None
        self.plots = [self.map.plot, self.picture.plot, self.seen.plot, self.back.plot]
        self.other_plots: list[Any] = []  # of the other runs
        self.after: list[Callable[[], None]] = []  # called when an observation has been encoded
        self._sliders()
        self._choices()
        download(self.file)

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
        self.colour.on_change("value", self.safely(lambda *_: self.recolour()))
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
        kind, x, y = asked["kind"][0], float(asked["x"][0]), float(asked["y"][0])
        dot = self.map.near(x, y) if kind == "tap" and self.explored.split is not None else None
        if kind == "latent":
            self.z = self.z.copy()
            self.z[int(x)] = y
        elif dot is None:
            self.height = y
            self.z = self.plane.moved(self.z, np.array([x, y]))
        try:
            if dot is not None:
                self.encode(self.explored.observation(dot), f"row {self.explored.rows[dot]}")
            else:
                self.show()
        finally:
            self.reply()

    def reply(self) -> None:
        """Tell the browser where the point is; it sends its next question only after this."""
        self.number += 1
        x, y = self.plane.coordinates(self.z)
        if self.one:
            y = self.height
        self.answer.data = {"n": [self.number], "x": [float(x)], "y": [float(y)], "z": [list(map(float, self.z))]}

    def show(self) -> None:
        """Decode the point."""
        p = decoded(self.model, self.z)
        if self.kind.active == 1:
            self.number += 1
            self.picture.show(decoded_draws(self.model, self.z, 1, self.number)[0])
        else:
            self.picture.show(p.mean, p.stddev)
        inside = self.explored.coverage.covers(self.z)
        place = "" if inside else " <span class=warn>▲ outside what the codes cover</span>"
        self.info.text = f"log p(z) = {p.log_prior:.2f} nats{place}"

    def decodings(self, z: np.ndarray) -> np.ndarray:
        """Means of p(x|z) of z (M, D): (M, *x_shape)."""
        return decodings_of(self.model, z)

    def encode(self, x: Tensor, called: str) -> None:
        """Encode an observation, show q(z|x), reconstruction and the ELBO, and move the point to its code."""
        self.x, self.called = x, called
        found = self.found = posterior(self.model, x, self.explored.seed)
        self.z = found.mean
        self.seen.show(x.cpu().numpy())
        self.back.show(found.reconstruction)
        self.terms.text = f"<p><b>{safe(called)}</b></p>" + terms_table([
            ("log p(x|z)", f"{found.log_px:.2f}", "how well the decoding explains the observation"),
            ("KL", f"{found.kl:.2f}", "how much this observation tells the code"),
            ("ELBO", f"{found.elbo:.2f}", "their difference, a lower bound of log p(x), in nats"),
        ])  # fmt: skip
        self.show_posterior()
        self.show()
        for act in self.after:
            act()

    def encode_and_reply(self, x: Tensor, called: str) -> None:
        """As `encode`, when the browser has not asked with the mouse or a slider."""
        self.encode(x, called)
        self.reply()

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
            self.reply()

    def replane(self) -> None:
        """Draw the map over other axes."""
        across, up = self.axis_x.value, self.axis_y.value
        if across == up and not self.one:
            raise UserError(f"across and up are both {across}: choose two different axes")
        self.plane = self.explored.plane(across, up)
        self.map.place(self.spread(self.plane.coordinates(self.explored.codes)), *self.axis_titles())
        self.show_posterior()
        self.show_prior()
        self.reply()

    def spread(self, at: np.ndarray) -> np.ndarray:
        """The codes of a single latent at random heights, which mean nothing, so that they do not hide each other."""
        return np.stack([at[:, 0], np.random.default_rng(0).uniform(-1, 1, len(at))], 1) if self.one else at

    def axis_titles(self) -> tuple[str, str]:
        """The names of the map's axes, with what each latent tells."""
        across, up = (self.axis_title(name) for name in (self.axis_x.value, self.axis_y.value))
        return across, "at random heights, to be visible" if self.one else up

    def axis_title(self, name: str) -> str:
        if name.startswith("PC") or self.explored.split is None:
            return name if name.startswith("z") else f"principal component {name[3:]} of the codes"
        return f"{name}   (KL {self.explored.information[int(name[2:]) - 1]:.2f} nats)"

    def recolour(self) -> None:
        """Colour the dots."""
        e, colouring = self.explored, self.explored.colourings.get(self.colour.value)
        values, classes = colouring() if colouring else (None, None)
        colours, legend = dot_colours(values, len(e.codes), classes)
        self.map.dots.data = {**self.map.dots.data, "colour": colours}
        self.legend.text = legend

    def show_prior(self) -> None:
        on = self.prior.active and not self.one
        self.map.show_prior(self.plane.coordinates(self.explored.prior) if on else None)

    def start(self, document: Document, lead: str, cards: dict[str, Any]) -> None:
        """Lay the page out and show the first decoding."""
        self.map.place(self.spread(self.plane.coordinates(self.explored.codes)), *self.axis_titles())
        self.recolour()
        self.show()
        self.reply()
        self.map.mark.data = {key: list(self.answer.data[key]) for key in ("x", "y")}
        left = stacked(wrapped(self.axis_x, self.axis_y, self.colour, self.prior), self.map.plot, self.legend)
        right = stacked(self.message, self.kind, self.picture.plot, self.info, *self.sliders, self.more,
                        wrapped(self.other, self.other_value))  # fmt: skip
        dress(left, right, *(card for _, card in cards.values()))
        arrange(document, f"{self.explored.run.folder.title}: its latent space", lead, left, right, cards)
        follow(self.map, self.ask, self.answer, self.sliders, self.dims)
        ready(document, self.map, self.ask, [*self.plots, *self.other_plots])

    @property
    def source(self) -> str:
        return source(self.explored.run)


def safe_option(name: str) -> str:
    """A name for a list of choices, which shows texts as they are."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def button(label: str, act: Callable[[], None], page: Page, **settings: Any) -> Button:
    """A button whose errors are a line on the page."""
    made = Button(label=label, **settings)
    guarded = page.safely(lambda *_: act())
    made.on_click(lambda: guarded("", None, None))
    return made
