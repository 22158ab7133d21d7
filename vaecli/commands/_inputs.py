"""What commands look at: observations of a split or of a file, and latents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.checks import existing, refuse_infinite
from vaecli.datasets.images import KINDS, UNREADABLE, is_image, read_image
from vaecli.datasets.reading import READERS, TABLES, held, load_npy, load_npz, read, zeros_and_ones
from vaecli.datasets.split import Part, Split
from vaecli.datasets.tables import Choice
from vaecli.models.build import data_facts
from vaecli.models.inference import evaluating
from vaecli.models.load import Run, load_split
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.memory import check_memory


class Observations(NamedTuple):
    """What a command looks at."""

    x: Tensor  # (N, *x_shape), float32, on the model's device
    y: Tensor | None  # labels (N,) or (N, d)
    names: list[str]  # how to call each in a table: its index in the split, or its position in the file
    rows: Tensor | None = None  # (N,): which rows of the data's file they are, where they came shuffled from one


def choose(run: Run, part: Part, n: int | None, indices: Sequence[int] | None, seed: int = 0) -> Observations:
    """The first n observations of a split (None: all), or those with the given indices."""
    split = load_split(run, part)
    chosen = range(len(split))[:n] if indices is None else indices
    return pick(run, split, part, [("indices", i) for i in chosen], seed)


def taken(seen: Observations, what: str, n: int | None, indices: Sequence[int] | None) -> Observations:
    """The first n of a file's observations (None: all), or those with the given indices; what: the file's key."""
    if wrong := [i for i in indices or () if i >= len(seen.x)]:
        raise UserError(f"indices={wrong[0]}: beyond the data; {what} has {len(seen.x)} observations, from 0 on")
    chosen = torch.tensor(list(range(len(seen.x))[:n] if indices is None else indices))
    y, rows = (None if part is None else part[chosen.to(part.device)] for part in (seen.y, seen.rows))
    names = [seen.names[i] for i in chosen.tolist()]
    return seen._replace(x=seen.x[chosen.to(seen.x.device)], y=y, rows=rows, names=names)


def pick(run: Run, split: Split, part: Part, named: Sequence[tuple[str, int]], seed: int = 0) -> Observations:
    """The observations of a split at the indices that keys of the command ask for: pairs of key and index."""
    for key, i in named:
        if i >= len(split):
            raise UserError(f"{key}={i}: beyond the data; split={part} has {len(split)} observations, from 0 on")
    index = torch.tensor([i for _, i in named], device=split.device)
    y = None if split.y is None else split.y[index]
    rows = None if split.rows is None else split.rows[index.cpu()]
    with evaluating(run.model, seed):
        return Observations(split.batch(index), y, [str(i) for _, i in named], rows)


def read_input(run: Run, name: str) -> Observations:
    """Observations in the units of the run's data, from an array ((N, *x_shape) or one of them), a table or an image.

    uint8 stands for 0 to 1, as it does in training; NaN is allowed where the run takes it for what is missing.
    """
    what, path, shape = f"input={name}", expanded(name), run.model.x_shape
    existing(what, path, [*READERS, *KINDS])
    x = _read_image(what, path, run) if is_image(path.name) else _read_numbers(what, path, run)
    refuse_infinite(what, Split(x), run.dataset.gaps)
    low, high, _ = Split(x).range
    if len(shape) == 3 and (low < 0 or high > 1) and run.dataset.shown == (0.0, 1.0):
        seen = f"[{low:.4g}, {high:.4g}]"
        raise UserError(f"{what}: holds values in {seen}; images go from 0 to 1, or from 0 to 255 as uint8")
    try:
        run.model.decoder.check(data_facts(Split(x), run.model.decoder.step))
    except ValueError as error:
        raise UserError(f"{what}: {str(error).split(':')[0]}; scale it as the training data were") from None
    return Observations(x.to(run.device), None, [str(i) for i in range(len(x))])


def read_latents(run: Run, name: str) -> Tensor:
    """Latents z (N, D), on the model's device, from a .npy file of that shape or (D,)."""
    if not name.lower().endswith(".npy"):
        raise UserError(f"z={name}: expected a .npy file")
    path = existing(f"z={name}", expanded(name), [".npy"])
    values, d = load_npy(f"z={name}", path), run.model.latent_dim
    if values.shape[-1:] != (d,) or values.ndim > 2 or not len(values):
        have = "1 latent" if d == 1 else f"{d} latents"
        raise UserError(f"z={name}: has shape {values.shape}; expected (N, {d}), as this run has {have}")
    z = held(f"z={name}", values).to(torch.float32).reshape(-1, d)
    refuse_infinite(f"z={name}", Split(z))
    return z.to(run.device)


def _read_numbers(what: str, path: Path, run: Run) -> Tensor:
    """Observations (N, *x_shape) of a file; a table may hold other columns beside those that the run knows."""
    shape, suffix = run.model.x_shape, path.suffix.lower()
    if suffix in TABLES:
        values = read(what, path, Choice(run.dataset.names)).x.numpy()
    else:
        values = load_npy(what, path) if suffix == ".npy" else load_npz(what, path)[0]
    check_memory(12 * values.size, what, "give fewer observations at a time")
    x = held(what, values)
    x = x.to(torch.float32) / (255 if values.dtype == np.uint8 and not zeros_and_ones(x) else 1)
    plain_shape = shape[1:] if shape[0] == 1 and len(shape) == 3 else shape  # (H, W) for one channel
    if x.shape in (shape, plain_shape):
        x = x.unsqueeze(0)
    if x.shape[1:] not in (shape, plain_shape):
        raise UserError(f"{what}: has shape {values.shape}; expected (N, {', '.join(map(str, shape))})")
    return x.reshape(-1, *shape)


def _read_image(what: str, path: Path, run: Run) -> Tensor:
    """One observation (1, C, H, W); scaled to size where the run's own images were."""
    shape = run.model.x_shape
    if len(shape) != 3:
        raise UserError(f"{what}: this run's observations have shape {shape}, not that of images; give a .npy")
    try:
        size = shape[1:] if run.dataset.resizes else None
        pixels = read_image(path, "grey" if shape[0] == 1 else "rgb", size)
    except UNREADABLE as error:
        raise UserError(f"{what}: cannot be read as an image ({error})") from None
    if pixels.shape != shape:
        raise UserError(f"{what}: is {pixels.shape[2]}x{pixels.shape[1]} pixels; expected {shape[2]}x{shape[1]}")
    return torch.from_numpy(pixels).to(torch.float32).unsqueeze(0) / 255
