"""Windows of a series as observations: the series is first split by time, so that no value is in two splits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaecli.datasets.own import Rows, split_rows
from vaecli.datasets.reading.content import Content
from vaecli.datasets.split import FileSplit, Split
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory
from vaecli.utils.text import plural

SHORT = 100  # rows below which a single column is not taken for a series


class Windows(NamedTuple):
    """Cuts a series into windows of `size` values; training windows begin every `stride` values.

    The other windows do not overlap, so that the standard errors of their figures are valid.
    """

    size: int
    stride: int | None = None  # None: a quarter of a window

    @property
    def training_stride(self) -> int:
        return self.stride or max(1, self.size // 4)

    def rows(self, what: str, content: Content, val: float, test: float) -> Rows:
        """The rows of a file for training, then those for validation and for testing; None for a fraction of 0."""
        sizes = [0 if part is None else len(part)
                 for part in split_rows(what, len(self.series(what, content)), val, test, 0)]  # fmt: skip
        train, *others = torch.arange(sum(sizes)).split(sizes)
        return Rows(train, *(part if len(part) else None for part in others))

    def split(self, what: str, content: Content, rows: Tensor, stride: int | None = None) -> Split:
        """The windows within consecutive `rows` of the file; the result's `rows` are those where windows begin."""
        series = self.series(what, content)
        if len(rows) < self.size:
            raise UserError(f"{what}: dataset.window={self.size} needs at least {self.size:,} values in every split, "
                            f"but one has {len(rows):,}; give a smaller window")  # fmt: skip
        starts = torch.arange(int(rows[0]), int(rows[-1]) + 2 - self.size, stride or self.size)
        every = series.unfold(0, self.size, 1)  # a view
        if content.mapped:
            return FileSplit(every, None, content.levels, rows=starts, double=content.double)
        check_memory(len(starts) * self.size * series.element_size(), what, "give a larger dataset.stride")
        return Split(every[starts], None, content.levels, rows=starts, double=content.double)

    def content(self, what: str, content: Content) -> Content:
        """All windows of a file, one after the other."""
        rows = torch.arange(len(self.series(what, content)))
        found, left = self.split(what, content, rows), len(rows) % self.size
        windows = f"{plural(len(found), 'window')} of {plural(self.size, 'value')}"
        reading = content.reading.with_details(f"{windows}, without overlap")
        if left:
            last, are = ("the last value", "is") if left == 1 else (f"the last {left:,} values", "are")
            reading = reading.with_details(f"{last} {are} too few for a window and {are} left out")
        return content._replace(
            x=found.raw(slice(None)), rows=found.rows, names=None, labels=None, reading=reading, mapped=False
        )

    def series(self, what: str, content: Content) -> Tensor:
        """The values (N,); UserError where there are several columns."""
        if content.x[0].numel() != 1:
            names = content.names
            remedy = f"choose one, as in 'dataset.columns=[{names[0]}]'" if names else "save one as (N,)"
            raise UserError(f"{what}: dataset.window takes one series, and a row of this file holds "
                            f"{content.x[0].numel():,} numbers; {remedy}")  # fmt: skip
        return content.x.reshape(len(content.x))

    @property
    def said(self) -> str:
        return (f"windows of {self.size:,} values: one every {self.training_stride:,} values to train on, without "
                "overlap to validate and test")  # fmt: skip


def in_standard_units(asked: bool | None, automatic: bool, x: Tensor) -> bool:
    """Whether the model works in standard units; automatic: unless asked, if values lie outside [0, 1]."""
    return automatic and not bool(((x >= 0) & (x <= 1)).all()) if asked is None else asked


def windows_of(window: int | None, stride: int | None, labels: str | bool | None) -> Windows | None:
    """The windows that the keys ask for; UserError for keys that have no effect with or without them."""
    if window is None:
        if stride:
            raise UserError(f"dataset.stride={stride}: has no effect without dataset.window")
        return None
    if labels:
        raise UserError(f"dataset.labels={labels}: windows of a series have no labels; leave it out")
    return Windows(window, stride)
