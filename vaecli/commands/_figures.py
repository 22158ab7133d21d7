"""Writes the figures of commands; apart from `_outputs`, as matplotlib takes a third of a second to import."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from vaecli.plots.style import check_size
from vaecli.plots.view import figure_array, png
from vaecli.utils.files import replace_bytes


def write_figure(path: Path, figure: Figure) -> None:
    """A figure to a .png file; UserError if it has more pixels than can be drawn."""
    check_size(*figure.get_size_inches())
    replace_bytes(path, png(figure_array(figure)))
