"""`vae data`: what is read from a file or folder, before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import announce
from vaecli.commands._outputs import as_in_table
from vaecli.commands._run import Keys, Written
from vaecli.config.instantiate import TYPED_HERE, OptionFactory
from vaecli.datasets.base import Dataset
from vaecli.datasets.images import Images
from vaecli.datasets.reading.column_checks import RefusedColumns
from vaecli.datasets.reading.pictures import IMAGE_SUFFIXES
from vaecli.datasets.reading.report import Column, FileReading, KindFound, Reading, aligned
from vaecli.datasets.split import Splits
from vaecli.plots.tables import TablePlots
from vaecli.plots.view import view_of
from vaecli.utils.errors import UserError
from vaecli.utils.files import check_output, check_unread, expanded
from vaecli.utils.text import plural, say
from vaecli.utils.types import NonNegativeInt

MAX_LISTED, MAX_WIDE = 30, 8  # columns or classes in a list, and columns of the first rows
MAX_DRAWN, MAX_DRAWN_COLUMNS = 10_000, 24  # observations and columns in a picture
SHEET_IMAGES = 64  # images of a sheet
FROM_FILES = ("arrays", "images")  # data sets of the user's own files
MAX_REASON = 200  # characters of a reason


@dataclass
class Config(Keys):
    dataset: Mapping[str, Any]
    input: str | None
    rows: NonNegativeInt
    kinds: bool
    format: Literal["text", "json"]
    output: str | None
    target: Path | None = field(init=False)

    def prepare(self) -> list[Dataset]:
        self.target = None if self.output is None else check_output(expanded(self.output), "png")
        if self.target is not None:
            check_unread(self.target, [name for name in (self.input, self.dataset.get("path")) if name])
        return [self.chosen()]

    def chosen(self, *without: str) -> Dataset:
        """The data set to look at, without some columns; a folder or a picture as input= is one of images."""
        path = self.dataset.get("path")
        if path is None and self.dataset["name"] in FROM_FILES:
            raise UserError("input has no value: give input=FILE, a table, array or folder of images, or dataset=NAME")
        if self.input is not None and path != self.input:
            raise UserError(f"input={self.input} and dataset.path={path}: give one of them")
        if self.input is not None and self.dataset["name"] == "arrays":
            place = expanded(self.input)
            if place.is_dir() or place.suffix.lower() in IMAGE_SUFFIXES:
                return Images(self.input)
        given = {key: value for key, value in self.dataset.items() if key != "path" or value is not None}
        if without:
            given["leave_out"] = [*(given.get("leave_out") or ()), *without]
        made: Dataset = OptionFactory({"dataset": given}, TYPED_HERE).make("dataset")
        made.wants_kinds = self.kinds
        return made


def main(config: Config, dataset: Dataset) -> Iterator[Written]:
    """Print what was read, and draw it if `output` is given."""
    dataset, splits, reading = read(config, dataset)
    if config.format == "json":
        print(json.dumps(reading.to_dict(), indent=2, allow_nan=False))
    else:
        announce(reading)
        for line in ["", *reading.kind_lines(), *in_full(dataset, reading, splits, config.rows)][not reading.kinds :]:
            say(line)
    if config.target is not None:
        draw(config.target, dataset, splits)
        if config.format == "text":
            yield Written(config.target)


def read(config: Config, dataset: Dataset, *refused: RefusedColumns) -> tuple[Dataset, Splits, Reading]:
    """The data as training reads them; columns that it refuses are left out, and said to be refused."""
    name = str(config.dataset["name"])
    try:
        splits = dataset.splits()
        return dataset, splits, with_refused(dataset.described(name, splits), refused)
    except RefusedColumns as another:
        if not config.kinds:
            raise
        every = (*refused, another)
        return read(config, config.chosen(*(column for one in every for column, _ in one.columns)), *every)
    except UserError as error:
        raise (refused or (error,))[0] from None


def with_refused(reading: Reading, refused: Sequence[RefusedColumns]) -> Reading:
    """The same with a line for each refused column, and notes that say what to do."""
    if not refused:
        return reading
    first, file = next(iter(reading.files.items()))
    columns = [column for one in refused for column in one.columns]
    left_out = {name: why for name, why in file.left_out.items() if name not in dict(columns)}
    file = replace(file, left_out=left_out).with_notes(*(f"training stops with {one}" for one in refused))
    kinds = (*reading.kinds, *(KindFound(name, "refused", why) for name, why in columns))
    return replace(reading, files={**reading.files, first: file}, kinds=kinds)


def in_full(dataset: Dataset, reading: Reading, splits: Splits, rows: int) -> Iterator[str]:
    """What is printed below the first lines: columns, labels, and the first rows."""
    for key, file in reading.files.items():
        shown = [*columns(file), *left_out(file)]
        if shown and len(reading.files) > 1:
            yield from ["", f"{key}: {file.path}"]
        yield from shown
    all_labels = [file.labels for file in reading.files.values()] + [reading.labels]
    for labels in filter(None, all_labels):
        yield from ["", str(labels)]
        counts = labels.counts or {}
        lines = [[name, f"{n:,}"] for name, n in list(counts.items())[:MAX_LISTED]]
        yield from aligned(lines, right=(1,))
        yield from more(len(counts))
    if not any(dataset.categories or ()):  # otherwise some numbers are codes of texts
        low, high, _ = splits.train.range
        yield from ["", f"training observations go from {low:g} to {high:g}"]
    if rows and len(splits.train.x_shape) == 1:
        yield from ["", *first_rows(dataset, splits, rows)]


def columns(file: FileReading) -> list[str]:
    """The columns of a table."""
    if not file.columns:
        return []
    heading = ["column", "type", "lowest", "highest", "missing"]
    lines = [heading, *map(cells, file.columns[:MAX_LISTED])]
    return ["", *aligned(lines, right=(2, 3, 4)), *more(len(file.columns))]


def cells(column: Column) -> list[str]:
    ends = ["" if end is None else f"{end:.15g}" for end in (column.low, column.high)]
    return [column.name or "''", column.type, *ends, f"{column.missing:,}"]


def left_out(file: FileReading) -> list[str]:
    """The parts of a file that are not read."""
    out = [[name or "''", why] for name, why in list(file.left_out.items())[:MAX_LISTED]]
    over = [[f"{n:,}", kind] for kind, n in list(file.passed_over.items())[:MAX_LISTED]]
    return [
        *(["", "left out", *aligned(out, most=MAX_REASON)] if out else []),
        *(["", "files skipped", *aligned(over, right=(0,))] if over else []),
    ]


def more(n: int) -> list[str]:
    return [f"  ... and {n - MAX_LISTED:,} more"] if n > MAX_LISTED else []


def first_rows(dataset: Dataset, splits: Splits, n: int) -> list[str]:
    """The first observations of the file, or of the training split if their rows are not known."""
    rows, x, y = first_observations(splits, n)
    d = x.shape[1]
    names = list(dataset.names or [f"x_{i + 1}" for i in range(d)])[:MAX_WIDE]
    dots = ["..."] if d > MAX_WIDE else []
    heading = ["row", *[name or "''" for name in names], *dots]
    shown = [cells_of(dataset, j, x[:, j].cpu()) for j in range(min(d, MAX_WIDE))]
    lines = [heading, *([str(row), *values, *dots] for row, *values in zip(rows, *shown, strict=True))]
    if y is not None and y.ndim == 1:
        classes = dataset.label_names
        texts = [classes[int(k)] if classes and not y.is_floating_point() else f"{k:g}" for k in y.tolist()]
        lines = [[*line, text] for line, text in zip(lines, ["label", *texts], strict=True)]
    return aligned(lines, right=range(len(names) + 1))


def cells_of(dataset: Dataset, j: int, x: Tensor) -> list[str]:
    """The cells (N,) of a column as they are in its table."""
    kinds, texts = dataset.column_kinds, (dataset.categories or [None] * (j + 1))[j]
    cells = x if kinds is None else as_in_table(x, kinds[j], texts)
    return [number(value) for value in cells.numpy()] if isinstance(cells, Tensor) else cells


def first_observations(splits: Splits, n: int) -> tuple[list[int], Tensor, Tensor | None]:
    """Rows of a file, counted from 0, their observations (M, d) and labels."""
    heads = [part.take(part.rows.argsort()[:n]) for part in splits if part is not None and part.rows is not None]
    if not heads:
        part = splits.train.head(n)
        return list(range(len(part))), part.batch(slice(None)), part.y
    rows = torch.cat([part.rows for part in heads if part.rows is not None])
    labels = [part.y for part in heads if part.y is not None]
    chosen = rows.argsort()[:n]
    x = torch.cat([part.batch(slice(None)) for part in heads])
    return rows[chosen].tolist(), x[chosen], torch.cat(labels)[chosen] if len(labels) == len(heads) else None


def number(value: np.floating) -> str:
    return "" if value != value else str(value).removesuffix(".0")


def draw(path: Path, dataset: Dataset, splits: Splits) -> None:
    """Histograms of a table's columns, curves, or a sheet of images."""
    shape = splits.train.x_shape
    x = splits.train.batch(slice(0, SHEET_IMAGES if len(shape) == 3 else MAX_DRAWN)).cpu()
    title = plural(len(x), "training observation")
    if dataset.names and len(dataset.names) == shape[0] and len(shape) == 1:
        title += f", the first {MAX_DRAWN_COLUMNS} of {shape[0]:,} columns" if shape[0] > MAX_DRAWN_COLUMNS else ""
        table = TablePlots(dataset.names[:MAX_DRAWN_COLUMNS], categories=dataset.categories)
        write_figure(path, table.data(x[:, :MAX_DRAWN_COLUMNS], title))
    else:
        write_figure(path, view_of(dataset, shape).samples(x, title))
