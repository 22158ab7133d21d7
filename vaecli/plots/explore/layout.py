"""The page around the figures: its template and the widgets in it."""

from __future__ import annotations

from collections.abc import Mapping

from bokeh.document import Document
from bokeh.models import Div, InlineStyleSheet, UIElement, Widget
from bokeh.models.layouts import Column, Row

from vaecli.plots.explore.look import CSS, LEGEND, safe, sheet

TEMPLATE = """
{% from macros import embed %}
{% block title %}{{ heading | e }}{% endblock %}
{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">
<style>CSS_HERE</style>{% endblock %}
{% block contents %}
<main>
<h1>{{ heading | e }}</h1>{{ embed(roots.lead) }}
<div class="columns">
  <section aria-label="Map">{{ embed(roots.map) }}</section>
  <section aria-label="Decoding">{{ embed(roots.picture) }}
  <p id="place" role="status"></p>
  {{ embed(roots.latents) }}</section>
</div>
<div class="cards">
{% for name in cards %}<div>{{ embed(roots[name]) }}</div>{% endfor %}
</div>
</main>
{% endblock %}
""".replace("CSS_HERE", CSS)

BESIDE = {"flex": "1 1 200px", "min-width": "0"}  # of widgets that stand in lines as long as there is room

PAGE = """
{% from macros import embed %}
{% block title %}{{ heading | e }}{% endblock %}
{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">
<style>CSS_HERE</style>{% endblock %}
{% block contents %}
<main>
<h1>{{ heading | e }}</h1><p class="soft">{{ lead | e }}</p>
<div class="columns">
  <section aria-label="Map">{{ embed(roots.map) }}<p>{{ legend }}</p></section>
  <section aria-label="Decoding"><h2>Decoded under the mouse</h2>{{ embed(roots.point) }}
  {% for note in notes %}<p class="soft">{{ note | e }}</p>{% endfor %}</section>
</div>
</main>
{% endblock %}
""".replace("CSS_HERE", CSS + LEGEND)


def arrange(document: Document, heading: str, roots: Mapping[str, UIElement], cards: Mapping[str, UIElement]) -> None:
    """Put lead, map, picture, latents (`roots` by these names) and columns of cards on the page."""
    for name, root in {**roots, **cards}.items():
        root.name = name
        document.add_root(root)
    document.title = heading
    document.template = TEMPLATE
    document.template_variables.update(heading=heading, cards=list(cards))


def card(title: str, *children: UIElement) -> Column:
    """Children below a title."""
    return stacked(Div(text=f"<h2>{safe(title)}</h2>"), *children)


def dress(*widgets: UIElement, style: InlineStyleSheet | None = None) -> None:
    """Give widgets, and those within them, the page's style sheet; texts are shown as they are, not as formulas."""
    style = style or sheet()
    for widget in widgets:
        if isinstance(widget, Widget):
            widget.stylesheets = [*widget.stylesheets, style]
        if isinstance(widget, Div):
            widget.disable_math = True
        dress(*getattr(widget, "children", []), style=style)


def wrapped(*children: UIElement) -> Row:
    """Children beside each other, on further lines where the window is narrow."""
    return Row(children=list(children), styles={"flex-wrap": "wrap", "gap": "4px 10px"}, sizing_mode="stretch_width")


def stacked(*children: UIElement) -> Column:
    """Children below each other."""
    return Column(children=list(children), sizing_mode="stretch_width", styles={"gap": "4px"})
