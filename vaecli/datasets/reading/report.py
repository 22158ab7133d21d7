"""The report of what was read: printed in a few lines, or in full by `vae data`, and stored in summary.json."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vaecli.utils.text import plural, printable, shorten
from vaecli.utils.types import Values

MAX_NAMES, MAX_LETTERS = 5, 40  # names in a line, and characters of one
MAX_KEPT = 200  # columns and classes that summary.json lists
MAX_LINES = 30  # columns whose kinds are printed
MAX_LINE_LENGTH = 1000  # characters


class Column(NamedTuple):
    """A column of numbers that the observations are made of."""

    name: str
    type: str  # numbers, whole numbers, truth values, text
    low: float | None  # None where all of it is missing
    high: float | None
    missing: int  # cells


class Labels(NamedTuple):
    """The labels of observations."""

    source: str  # where they come from: column, array, folders
    name: str  # of the column or array
    kind: str  # classes, numbers
    counts: Mapping[str, int] | None = None  # observations of each class, in the classes' order; None for numbers

    def __str__(self) -> str:
        source = f"{self.source} {first_names([self.name])}" if self.name or self.source == "column" else self.source
        if self.counts is None:
            return f"labels: {source} ({self.kind})"
        n = len(self.counts)
        return f"labels: {source}, {plural(n, 'class', 'es')} ({first_names(list(self.counts))})"


@dataclass(frozen=True)
class FileReading:
    """How a file, or a folder of pictures, was read.

    what: observations in words, "150 rows of 4 numbers"
    how: the layout that was found, in short phrases: separator, header, missing cells
    layout: the same in machine-readable form, under the names of the keys that change it
    passed_over: the number of files that were not read, by suffix or reason
    left_out: columns that are neither numbers nor labels, and why
    notes: other possible readings, and the keys for them
    """

    path: str
    format: str
    observations: int
    shape: tuple[int, ...]  # of one
    what: str
    how: tuple[str, ...] = ()
    layout: Values = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    labels: Labels | None = None
    low: float | None = None
    high: float | None = None
    missing: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> FileReading:
        return replace(self, notes=(*self.notes, *notes))

    def with_details(self, *how: str) -> FileReading:
        return replace(self, how=(*self.how, *how))

    def with_labels(self, labels: Labels) -> FileReading:
        return replace(self, labels=labels)

    @property
    def line(self) -> str:
        """The file and its content in one line."""
        return f"{self.path}: {self.what}" + (f"; {self.labels}" if self.labels else "")

    @property
    def details(self) -> list[str]:
        """How it was read, and what was left out."""
        left = first_names([f"{name or repr(name)} ({why})" for name, why in self.left_out.items()], 2, 200)
        over = [f"{n:,} {kind}" for kind, n in self.passed_over.items()]
        return [
            *self.how,
            *([f"left out: {left}"] if left else []),
            *([f"skipped: {first_names(over)}"] if over else []),
        ]

    def to_dict(self) -> Values:
        """The report as plain values."""
        return {
            "path": self.path,
            "format": self.format,
            "observations": self.observations,
            "shape": list(self.shape),
            **self.layout,
            "columns": [column._asdict() for column in self.columns[:MAX_KEPT]],
            "n_columns": len(self.columns),
            "labels": None if self.labels is None else labels_to_dict(self.labels),
            "range": [self.low, self.high],
            "missing_cells": self.missing,
            "left_out": dict(list(self.left_out.items())[:MAX_KEPT]),
            "passed_over": dict(self.passed_over),
            "notes": list(self.notes),
        }


def labels_to_dict(labels: Labels) -> Values:
    counts = labels.counts
    return {
        "source": labels.source,
        "name": labels.name,
        "kind": labels.kind,
        "classes": None if counts is None else len(counts),
        "counts": None if counts is None else dict(list(counts.items())[:MAX_KEPT]),
    }


class Part(NamedTuple):
    """A split: the number of its observations, and their source."""

    n: int
    whence: str


class KindFound(NamedTuple):
    """The kind of a table's column, and the reason for it."""

    column: str
    kind: str
    why: str


@dataclass(frozen=True)
class Reading:
    """The files that a data set was read from, and its splits.

    files: by the keys that named them; {}: the data set is generated, or comes with vaecli
    parts: train, val (none: left out) and test
    """

    name: str
    files: Mapping[str, FileReading]
    parts: Mapping[str, Part] = field(default_factory=dict)
    labels: Labels | None = None  # of a data set without files
    kinds: tuple[KindFound, ...] = ()  # of a table's columns, if they are asked for

    @property
    def notes(self) -> list[str]:
        return [note for file in self.files.values() for note in file.notes]

    def lines(self) -> list[str]:
        """One to three lines: the content; how it was read and split; other possible readings."""
        first = " | ".join(file.line for file in self.files.values()) or self.name
        if self.labels and not self.files:
            first += f"; {self.labels}"
        details = [detail for file in self.files.values() for detail in file.details]
        lines = [first, "; ".join([*details, *self.splits()])]
        if self.notes:
            lines.append(f"note: {'; '.join(self.notes)}")
        return [shorten(line, MAX_LINE_LENGTH) for line in map(printable, lines) if line]

    def kind_lines(self) -> list[str]:
        """A table of the columns, their kinds, and why; at most MAX_LINES of them."""
        if not self.kinds:
            return []
        lines = aligned([("column", "kind", "why"), *self.kinds[:MAX_LINES]])
        more = len(self.kinds) - MAX_LINES
        return lines + ([f"  ... and {more:,} more, in the configuration of the run"] if more > 0 else [])

    def splits(self) -> list[str]:
        """How many observations are in each part, grouped by source."""
        by_source: dict[str, list[str]] = {}
        verbs = {"train": "train", "val": "validate", "test": "test", "calibration": "calibrate"}
        for name, part in self.parts.items():
            by_source.setdefault(part.whence, []).append(f"{part.n:,} to {verbs[name]}")
        return [", ".join(several) + (f" ({whence})" if whence else "") for whence, several in by_source.items()]

    def to_dict(self) -> Values:
        """The entry `reading` of summary.json."""
        return {
            "name": self.name,
            "files": {key: file.to_dict() for key, file in self.files.items()},
            "splits": {name: part._asdict() for name, part in self.parts.items()},
            **({"kinds": [kind._asdict() for kind in self.kinds[:MAX_KEPT]]} if self.kinds else {}),
        }


def first_names(names: Sequence[str], most: int = MAX_NAMES, letters: int = MAX_LETTERS) -> str:
    """The first of the names, each shortened."""
    shown = [shorten(printable(name), letters) if name.strip() else repr(printable(name)) for name in names[:most]]
    return ", ".join(shown) + (", ..." if len(names) > most else "")


def aligned(lines: Sequence[Sequence[str]], right: Sequence[int] = (), most: int = MAX_LETTERS) -> list[str]:
    """Lines with their cells aligned in columns; right: the columns that are aligned to the right."""
    shown = [[shorten(printable(cell), most) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))] if shown else []
    return ["  " + "  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                             for i, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in shown]  # fmt: skip


def counted(values: Sequence[int], names: Sequence[str]) -> dict[str, int]:
    """How many there are of each class, by its name."""
    counts = Counter(values)
    return {name: counts[k] for k, name in enumerate(names)}


def number(value: float) -> float | None:
    """A number for JSON, which knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None
