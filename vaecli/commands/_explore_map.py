"""The map of one reader's page of `vae explore`: its plane, the dots, their colours, and the widgets that choose them.

It needs no matplotlib, which takes a third of a second to import, so that the dots are there before the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bokeh.models import Div, Select, Toggle

from vaecli.commands._explored import Explored
from vaecli.plots.explore.frame import Frame
from vaecli.plots.explore.look import dot_colours, safe
from vaecli.utils.errors import UserError


class Overview:
    """The dots of a run on a page's map.

    replaned: called when the map has been drawn over other axes
    """

    def __init__(self, explored: Explored, frame: Frame) -> None:
        self.explored, self.map, e = explored, frame.map, explored
        self.across, self.up = e.axes[0], e.axes[min(1, len(e.order) - 1)]
        if len(e.order) > 1 and e.order[0] > e.order[1]:
            self.across, self.up = self.up, self.across
        self.plane = e.plane(self.across, self.up)
        self.one = len(e.axes) == 1
        self.message = Div()
        self.replaned: list[Callable[[], None]] = []
        self._choices()
        values, names = e.labels
        self.map.fill(self.dots, values, names, np.array(e.rows), self.recolour())
        self.map.name_axes(*self.axis_titles())

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
        self.axis_y.visible = not self.one
        self.axis_x.on_change("value", self.safely(lambda *_: self.replane()))
        self.axis_y.on_change("value", self.safely(lambda *_: self.replane()))
        self.colour.on_change("value", self.safely(lambda *_: self.map.colour(self.recolour())))
        self.prior.on_change("active", self.safely(lambda *_: self.show_prior()))

    def safely(self, act: Callable[..., None], where: Div | None = None) -> Callable[..., None]:
        """`act` as a callback that shows its errors as a line on the page, without a traceback.

        where: takes the line; None: the place above the decoding
        """
        place = self.message if where is None else where

        def callback(attr: str, old: object, new: object) -> None:
            try:
                place.text = ""
                act(attr, old, new)
            except UserError as error:
                say(place, str(error))
            except Exception as error:  # a command would end here; the page stays usable
                say(place, f"this did not work: {type(error).__name__}: {error}")

        return callback

    def replane(self) -> None:
        """Draw the map over other axes."""
        across, up = self.axis_x.value, self.axis_y.value
        if across == up and not self.one:
            raise UserError(f"across and up are both {across}: choose two different axes")
        self.plane = self.explored.plane(across, up)
        self.map.place(self.dots)
        self.map.name_axes(*self.axis_titles())
        self.show_prior()
        for act in self.replaned:
            act()

    @property
    def dots(self) -> np.ndarray:
        """Where the codes are on the map (N, 2)."""
        return self.place(self.explored.codes, self.explored.heights)

    def place(self, z: np.ndarray, height: float | np.ndarray) -> np.ndarray:
        """Where z (..., D) is on the map (..., 2); `height` counts over a single latent alone."""
        at = self.plane.coordinates(z)
        return np.stack([at[..., 0], np.broadcast_to(height, at.shape[:-1])], -1) if self.one else at

    def axis_titles(self) -> tuple[str, str]:
        """The names of the map's axes, with what each latent tells."""
        across, up = (self.axis_title(name) for name in (self.axis_x.value, self.axis_y.value))
        height = "log p(z) in nats" if self.explored.split is None else "KL of the observation in nats"
        return across, height if self.one else up

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
        draws = self.plane.coordinates(self.explored.prior) if self.prior.active else None
        self.map.show_prior(draws if draws is None or not self.one else draws[:, :1])


def say(place: Div, text: str) -> None:
    """Show a warning."""
    place.text = f"<span class=warn>{safe(text, 500)}</span>"


def safe_option(name: str) -> str:
    """A name for a list of choices, which shows texts as they are."""
    return name if len(name) <= 60 else f"{name[:59]}…"
