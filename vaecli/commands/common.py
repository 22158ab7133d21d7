"""What the commands that need only a run share: their keys, where they write, which observations they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vaecli.build import Run
from vaecli.datasets.split import Split
from vaecli.decoders.base import DataRange
from vaecli.errors import UserError
from vaecli.evaluation import evaluating
from vaecli.files import check_writable, replace_file
from vaecli.plots.view import View, view

Checkpoint = Literal["best", "last"]
Mode = Literal["mean", "draw"]
Part = Literal["train", "val", "test"]


class Observations(NamedTuple):
    """What a command looks at."""

    x: Tensor  # (N, *x_shape), float32, on the model's device
    y: Tensor | None  # labels (N,) or (N, d)
    names: list[str]  # how to call each in a table: its index in the split, or its position in the file


def run_view(run: Run) -> View:
    """The figures that suit a run's observations."""
    return view(run.model.x_shape, getattr(run.dataset, "grid", None), getattr(run.dataset, "label", ""))


def device_of(run: Run) -> torch.device:
    return next(run.model.parameters()).device


def output_path(output: str | None, folder: Path, name: str, suffix: str) -> Path:
    """Where to write: `output`, or <name>.<suffix> in the run's folder; UserError where that is impossible."""
    path = Path(output).expanduser() if output else folder / f"{name}.{suffix}"
    known = {".png", ".npz", ".csv", ".json", ".onnx", ".pt2"}
    if path.suffix in known and path.suffix != f".{suffix}":
        raise UserError(f"output={path}: the name ends in {path.suffix}, but format={suffix}; change one of the two")
    if path.is_dir():
        raise UserError(f"output={path}: is a folder; expected the name of a file")
    check_writable(path.parent)
    return path


def write_arrays(path: Path, **arrays: Any) -> None:
    """Named arrays to a compressed .npz file."""
    values: Any = {key: np.asarray(value) for key, value in arrays.items() if value is not None}
    replace_file(path, lambda file: np.savez_compressed(file, **values))


def load_split(run: Run, part: Part) -> Split:
    """One part of the run's data set, on the model's device."""
    split = getattr(run.dataset.load(), part)
    if split is None:
        raise UserError(f"split={part}: this run set no observations aside for it; use split=train or split=test")
    return split.to(device_of(run))


def choose(run: Run, part: Part, n: int, indices: Sequence[int] | None, seed: int = 0) -> Observations:
    """The first n observations of a split, or those with the given indices."""
    split = load_split(run, part)
    chosen = list(range(min(n, len(split)))) if indices is None else list(indices)
    beyond = [i for i in chosen if i >= len(split)]
    if beyond:
        raise UserError(f"indices={beyond[0]}: beyond the data; split={part} has {len(split)} observations")
    index = torch.tensor(chosen, device=split.x.device)
    with evaluating(run.model, seed):
        return Observations(split.batch(index), None if split.y is None else split.y[index], [str(i) for i in chosen])


def read_input(run: Run, name: str) -> Observations:
    """Observations from a .npy file ((N, *x_shape) or one of them; uint8 stands for 0 to 1) or one .png image."""
    path = Path(name).expanduser()
    readers = {".npy": _read_npy, ".png": _read_png}
    if path.suffix.lower() not in readers:
        raise UserError(f"input={name}: expected a .npy or .png file")
    if not path.is_file():
        raise UserError(f"input={name}: there is no such file")
    x = readers[path.suffix.lower()](path, run.model.x_shape)
    if not torch.isfinite(x).all():
        count, first = int((~torch.isfinite(x)).sum()), torch.nonzero(~torch.isfinite(x))[0].tolist()
        raise UserError(f"input={name}: {count} values are NaN or infinite, the first at {first}")
    try:
        run.model.decoder.check(DataRange(float(x.min()), float(x.max()), binary=False))
    except ValueError as error:
        raise UserError(f"input={name}: {str(error).split(':')[0]}; scale it as the training data were") from None
    return Observations(x.to(device_of(run)), None, [str(i) for i in range(len(x))])


def _read_npy(path: Path, x_shape: tuple[int, ...]) -> Tensor:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"input={path}: cannot be read as .npy ({error})") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise UserError(f"input={path}: expected an array of numbers")
    x = torch.from_numpy(values.astype(np.float32) / (255 if values.dtype == np.uint8 else 1))
    plain_shape = x_shape[1:] if x_shape[0] == 1 and len(x_shape) == 3 else x_shape  # (H, W) for one channel
    if x.shape in (x_shape, plain_shape):
        x = x.unsqueeze(0)
    if x.shape[1:] not in (x_shape, plain_shape) or not len(x):
        raise UserError(f"input={path}: has shape {tuple(values.shape)}; expected (N, {', '.join(map(str, x_shape))})")
    return x.reshape(-1, *x_shape)


def _read_png(path: Path, x_shape: tuple[int, ...]) -> Tensor:
    if len(x_shape) != 3:
        raise UserError(f"input={path}: this run's observations have shape {x_shape}, not that of images; give a .npy")
    try:
        with Image.open(path) as image:
            if image.size != (x_shape[2], x_shape[1]):
                size = f"{image.size[0]}x{image.size[1]}"
                raise UserError(f"input={path}: is {size} pixels; expected {x_shape[2]}x{x_shape[1]}")
            pixels = np.array(image.convert("L" if x_shape[0] == 1 else "RGB"), dtype=np.float32)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"input={path}: cannot be read as an image ({error})") from None
    return torch.from_numpy(pixels / 255).reshape(*x_shape[1:], x_shape[0]).permute(2, 0, 1).unsqueeze(0)
