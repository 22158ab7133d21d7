"""A user's own numbers: vectors, tables and images from a file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vaecli.datasets.base import Dataset
from vaecli.datasets.checks import refuse_infinite, refuse_unseen
from vaecli.datasets.own import TestFraction, ValFraction, code_labels, split_rows
from vaecli.datasets.reading import Content, column_names, read, zeros_and_ones
from vaecli.datasets.split import FileSplit, Split, Splits
from vaecli.datasets.tables import Choice
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.types import PositiveInt, Seed

LOOK = 1000  # observations from whose range it is known how to draw images


class Arrays(Dataset):
    """Observations from a .npy, .npz, .csv, .tsv, .txt or .parquet file: (N, d), (N, H, W) or (N, C, H, W).

    uint8 holds grey levels, 255 for 1.0, unless all of it is 0 or 1. A .npy file of more than 1 GiB stays where it
    is and is read a batch at a time. The observations are shuffled by `split_seed` and split by fractions, unless
    files of their own are given for validation and test.

    columns: of a table; None: all numbers but the labels
    labels: a table's column or an .npz file's array; None: one that is called label, labels, class or target (y in an
        .npz file), or a table's only column of text; False: none
    standardize: the model works in standard units, learned on the training split
    missing: `mask` takes NaN and empty cells as missing; `refuse` as an error
    """

    def __init__(
        self,
        path: str,
        columns: list[str] | None = None,
        labels: str | Literal[False] | None = None,
        standardize: bool = False,
        missing: Literal["refuse", "mask"] = "refuse",
        val_fraction: ValFraction = 0.1,
        test_fraction: TestFraction = 0.1,
        split_seed: Seed = 0,
        val_path: str | None = None,
        test_path: str | None = None,
        limit: PositiveInt | None = None,
    ) -> None:
        self.paths = {"path": path, "val_path": val_path, "test_path": test_path}
        self.choice = Choice(columns, labels)
        self.standardize, self.gaps = standardize, missing == "mask"
        self.fractions = (0.0 if val_path else val_fraction, 0.0 if test_path else test_fraction)
        self.split_seed, self.limit = split_seed, limit
        self.label_names: tuple[str, ...] | None = None  # known once the data are read

    def load(self) -> Splits:
        what, path = self._place("path")
        if path.is_dir():
            raise UserError(f"{what}: is a folder; dataset=images reads folders of images, dataset=arrays files")
        contents = {"path": read(what, path, self.choice)}
        self.names = names = contents["path"].names
        same = self.choice if names is None else self.choice._replace(columns=names)
        contents |= {key: read(*self._place(key), same) for key in ("val_path", "test_path") if self.paths[key]}
        labels = code_labels([content.labels for content in contents.values()])
        self.label_names = labels.names
        levels = 1 if contents["path"].x.dtype != torch.uint8 or zeros_and_ones(contents["path"].x) else 255
        whole = {
            key: self._whole(key, content, y, levels)
            for (key, content), y in zip(contents.items(), labels.values, strict=True)
        }
        self._check_alike(whole)
        rows = split_rows(what, len(whole["path"]), *self.fractions, self.split_seed)
        train = whole["path"].take(rows.train)
        if self.gaps:
            refuse_unseen(what, train.moments, names)
        val = whole.get("val_path") if rows.val is None else whole["path"].take(rows.val)
        test = whole["test_path"] if rows.test is None else whole["path"].take(rows.test)
        return Splits(*(None if part is None else part.head(self.limit) for part in (train, val, test)))  # type: ignore[arg-type]

    @cached_property
    def names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """Of a table's columns, while the file is there."""
        return column_names(expanded(self.paths["path"] or ""), self.choice)

    @cached_property
    def shown(self) -> tuple[float, float]:  # type: ignore[override]
        """The values to draw black and white: 0 and 1, or where they lie beyond, the ends of the data's range."""
        try:
            content = read(*self._place("path"), self.choice)
        except UserError:  # a run's data may be gone
            return 0.0, 1.0
        if content.x.dtype == torch.uint8:
            return 0.0, 1.0
        low, high, _ = Split(content.x[:LOOK]).range
        return (0.0, 1.0) if 0 <= low <= high <= 1 else (low, high)

    def _place(self, key: str) -> tuple[str, Path]:
        """How a message about a file begins, and the file."""
        return f"dataset.{key}={self.paths[key]}", expanded(self.paths[key] or "")

    def _whole(self, key: str, content: Content, y: Tensor | None, levels: int) -> Split:
        """All of a file's observations, checked."""
        what, _ = self._place(key)
        split = FileSplit(content.x, y, levels) if content.mapped else Split(content.x, y, levels)
        remedy = "; remove them" if self.gaps else "; remove them, or give dataset.missing=mask where NaN means missing"
        refuse_infinite(what, split, self.gaps, content.names, remedy)
        return split

    def _check_alike(self, whole: dict[str, Split]) -> None:
        """UserError unless the files hold the same kind of observations."""
        first = whole["path"]
        for key, split in whole.items():
            if split.x_shape != first.x_shape:
                raise UserError(f"{self._place(key)[0]}: holds observations of shape {split.x_shape}, but dataset.path "
                                f"those of shape {first.x_shape}")  # fmt: skip
            if (split.x.dtype == torch.uint8) != (first.x.dtype == torch.uint8):
                raise UserError(f"{self._place(key)[0]}: holds {split.x.dtype}, but dataset.path {first.x.dtype}; "
                                "uint8 stands for 0 to 1, so that both should be")  # fmt: skip
