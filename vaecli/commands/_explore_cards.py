"""The cards below the map of `vae explore`: put something in, select, a path, take away, other runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import Spinner

from vaecli.commands._explore_page import Page
from vaecli.commands._explored import Explored
from vaecli.plots.explore.layout import stacked, wrapped

Cards = dict[str, tuple[str, Any]]


def make_cards(page: Page, explored: Sequence[Explored]) -> Cards:
    """All cards of a page."""
    return {"input": ("Put something in", input_card(page))}


def input_card(page: Page) -> Any:
    """An observation by its index."""
    n = len(page.explored.codes)
    index = Spinner(title=f"index, 0 to {n - 1:,}", low=0, high=n - 1, step=1, value=0, width=140)
    index.on_change("value", page.safely(lambda attr, old, new: choose(page, new)))
    index.visible = page.explored.split is not None
    return stacked(index, page.terms, wrapped(page.seen.plot, page.back.plot))


def choose(page: Page, i: object) -> None:
    """Put in the observation of an index."""
    if isinstance(i, int | float):
        page.put(page.explored.observation(int(i)), f"row {page.explored.rows[int(i)]}")
