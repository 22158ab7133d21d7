"""The splits of a data set, in memory, and their conversion to batches of observations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.utils.errors import UserError

Binarize = Literal["none", "threshold", "dynamic", "static"]
STATISTICS_CHUNK = 4096  # observations at a time in computations over all of them,
STATISTICS_NUMBERS = 2**20  # and numbers
DRAWN_AT_ONCE = 4096  # images that are binarised at once
READ_AHEAD = 2**24  # bytes of batches that are read at once


class Range(NamedTuple):
    """The range of the values."""

    low: float
    high: float
    binary: bool  # all of them are 0 or 1


class Moments(NamedTuple):
    """Moments of each number of an observation (*x_shape), over the values that are not missing; float64."""

    n: Tensor
    mean: Tensor  # NaN if all are missing
    scale: Tensor  # standard deviation: the root of the mean squared deviation


@dataclass(frozen=True)
class Split:
    """A split of a data set, held in its smallest type and converted a batch at a time on its device.

    x: (N, *x_shape), uint8 grey levels (or 0 and 1) or float32
    y: labels: (N,) integers, (N,) or (N, d) numbers, or None
    levels: the value of x that stands for 1.0: 255 for 8-bit images, 16 for the digits, 1 for scaled values
    redraw: draw every pixel anew from Bernoulli(x / levels) at each use (dynamic binarisation)
    rows: (N,), on the CPU: which rows of their file the observations are; None: all, in order
    double: batches are float64, for numbers that float32 would not distinguish
    """

    x: Tensor
    y: Tensor | None = None
    levels: int = 1
    redraw: bool = False
    rows: Tensor | None = None
    double: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def dtype(self) -> torch.dtype:
        """The type of batches."""
        return torch.float64 if self.double else torch.float32

    @property
    def x_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def device(self) -> torch.device:
        """The device of batches."""
        return self.x.device

    def raw(self, index: Tensor | slice) -> Tensor:
        """Observations `index` as they are stored (B, *x_shape)."""
        if isinstance(index, slice):
            return self.x[index]
        return self.x.index_select(0, index.to(self.x.device))  # copies row by row; x[index] takes ten times as long

    def chunks(self) -> Iterator[Tensor]:
        """All observations in order as they are stored, some at a time."""
        size = min(STATISTICS_CHUNK, max(1, STATISTICS_NUMBERS // max(1, math.prod(self.x_shape))))
        for start in range(0, len(self), size):
            yield self.raw(slice(start, start + size))

    def batch(self, index: Tensor | slice) -> Tensor:
        """Observations `index` (B, *x_shape), on `device`: float32, or float64 with `double`."""
        return self.observations(self.raw(index))

    def gathered(self, order: Tensor, size: int) -> Iterator[Tensor]:
        """Observations in the given order, unconverted, `size` at a time; the rows of many batches are read at once."""
        row = self.x[:1].numel() * self.x.element_size()
        for rows in order.split(size * max(1, READ_AHEAD // (row * size))):
            yield from self.raw(rows).split(size)

    def observations(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Unconverted observations (B, *x_shape) in the form that a model takes."""
        x = x.to(self.dtype) if self.levels == 1 else x / self.levels
        return torch.bernoulli(x, generator=generator) if self.redraw else x

    def to(self, device: torch.device) -> Split:
        return replace(self, x=self.x.to(device), y=None if self.y is None else self.y.to(device))

    def head(self, n: int | None) -> Split:
        """The first n observations, all of them for None."""
        y, rows = (None if values is None else values[:n] for values in (self.y, self.rows))
        return replace(self, x=self.x[:n], y=y, rows=rows)

    def take(self, rows: Tensor) -> Split:
        """The observations at `rows` (N,), in that order."""
        return replace(self, x=self.x[rows], y=None if self.y is None else self.y[rows], rows=self._rows(rows))

    def _rows(self, rows: Tensor) -> Tensor:
        return rows if self.rows is None else self.rows[rows]

    def mean(self) -> Tensor:
        """The mean observation (*x_shape), float32: what the decoder's output bias starts from."""
        if self.x.dtype != torch.uint8:
            return self.moments.mean.float()
        total = torch.zeros(self.x_shape, dtype=torch.int64, device=self.device)
        for chunk in self.chunks():  # a list of their sums would keep glibc from using the memory between them again
            total += chunk.sum(0, dtype=torch.int64)
        return (total / (len(self) * self.levels)).float()

    @cached_property
    def moments(self) -> Moments:
        """Means and standard deviations over the values that are not NaN, merged from chunk to chunk.

        Chan, Golub and LeVeque (1983): no large squares are subtracted from each other.
        """
        count, mean, squares = torch.zeros(3, *self.x_shape, dtype=torch.float64)
        for chunk in self.chunks():
            x = (chunk.cpu().to(self.dtype) / self.levels).double()  # as a model gets them
            n = (~x.isnan()).sum(0)
            own = x.nansum(0) / n.clamp_min(1)
            step, total = own - mean, count + n
            squares += (x - own).square().nansum(0) + step.square() * count * n / total.clamp_min(1)
            mean, count = mean + step * n / total.clamp_min(1), total
        scale = (squares / count.clamp_min(1)).sqrt()
        return Moments(count, torch.where(count > 0, mean, torch.nan), scale)

    @cached_property
    def range(self) -> Range:
        """The smallest and the largest of the values of all batches, NaN ignored, and whether all are 0 or 1."""
        low, high, others = torch.inf, -torch.inf, False
        for chunk in self.chunks():
            known = chunk[~chunk.isnan()].to(self.dtype) if chunk.is_floating_point() else chunk
            if known.numel():
                low, high = min(low, float(known.min())), max(high, float(known.max()))
                others = others or bool(((known != 0) & (known != 1)).any())
        binary = self.redraw or (self.levels == 1 and not others)
        return Range(low / self.levels, high / self.levels, binary)


@dataclass(frozen=True)
class FileSplit(Split):
    """A split whose x stays in its file, mapped into memory: a batch reads its own rows and no others.

    rows are indices into x; place: the device of batches, None: the CPU
    """

    place: torch.device | None = None

    def __len__(self) -> int:
        return len(self.x) if self.rows is None else len(self.rows)

    @property
    def device(self) -> torch.device:
        return self.place or self.x.device

    def raw(self, index: Tensor | slice) -> Tensor:
        index = index.cpu() if isinstance(index, Tensor) else index
        return self.x[index if self.rows is None else self.rows[index]].to(self.device)

    def to(self, device: torch.device) -> FileSplit:
        return replace(self, place=device, y=None if self.y is None else self.y.to(device))

    def head(self, n: int | None) -> FileSplit:
        return self if n is None else self.take(torch.arange(min(n, len(self))))

    def take(self, rows: Tensor) -> FileSplit:
        return replace(self, y=None if self.y is None else self.y[rows], rows=self._rows(rows))


class Splits(NamedTuple):
    """A data set's splits; `val` is None if there are no validation data."""

    train: Split
    val: Split | None
    test: Split

    def to(self, device: torch.device) -> Splits:
        return Splits(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    def with_rows(self, rows: Sequence[Tensor]) -> Splits:
        """The same splits, with the given `rows` (N,): where each observation lies in its file or folder."""
        train, val, test = rows
        held = None if self.val is None else replace(self.val, rows=val)
        return Splits(replace(self.train, rows=train), held, replace(self.test, rows=test))

    def sha256(self) -> str:
        """A checksum over the contents of all parts."""
        digest = hashlib.sha256()
        for part in self:
            if part is not None:
                shape = (len(part), *part.x_shape)
                digest.update(f"{shape} {part.x.dtype} {part.levels} {part.redraw}".encode())
                for chunk in part.chunks():
                    digest.update(chunk.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def hold_out(x: Tensor, y: Tensor, val_size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """(x, y) without its last `val_size` observations, and those; None for the second where val_size is 0."""
    n = len(x) - val_size
    if n < 1:
        raise UserError(f"dataset.val_size={val_size}: should be at most {len(x) - 1} (there are {len(x)} to train on)")
    return (x[:n], y[:n]), ((x[n:], y[n:]) if val_size else None)


def image_split(
    x: Tensor, y: Tensor | None, levels: int, binarize: Binarize, seed: tuple[int, int], train: bool
) -> Split:
    """A split of uint8 images, binarised in one of four ways.

    `none` keeps the grey values; `threshold` makes pixels of at least 1/2 white and the others black; `static` draws
    each pixel once from Bernoulli(grey value) with NumPy's PCG64 seeded by `seed`; `dynamic` redraws the training
    images at each use and draws the others once, so that validation and test figures repeat.
    """
    if binarize == "none":
        return Split(x, y, levels)
    if binarize == "dynamic" and train:
        return Split(x, y, levels, redraw=True)
    if binarize == "threshold":
        return Split((x >= levels / 2).to(torch.uint8), y)
    drawn = torch.empty_like(x)
    rng = np.random.default_rng(seed)
    for here, there in zip(x.split(DRAWN_AT_ONCE), drawn.split(DRAWN_AT_ONCE), strict=True):
        there.copy_(_drawn(here, levels, rng))
    return Split(drawn, y)


def _drawn(x: Tensor, levels: int, rng: np.random.Generator) -> Tensor:
    """A Bernoulli draw of each pixel."""
    return torch.from_numpy(rng.random(tuple(x.shape), dtype=np.float32)) * levels < x


def image_file_split(
    x: Tensor, rows: Tensor, y: Tensor | None, levels: int, binarize: Binarize, seed: tuple[int, int], train: bool
) -> FileSplit:
    """As `image_split`, for `rows` (N,) of images that lie in a file of their own: binarising overwrites them."""
    if binarize == "none" or (binarize == "dynamic" and train):
        return FileSplit(x, y, levels, redraw=binarize == "dynamic", rows=rows)
    rng = np.random.default_rng(seed)
    for part in rows.split(DRAWN_AT_ONCE):
        here = x[part]
        x[part] = (here >= levels / 2 if binarize == "threshold" else _drawn(here, levels, rng)).to(x.dtype)
    return FileSplit(x, y, rows=rows)


def image_splits(
    parts: Sequence[tuple[Tensor, Tensor | None] | None],
    levels: int,
    binarize: Binarize,
    binarize_seed: int,
    limit: int | None,
) -> Splits:
    """Train, validation and test images, each capped at `limit` and then binarised with a seed of its own."""
    capped = [None if part is None else Split(*part).head(limit) for part in parts]
    splits = [
        None if part is None else image_split(part.x, part.y, levels, binarize, (binarize_seed, i), train=i == 0)
        for i, part in enumerate(capped)
    ]
    return Splits(*splits)  # type: ignore[arg-type]
