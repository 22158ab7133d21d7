"""The parts of a data set, in memory, and what turns a batch of them into observations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.errors import UserError

Binarize = Literal["none", "threshold", "dynamic", "static"]


@dataclass(frozen=True)
class Split:
    """One part of a data set, held in its smallest type and converted a batch at a time where it lies.

    x: (N, *x_shape), uint8 grey levels (or 0 and 1) or float32
    y: labels: (N,) integers, (N, d) numbers, or None
    levels: the value of x that stands for 1.0: 255 for 8-bit images, 16 for the digits, 1 for what is already scaled
    redraw: draw every pixel anew from Bernoulli(x / levels) at each use (dynamic binarisation)
    """

    x: Tensor
    y: Tensor | None = None
    levels: int = 1
    redraw: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def batch(self, index: Tensor | slice) -> Tensor:
        """Observations `index` as float32 (B, *x_shape), on the device of x."""
        x = self.x[index]
        x = x.to(torch.float32) if self.levels == 1 else x / self.levels
        return torch.bernoulli(x) if self.redraw else x

    def to(self, device: torch.device) -> Split:
        return replace(self, x=self.x.to(device), y=None if self.y is None else self.y.to(device))

    def head(self, n: int | None) -> Split:
        """The first n observations, all of them for None."""
        return replace(self, x=self.x[:n], y=None if self.y is None else self.y[:n])

    def mean(self) -> Tensor:
        """The mean observation (*x_shape), float32: what the decoder's output bias starts from."""
        if self.x.dtype != torch.uint8:
            return self.x.mean(0, dtype=torch.float64).float() / self.levels
        chunks = self.x.split(4096)  # a sum of small integers, without a float copy of the whole set
        return (sum(c.sum(0, dtype=torch.int64) for c in chunks) / (len(self) * self.levels)).float()


class Splits(NamedTuple):
    """A data set's parts; `val` is None where none was set aside."""

    train: Split
    val: Split | None
    test: Split

    def to(self, device: torch.device) -> Splits:
        return Splits(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    def sha256(self) -> str:
        """A checksum over the contents of all parts."""
        digest = hashlib.sha256()
        for part in self:
            if part is not None:
                digest.update(f"{tuple(part.x.shape)} {part.x.dtype} {part.levels} {part.redraw}".encode())
                digest.update(part.x.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def hold_out(x: Tensor, y: Tensor, val_size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """(x, y) without its last `val_size` observations, and those; None for the second where val_size is 0."""
    n = len(x) - val_size
    if n < 1:
        raise UserError(f"dataset.val_size={val_size}: should be at most {len(x) - 1} (there are {len(x)} to train on)")
    return (x[:n], y[:n]), ((x[n:], y[n:]) if val_size else None)


def image_split(x: Tensor, y: Tensor, levels: int, binarize: Binarize, seed: tuple[int, int], train: bool) -> Split:
    """A split of uint8 images under one of the four ways to binarise.

    `none` keeps the grey values; `threshold` sets pixels of at least 1/2; `static` draws each pixel once from
    Bernoulli(grey value) with NumPy's PCG64 seeded by `seed`; `dynamic` redraws the training images at each use and
    draws the others once, so that validation and test figures repeat.
    """
    if binarize == "none":
        return Split(x, y, levels)
    if binarize == "dynamic" and train:
        return Split(x, y, levels, redraw=True)
    if binarize == "threshold":
        return Split((x >= levels / 2).to(torch.uint8), y)
    drawn = torch.empty_like(x)
    rng = np.random.default_rng(seed)
    for here, there in zip(x.split(4096), drawn.split(4096), strict=True):
        u = torch.from_numpy(rng.random(tuple(here.shape), dtype=np.float32))
        there.copy_(u * levels < here)
    return Split(drawn, y)


def image_splits(
    parts: list[tuple[Tensor, Tensor] | None],
    levels: int,
    binarize: Binarize,
    binarize_seed: int,
    limit: int | None,
) -> Splits:
    """Train, validation and test images, each capped at `limit` and then binarised with a seed of its own."""
    splits = [
        None
        if part is None
        else image_split(part[0][:limit], part[1][:limit], levels, binarize, (binarize_seed, i), train=i == 0)
        for i, part in enumerate(parts)
    ]
    return Splits(*splits)  # type: ignore[arg-type]
