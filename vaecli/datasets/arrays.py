"""A user's own data: vectors, tables and images from a file of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vaecli.datasets.base import Dataset
from vaecli.datasets.checks import check_alike, check_columns_observed, check_finite
from vaecli.datasets.mixed import KindsKey, MixedTable
from vaecli.datasets.own import TestFraction, ValFraction, code_labels, limited_part, split_rows
from vaecli.datasets.reading.choice import (
    Channels,
    Decimal,
    Encoding,
    Name,
    Precision,
    ReadOptions,
    Separator,
    Texts,
    White,
    WindowSize,
)
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.files import NAMED, TABLES, read, read_observations
from vaecli.datasets.reading.gallery import ImageOptions
from vaecli.datasets.reading.report import Part, Reading
from vaecli.datasets.reading.rewrite import Rewritable, read_rewritable
from vaecli.datasets.series import SHORT, Windows, in_standard_units, windows_of
from vaecli.datasets.split import FileSplit, Split, Splits
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.types import PositiveInt, Seed

INFINITE = "; remove them, or, in a text file, read them as missing with dataset.missing_values=[inf]"
RANGE_SAMPLE = 1000  # observations whose range determines the values that are drawn black and white


class Arrays(Dataset):
    """Observations from a .npy, .npz, .csv, .tsv, .txt, .dat, .parquet or .h5ad file: (N, d), (N, H, W) or
    (N, C, H, W).

    uint8 holds grey levels, 255 for 1.0, unless all of it is 0 or 1. A .npy file of more than 1 GiB stays where it
    is and is read a batch at a time. The observations are shuffled by `split_seed` and split by fractions, unless
    files of their own are given for validation and test.

    columns: of a table; None: all numbers (with wants_kinds also categories) but the labels
    labels: a table's column or an .npz file's array; None: one that is called label, labels, class or target (y in an
        .npz file), or a table's only column of classes; False: none
    header, separator, decimal, encoding: of a text file; None: guessed
    missing_values: texts that stand for a missing cell, in addition to the usual ones
    channels: where the channels of pictures are in an array of four axes
    white: of whole numbers, the one that stands for 1.0; None: 255 for uint8, no scaling of other types
    standardize: the model works in standard units, learned on the training split; None: with decoder=auto windows do
    missing: `mask` takes NaN and empty cells as missing; `refuse` as an error; `auto`: in a table as missing
    kinds: of some columns of a table, by name or in a YAML file; of a run: all columns', with their `categories`
    window: the file is a series, one number a row, and the observations are windows of so many values; the first values
        are for training, the last for testing
    stride: values from the start of a training window to the start of the next; None: a quarter of a window
    calibration_fraction: of the observations, set aside for `vae alarm` from those for training
    precision: double keeps float64 until the mean is subtracted; None: that, with `standardize`, where float32 would
        merge neighbouring numbers
    """

    def __init__(
        self,
        path: str,
        columns: Texts | None = None,
        labels: Name | Literal[False] | None = None,
        leave_out: Texts | None = None,
        header: bool | None = None,
        separator: Separator | None = None,
        decimal: Decimal | None = None,
        encoding: Encoding | None = None,
        missing_values: Texts | None = None,
        channels: Channels = "auto",
        white: White | None = None,
        standardize: bool | None = None,
        missing: Literal["auto", "refuse", "mask"] = "auto",
        kinds: KindsKey = None,
        categories: list[list[str] | None] | None = None,
        precision: Precision | None = None,
        window: WindowSize | None = None,
        stride: PositiveInt | None = None,
        val_fraction: ValFraction = 0.1,
        test_fraction: TestFraction = 0.1,
        calibration_fraction: ValFraction = 0.0,
        split_seed: Seed = 0,
        val_path: str | None = None,
        test_path: str | None = None,
        limit: PositiveInt | None = None,
    ) -> None:
        self.paths = {"path": path, "val_path": val_path, "test_path": test_path}
        self.windows = windows_of(window, stride, labels)
        if self.windows:
            self.grid, self.label, labels = torch.arange(float(self.windows.size)), (columns or [""])[0], False
        self.choice = ReadOptions(columns, labels, tuple(leave_out or ()), header, separator, decimal, encoding,
                             tuple(missing_values or ()), channels, None, white, precision, bool(window))  # fmt: skip
        self.standardize, self.missing, self.gaps, self.limit = standardize, missing, missing == "mask", limit
        self.table = MixedTable(kinds, categories)
        self.column_kinds, self.categories = self.table.columns, self.table.categories
        self.fractions = (0.0 if val_path else val_fraction, 0.0 if test_path else test_fraction)
        self.split_seed, self.calibration_fraction = split_seed, calibration_fraction
        self.filled: dict[str, object] = {}

    def load(self) -> Splits:
        what, path = self._place("path")
        if path.is_dir():
            raise UserError(f"{what}: is a folder; dataset=images reads folders of images, dataset=arrays reads files")
        if self.choice.precision == "double" and not self.standardize:
            raise UserError("dataset.precision=double needs dataset.standardize=true, which subtracts the mean first")
        own = read(what, path, self._choice)
        self.standardize = in_standard_units(self.standardize, self.wants_kinds and self.windows is not None, own.x)
        contents = {"path": self._resolved(self._precise(own))}
        self.names = None if self.windows else contents["path"].names
        same = self._options_for_other_files(contents["path"])
        contents |= {key: read(*self._place(key), same) for key in ("val_path", "test_path") if self.paths[key]}
        self._resolve_gaps(contents.values())
        labels = code_labels([content.labels for content in contents.values()])
        self.label_names = labels.names
        whole = {
            key: self._whole(key, content, y) for (key, content), y in zip(contents.items(), labels.values, strict=True)
        }
        check_alike({self._place(key)[0]: split for key, split in whole.items()})
        train, val, test = self._windowed(contents) if self.windows else self._drawn(what, whole)
        if self.gaps:
            check_columns_observed(what, train.moments, self.names)
        apart = {"val": "val_path" in contents, "test": "test_path" in contents}
        cap = partial(limited_part, limit=self.limit, seed=self.split_seed)
        parts = Splits(cap(train), val and cap(val, apart=apart["val"]), cap(test, apart=apart["test"]))
        self.reading = self._reading(contents, parts, apart)
        return parts

    @property
    def mixed(self) -> bool:
        """Whether the data are a table with columns of different kinds."""
        return self.is_table and (self.wants_kinds or self.column_kinds is not None)

    @property
    def is_table(self) -> bool:
        return self.windows is None and Path(self.paths["path"] or "").suffix.lower() in TABLES

    @property
    def _choice(self) -> ReadOptions:
        return self.table.reading(self.choice) if self.mixed else self.choice

    def _resolved(self, content: Content) -> Content:
        """The first file's content, the kinds of its columns found if they are asked for."""
        if not self.mixed:
            if self.table.asked is not None:
                raise UserError("dataset.kinds is for tables with decoder=columns; leave it out")
            return content
        check_finite(self._place("path")[0], self._split(content), True, content.names, INFINITE)
        content = self.table.resolve(content, bool(self.standardize))
        self.column_kinds, self.categories = self.table.columns, self.table.categories
        return content

    def _resolve_gaps(self, contents: Iterable[Content]) -> None:
        """Find out what missing=auto means: a table's gaps are missing values."""
        if self.missing == "auto":
            self.gaps = self.is_table and any(content.reading.missing for content in contents)
            self.filled["missing"] = "mask" if self.gaps else "refuse"

    def _drawn(self, what: str, whole: Mapping[str, Split]) -> Splits:
        """The observations of each split; those from one file are split at random."""
        rows = split_rows(what, len(whole["path"]), *self.fractions, self.split_seed)
        val = whole.get("val_path") if rows.val is None else whole["path"].take(rows.val)
        test = whole["test_path"] if rows.test is None else whole["path"].take(rows.test)
        train = whole["path"].take(rows.train)
        if aside := round(self.calibration_fraction * len(whole["path"])):
            self.calibration, train = train.take(torch.arange(aside)), train.take(torch.arange(aside, len(train)))
        return Splits(train, val, test)

    def _windowed(self, contents: Mapping[str, Content]) -> Splits:
        """Windows of the files; those from one file are split in its order."""
        windows, own = self.windows, contents["path"]
        assert windows is not None
        rows = windows.rows(self._place("path")[0], own, *self.fractions)
        cut = partial(windows.split, self._place("path")[0], own)
        others = {key: self._split(windows.content(self._place(key)[0], content)) for key, content in contents.items()
                  if key != "path"}  # fmt: skip
        val = others.get("val_path") if rows.val is None else cut(rows.val)
        test = others["test_path"] if rows.test is None else cut(rows.test)
        return Splits(cut(rows.train, windows.training_stride), val, test)

    def _precise(self, content: Content) -> Content:
        """The content, which stays in float64 only if the model subtracts the mean before it continues in float32."""
        if not content.double:
            return content
        if self.standardize:
            return content._replace(reading=content.reading.with_details("float64 until the mean is subtracted"))
        note = "float32 has too few digits to distinguish all numbers; dataset.standardize=true keeps them distinct"
        x = content.x if content.mapped else content.x.to(torch.float32)
        return content._replace(x=x, double=False, reading=content.reading.with_notes(note))

    def _options_for_other_files(self, first: Content) -> ReadOptions:
        """The options for reading the other files: whatever was guessed for the first is now fixed."""
        self.filled = {"white": 255} if first.levels == 255 else {}
        if self.standardize and self.choice.precision is None:
            self.filled["precision"] = "double" if first.double else "single"
        source = first.reading.labels
        if source and self.choice.labels is None:
            self.filled["labels"] = source.name
        if self.windows and first.names:
            self.filled["columns"], self.label = list(first.names), first.names[0]
        labels = source.name if source else False
        same = self._choice._replace(labels=labels, known=True, precision="double" if first.double else "single")
        same = same._replace(white=255 if first.levels == 255 else self.choice.white)
        return same if first.names is None else same._replace(columns=first.names)

    @property
    def settings_from_data(self) -> Mapping[str, object]:
        found = {**super().settings_from_data, "standardize": self.standardize, **self.filled}
        return {**found, **(self.table.settings() if self.mixed else {})}

    def read_input(self, what: str, path: Path, x_shape: tuple[int, ...]) -> Content:
        precision: Precision = "double" if self.standardize and self.choice.precision == "double" else "single"
        choice = self._choice._replace(precision=precision, known=True)
        if self.windows is not None:
            return self._windows_of(what, path, choice, self.windows)
        content = read_observations(what, path, choice._replace(columns=self.names), x_shape, ImageOptions())
        if self.mixed:
            self.table.check(what, content)
        return content

    def rewritable(self, what: str, name: str, n: int) -> Rewritable:
        return read_rewritable(what, expanded(name), self.choice._replace(columns=self.names, known=True), n)

    def _windows_of(self, what: str, path: Path, choice: ReadOptions, windows: Windows) -> Content:
        """The windows of a series, or of a file that holds windows already, as vaecli writes them."""
        numbered = tuple(f"x_{i + 1}" for i in range(windows.size))
        with suppress(UserError):
            found = read(what, path, choice._replace(columns=numbered, x_shape=(windows.size,)))
            return found._replace(names=None)
        return windows.content(what, read(what, path, choice))

    @cached_property
    def names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of a table's columns: those chosen, or those of the file if it still exists."""
        path = expanded(self.paths["path"] or "")
        if self.windows or path.suffix.lower() not in NAMED:
            return None
        if self.choice.columns is not None:
            return tuple(self.choice.columns)
        try:
            return read(str(path), path, self.choice).names
        except UserError:
            return None

    @cached_property
    def display_range(self) -> tuple[float, float]:  # type: ignore[override]
        """The values that are drawn black and white: 0 and 1, or the data's range if it is larger."""
        try:
            content = read(*self._place("path"), self.choice)
        except UserError:  # a run's data may no longer exist
            return 0.0, 1.0
        if content.levels > 1 or content.x.dtype == torch.uint8:
            return 0.0, 1.0
        low, high, _ = Split(content.x[:RANGE_SAMPLE]).range
        return (0.0, 1.0) if 0 <= low <= high <= 1 else (low, high)

    def _place(self, key: str) -> tuple[str, Path]:
        """The beginning of messages about a file, and the file's path."""
        return f"dataset.{key}={self.paths[key]}", expanded(self.paths[key] or "")

    def _whole(self, key: str, content: Content, y: Tensor | None) -> Split:
        """All of a file's observations, checked."""
        what, _ = self._place(key)
        if self.mixed:
            self.table.check(what, content)
        split = self._split(content, y)
        remedy = INFINITE if self.gaps else "; remove them, or give dataset.missing=mask where NaN means missing"
        check_finite(what, split, self.gaps, content.names, remedy)
        return split

    @staticmethod
    def _split(content: Content, y: Tensor | None = None) -> Split:
        kind = FileSplit if content.mapped else Split
        return kind(content.x, y, content.levels, rows=content.rows, double=content.double)

    def _reading(self, contents: Mapping[str, Content], parts: Splits, apart: Mapping[str, bool]) -> Reading:
        """The report of what was read; apart: the parts that have a file of their own."""
        files = {key: content.reading for key, content in contents.items()}
        drawn = f"drawn by dataset.split_seed={self.split_seed}"
        if self.windows:
            drawn = "the first values to train on, the last to test"
            files["path"] = files["path"].with_details(self.windows.said)
        elif parts.train.x_shape == (1,) and files["path"].observations >= SHORT:
            files["path"] = files["path"].with_notes("one number a row is an observation of its own; of a series, "
                                                 "dataset.window=64 takes windows of 64 values")  # fmt: skip
        every = {**parts._asdict(), "calibration": self.calibration}
        found = {name: Part(len(part), f"dataset.{name}_path" if apart.get(name) else drawn)
                 for name, part in every.items() if part is not None}  # fmt: skip
        return Reading(str(self.paths["path"]), files, found, kinds=self.table.found)
