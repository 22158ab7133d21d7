"""The names that go with observations in a command's output: labels, class names, rows and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vaecli.commands._outputs import class_names
from vaecli.datasets.split import Split
from vaecli.utils.text import shorten

SHOWN = 200  # characters of a label's name: as an array, each would take as much as the longest
PATH = 1000  # characters of a file's name


class Names(NamedTuple):
    """Names that go with the labels and rows of a split."""

    classes: Sequence[str] | None  # of the classes, or of the columns of numbers, in y
    items: Sequence[str] | None  # of the rows: the file of each picture

    def files(self, split: Split) -> list[str] | None:
        """The file of each observation (N,); None where they are no pictures of a folder."""
        return None if self.items is None or split.rows is None else [self.items[i] for i in split.rows.tolist()]

    def arrays(self, split: Split) -> dict[str, Any]:
        """Labels and rows (N,), names of the classes (K,) and files (N,), for an .npz file; None: does not exist."""
        classes, files = class_names(split.y, self.classes), self.files(split)
        named = {"label_names": texts(classes, SHOWN), "files": texts(files, PATH)}
        return {"labels": split.y, "rows": split.rows, **named}

    def columns(self, split: Split) -> dict[str, Tensor | list[str] | None]:
        """The same as columns of a .csv file, in which every observation has the name of its class."""
        found: dict[str, Tensor | list[str] | None] = {}
        if split.y is not None:
            y = split.y.cpu()
            found |= dict(zip(label_columns(y, self.classes), y.reshape(len(y), -1).unbind(1), strict=True))
            if classes := class_names(y, self.classes):
                found["label_name"] = [classes[k] for k in y.tolist()]
        return {**found, "row": split.rows, "file": self.files(split)}


def texts(several: Sequence[str] | None, most: int) -> np.ndarray | None:
    return None if several is None else np.array([shorten(one, most) for one in several])


def label_text(y: Tensor, classes: Sequence[str] | None) -> str:
    """A label as text: the name of its class, or its numbers."""
    if y.ndim or y.is_floating_point():
        return ", ".join(f"{v:.3f}" for v in y.reshape(-1).tolist())
    return shorten(classes[int(y)], 20) if classes else str(int(y))


def label_columns(y: Tensor, names: Sequence[str] | None) -> list[str]:
    """What to call the columns of labels y (N,) or (N, d)."""
    d = y[0].numel()
    if names and y.is_floating_point() and len(names) == d:
        return list(names)
    return ["label"] if d == 1 else [f"label_{i + 1}" for i in range(d)]
