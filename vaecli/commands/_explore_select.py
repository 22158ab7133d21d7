"""Selected dots of `vae explore`: how many, how they differ from the rest, and their rows as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Div, RangeSlider, Select

from vaecli.commands._explore_page import Page, button
from vaecli.commands._explored import Colouring
from vaecli.datasets.rows import RowFile
from vaecli.plots.explore.layout import wrapped
from vaecli.plots.explore.look import safe
from vaecli.plots.explore.map import terms_table
from vaecli.plots.explore.pictures import bare_figure, rgba
from vaecli.plots.images import ImagePlots, tile
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError

SHEET = 24  # selected images that are shown
LISTED = 20  # row numbers that are listed
DIFFERENT = 8  # columns that are listed
COLUMNS = 8  # of the sheet


class Selection:
    """The selected dots of a page."""

    def __init__(self, page: Page) -> None:
        self.page, self.e = page, page.explored
        self.said = Div(text="<span class=soft>Draw around dots with the lasso above the map, or choose by the colour."
                        "</span>", sizing_mode="stretch_width")  # fmt: skip
        self.saved = Div(sizing_mode="stretch_width")
        self.one_class = Select(title="by class", options=[], width=150)
        self.range = RangeSlider(title="by value", start=0, end=1, value=(0, 1), step=0.01, visible=False)
        self.sheet, self.source = self._sheet()
        save = button("save the row numbers", self.save, page, self.saved, width=180)
        page.map.dots.selected.on_change("indices", page.safely(lambda attr, old, new: self.show(new)))
        self.one_class.on_change("value", page.safely(lambda attr, old, new: self.by_class(new)))
        self.range.on_change("value_throttled", page.safely(lambda attr, old, new: self.by_value(*new)))
        page.overview.colour.on_change("value", page.safely(lambda *_: self.offer()))
        self.offer()
        pictures = [] if self.sheet is None else [self.sheet]
        self.parts = [wrapped(self.one_class, self.range), self.said, *pictures, save, self.saved]

    def _sheet(self) -> tuple[Any, ColumnDataSource]:
        source = ColumnDataSource(data={"image": [np.zeros((2, 2), np.uint32)]})
        if not isinstance(self.e.view, ImagePlots):
            return None, source
        _, height, width = self.e.view.tile_shape
        rows = -(-SHEET // COLUMNS)
        plot = bare_figure(320, 320 * rows * height // (COLUMNS * width), 1, 1)
        plot.image_rgba("image", source=source, x=0, y=0, dw=1, dh=1)
        plot.visible = False
        return plot, source

    @property
    def colouring(self) -> Colouring | None:
        found = self.e.colourings.get(self.page.overview.colour.value)
        return None if found is None else found()

    def offer(self) -> None:
        """Offer what the present colour can select by."""
        colouring = self.colouring
        values = np.zeros(1) if colouring is None else colouring.values[np.isfinite(colouring.values)]
        by_class = colouring is not None and colouring.classes is not None
        self.one_class.visible, self.range.visible = by_class, colouring is not None and not by_class
        if colouring is not None and colouring.classes is not None:
            names = [(str(k), name[:60]) for k, name in enumerate(colouring.classes)]
            self.one_class.options = [("", "…"), *names]
        elif len(values) and values.max() > values.min():
            low, high = float(values.min()), float(values.max())
            self.range.update(start=low, end=high, value=(low, high), step=(high - low) / 200)

    def by_class(self, k: str) -> None:
        if k and self.colouring is not None:
            self.choose(self.colouring.values == int(k))

    def by_value(self, low: float, high: float) -> None:
        if self.colouring is not None:
            self.choose((self.colouring.values >= low) & (self.colouring.values <= high))

    def choose(self, which: np.ndarray) -> None:
        self.page.map.dots.selected.indices = [int(i) for i in np.flatnonzero(which)]

    def show(self, indices: list[int]) -> None:
        """Show how many dots are selected, and how they differ from the rest."""
        n, total = len(indices), len(self.e.codes)
        if not n:
            self.said.text = "nothing is selected"
            return
        inside = np.isin(np.arange(total), indices)
        rows = [self.e.rows[i] for i in indices]
        listed = ", ".join(map(str, rows[:LISTED])) + (" …" if n > LISTED else "")
        self.said.text = f"<p><b>{n:,}</b> of {total:,} selected: rows {listed}</p>{self.differences(inside)}"
        if self.sheet is not None and isinstance(self.e.view, ImagePlots):
            self.show_sheet(indices, inside, self.e.view)

    def differences(self, inside: np.ndarray) -> str:
        """HTML of the columns whose means differ most between selected and rest; empty for images and curves."""
        if isinstance(self.e.view, ImagePlots) or self.e.run.dataset.grid is not None or inside.all():
            return ""
        x, titles = self.e.observations, self.e.titles
        a, b = (np.nanmean(np.where(part[:, None], x, np.nan), 0) for part in (inside, ~inside))
        scale = np.maximum(np.nanstd(x, 0), 1e-12)
        order = np.argsort(-np.where(np.isfinite(a - b), np.abs(a - b) / scale, 0.0))
        found = [(titles[i], f"{a[i]:.4g}", f"{b[i]:.4g} in the rest") for i in order[:DIFFERENT]]
        return "<p class=soft>means of the columns that differ most</p>" + terms_table(found)

    def show_sheet(self, indices: list[int], inside: np.ndarray, view: ImagePlots) -> None:
        """The mean of the selected images, the mean of the rest, and the first of them."""
        first = np.stack([self.e.observation(i).cpu().numpy() for i in indices[: SHEET - 2]])
        x = self.e.observations
        rest = x[~inside] if (~inside).any() else x
        shown = np.concatenate([x[inside].mean(0)[None], rest.mean(0)[None], first])
        blank = np.zeros((SHEET - len(shown), *shown.shape[1:]))
        picture = tile(view.shades(np.concatenate([shown, blank])), COLUMNS, gap=1)
        self.source.data = {"image": [rgba(picture.transpose(2, 0, 1)[:3] / 255.0)]}
        self.sheet.visible = True
        self.said.text += "<p class=soft>the mean of the selected, the mean of the rest, and the first of them</p>"

    def save(self) -> None:
        """Write the row numbers into the run's folder, and show the commands that use them."""
        indices = self.page.map.dots.selected.indices
        if not indices:
            raise UserError("nothing is selected: draw around dots with the lasso first")
        folder = self.e.run.folder.path
        if not folder.is_dir():
            raise UserError(f"{folder} is gone: there is no folder to write the row numbers to")
        path = next(p for k in range(1, 10_000) if not (p := Path(folder, f"selection-{k}.rows")).exists())
        RowFile(self.e.dataset_name, self.e.part, self.e.checksum, [self.e.rows[i] for i in indices]).write(path)
        repeat = ["vae-train", setting("repeat", folder)]
        lines = [
            command([*repeat, setting("dataset.without_rows", path)]),
            command([*repeat, setting("dataset.rows", path)]),
            self.e.command("reconstruct", setting("rows", path), split=False),
        ]
        said = "".join(f"<p><code>{safe(line, 1000)}</code></p>" for line in lines)
        self.saved.text = f"<p>wrote {safe(path, 500)}. Train without these, on these alone, or look at them:</p>{said}"
