"""What holds for every figure, and what is written in one."""

from __future__ import annotations

import itertools
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from support.command_line import forked

from vaecli.plots.view import figure_array


def check(figure: Figure) -> Figure:
    """Everything drawn lies within the figure, and no two of its texts touch by more than a pixel."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # the layout alone, in half the time
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox(renderer)
    assert box.x0 > -0.01
    assert box.y0 > -0.01
    assert box.x1 < width + 0.01
    assert box.y1 < height + 0.01
    ticks = {id(t) for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())}
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and id(t) not in ticks]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 1, f"{one!r} lies on {other!r}"
    return figure


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def written(*args: str, cwd: Path) -> list[str]:
    """What is written in each of the figures that a command line draws, in their order."""
    file = cwd / "words.jsonl"

    def keep(figure: Figure, *rest: Any) -> np.ndarray:
        with file.open("a") as lines:
            lines.write(json.dumps(words(figure)) + "\n")
        return figure_array(figure, *rest)

    def watch() -> None:
        for module in ("vaecli.commands._figures", "vaecli.training.previews"):
            import_module(module).figure_array = keep  # type: ignore[attr-defined]  (in a copy of this process)

    done = forked(*args, cwd=cwd, before=watch)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in file.read_text().splitlines()]
    file.unlink()
    return found
