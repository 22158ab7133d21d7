"""What a page that explores a run shows at once, before the run is loaded: a heading, axes, and room for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bokeh.document import Document
from bokeh.models import Div, UIElement

from vaecli.plots.explore.layout import arrange, dress, stacked
from vaecli.plots.explore.look import safe, sheet
from vaecli.plots.explore.map import Map

CARDS = ("first", "second", "third")  # columns of cards below the map


class Frame:
    """A heading, a map without dots, and empty columns."""

    def __init__(self, title: str, lead: str = "", height: int = 520) -> None:
        self.title, self.style = title, sheet()
        self.map = Map(height=height)
        self.lead = Div(sizing_mode="stretch_width")
        self.left = stacked(Div(height=62), self.map.plot)  # as high as what will stand there
        self.decoding, self.latents = stacked(), stacked()
        self.cards = {name: stacked() for name in CARDS}
        self.say(lead)

    def say(self, lead: str, warning: str = "") -> None:
        """The sentence below the heading."""
        end = f" <span class=warn>{safe(warning, 600)}</span>" if warning else ""
        self.lead.text = f"<span class=soft>{safe(lead, 600)}</span>{end}"

    def open(self, document: Document) -> None:
        """Put the frame on a page."""
        dress(self.lead, style=self.style)
        roots = {"lead": self.lead, "map": self.left, "picture": self.decoding, "latents": self.latents}
        arrange(document, self.title, roots, self.cards)

    def fill(self, above: UIElement, below: UIElement, decoding: Sequence[UIElement], latents: Sequence[UIElement],
             cards: Mapping[str, Sequence[UIElement]]) -> None:  # fmt: skip
        """Put what a loaded run needs in its places, `above` and `below` the map."""
        every = [above, below, *decoding, *latents, *(child for column in cards.values() for child in column)]
        dress(*every, style=self.style)
        self.left.children = [above, self.map.plot, below]
        self.decoding.children, self.latents.children = list(decoding), list(latents)
        for name, column in cards.items():
            self.cards[name].children = list(column)
