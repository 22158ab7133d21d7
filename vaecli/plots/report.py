"""Pages of text, tables and figures, each one HTML file with everything in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import Environment, select_autoescape
from matplotlib.figure import Figure

from vaecli.plots.view import figure_array, png

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-bottom: 1px solid #8886; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; border-bottom: 1px solid #8886; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
footer { margin-top: 3rem; font-size: .85rem; opacity: .75; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
{% for line in section.lines %}<p>{{ line }}</p>
{% endfor %}
{% if section.table %}
<div class="wide"><table>
<tr>{% for cell in section.table.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
{% if section.picture %}
<p><img src="data:image/png;base64,{{ section.picture }}" alt="{{ section.title }}"></p>
{% endif %}
</section>
{% endfor %}
<footer>{{ footer }}</footer>
</body>
</html>
"""


class Table(NamedTuple):
    """Texts in rows below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Section(NamedTuple):
    """A part of a page: paragraphs, then a table, then a figure."""

    title: str
    lines: Sequence[str] = ()
    table: Table | None = None
    figure: Figure | None = None

    @property
    def picture(self) -> str | None:
        """The figure as the text of a data address."""
        return None if self.figure is None else base64.b64encode(png(figure_array(self.figure))).decode()


def page(title: str, sections: Sequence[Section], footer: str) -> str:
    """The page; every text is escaped."""
    template = Environment(autoescape=select_autoescape(default=True, default_for_string=True)).from_string(TEMPLATE)
    return template.render(title=title, sections=sections, footer=footer)
