"""The page around the figures: its template and the widgets in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bokeh.document import Document
from bokeh.models import InlineStyleSheet, UIElement, Widget
from bokeh.models.layouts import Column, Row

from vaecli.plots.explore.look import CSS, safe, sheet

TEMPLATE = """
{% from macros import embed %}
{% block title %}{{ heading | e }}{% endblock %}
{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">
<style>CSS_HERE</style>{% endblock %}
{% block contents %}
<main>
<h1>{{ heading | e }}</h1><p class="soft">{{ lead | e }}</p>
<div class="columns">
  <section aria-label="Map">{{ embed(roots.map) }}</section>
  <section aria-label="Decoding">{{ embed(roots.point) }}</section>
</div>
<div class="cards">
{% for name, title in cards %}
<section><h2>{{ title }}</h2>{{ embed(roots[name]) }}</section>
{% endfor %}
</div>
</main>
{% endblock %}
""".replace("CSS_HERE", CSS)

PAGE = """
{% from macros import embed %}
{% block title %}{{ heading | e }}{% endblock %}
{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">
<style>CSS_HERE
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 4px; }
.key { display: inline-block; margin-right: 10px; white-space: nowrap; }
</style>{% endblock %}
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
""".replace("CSS_HERE", CSS)


def arrange(document: Document, heading: str, lead: str, map: UIElement, point: UIElement,
            cards: Mapping[str, tuple[str, UIElement]]) -> None:  # fmt: skip
    """Put the map, the decoding and `cards` (title and content by their names) on the page."""
    for name, root in {"map": map, "point": point, **{key: card for key, (_, card) in cards.items()}}.items():
        root.name = name
        document.add_root(root)
    titles = [(key, title) for key, (title, _) in cards.items()]
    document.title = heading
    document.template = TEMPLATE
    document.template_variables.update(heading=heading, lead=lead, cards=titles)


def dress(*widgets: UIElement, style: InlineStyleSheet | None = None) -> None:
    """Give widgets, and those within them, the page's style sheet."""
    style = style or sheet()
    for widget in widgets:
        if isinstance(widget, Widget):
            widget.stylesheets = [*widget.stylesheets, style]
        dress(*getattr(widget, "children", []), style=style)


def wrapped(*children: UIElement) -> Row:
    """Children beside each other, on further lines where the window is narrow."""
    return Row(children=list(children), styles={"flex-wrap": "wrap", "gap": "4px 10px"}, sizing_mode="stretch_width")


def stacked(*children: UIElement) -> Column:
    """Children below each other."""
    return Column(children=list(children), sizing_mode="stretch_width", styles={"gap": "4px"})


def paragraph(texts: Sequence[str]) -> str:
    """Paragraphs of HTML of texts from data."""
    return "".join(f"<p>{safe(text, 400)}</p>" for text in texts)
