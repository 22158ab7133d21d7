"""What the commands that need only a run share: their keys, where they write, which observations they take."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError
from pydantic import Field
from rich.console import Console
from rich.progress import track
from torch import Tensor

from vaecli.build import Run, facts
from vaecli.datasets.split import Split
from vaecli.errors import UserError, shorten
from vaecli.evaluation import evaluating
from vaecli.files import check_output, replace_file
from vaecli.plots.view import View, view
from vaecli.training.logger import save_figure

Checkpoint = Literal["best", "last"]
Mode = Literal["mean", "draw"]
Part = Literal["train", "val", "test"]
Steps = Annotated[int, Field(strict=True, ge=2, le=100)]  # more than a picture shows
LARGEST = 2**16  # pixels of a figure's side, matplotlib's limit
T = TypeVar("T")


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
    return check_output(Path(output).expanduser() if output else folder / f"{name}.{suffix}", suffix)


class Chunks(NamedTuple):
    """An array that is made a part at a time, as it is written."""

    shape: tuple[int, ...]
    parts: Iterable[Tensor]  # float32, on the CPU, together of that shape


def write_arrays(path: Path, **arrays: Any) -> None:
    """Named arrays, tensors and Chunks to a compressed .npz file; None is left out."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, value in arrays.items():
                if value is not None:
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        _write_array(member, value)

    replace_file(path, write)


def _write_array(member: IO[bytes], value: Any) -> None:
    if not isinstance(value, Chunks):
        plain = value.cpu() if isinstance(value, Tensor) else value
        np.lib.format.write_array(member, np.asanyarray(plain), allow_pickle=False)
        return
    header = {"descr": "<f4", "fortran_order": False, "shape": value.shape}
    np.lib.format.write_array_header_1_0(member, header)
    for part in value.parts:
        member.write(part.contiguous().numpy().astype("<f4", copy=False).tobytes())


def literal(text: str) -> str:
    """A text of a user's or a file's for a figure, in which matplotlib finds no formula."""
    return shorten(text, 200).replace("$", r"\$")


def write_figure(path: Path, figure: Figure) -> None:
    """A figure to a .png file; UserError where it has more pixels than can be drawn."""
    width, height = (int(inches * figure.dpi) for inches in figure.get_size_inches())
    if max(width, height) >= LARGEST:
        raise UserError(f"the picture would have {width} x {height} pixels, and {LARGEST} is the most: ask for less")
    save_figure(path, figure)


def load_split(run: Run, part: Part) -> Split:
    """One part of the run's data set, on the model's device."""
    split = getattr(run.dataset.load(), part)
    if split is None:
        raise UserError(f"split={part}: this run set no observations aside for it; use split=train or split=test")
    if split.x_shape != run.model.x_shape:
        wanted = f"expects observations of shape {run.model.x_shape}"
        raise UserError(f"{run.folder}: the model {wanted}, but its data set's have {split.x_shape}")
    return split.to(device_of(run))


def choose(run: Run, part: Part, n: int, indices: Sequence[int] | None, seed: int = 0) -> Observations:
    """The first n observations of a split, or those with the given indices."""
    split = load_split(run, part)
    chosen = list(range(min(n, len(split)))) if indices is None else list(indices)
    return pick(run, split, part, [("indices", i) for i in chosen], seed)


def pick(run: Run, split: Split, part: Part, named: Sequence[tuple[str, int]], seed: int = 0) -> Observations:
    """The observations of a split at the indices that keys of the command ask for: pairs of key and index."""
    for key, i in named:
        if i >= len(split):
            raise UserError(f"{key}={i}: beyond the data; split={part} has {len(split)} observations, from 0 on")
    index = torch.tensor([i for _, i in named], device=split.x.device)
    y = None if split.y is None else split.y[index]
    with evaluating(run.model, seed):
        return Observations(split.batch(index), y, [str(i) for _, i in named])


def watch(what: str, total: int) -> Callable[[Iterable[T]], Iterable[T]]:
    """Goes through `total` items behind a bar, in a terminal only; the bar is gone afterwards."""
    console = Console(stderr=True)
    return lambda items: track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


def read_input(run: Run, name: str) -> Observations:
    """Observations from a .npy file ((N, *x_shape) or one of them; uint8 stands for 0 to 1) or one .png image."""
    path = Path(name).expanduser()
    readers = {".npy": _read_npy, ".png": _read_png}
    if path.suffix.lower() not in readers:
        raise UserError(f"input={name}: expected a .npy or .png file")
    if not path.is_file():
        raise UserError(f"input={name}: there is no such file")
    x = readers[path.suffix.lower()](path, run.model.x_shape)
    refuse_infinite(f"input={name}", x)
    if x.ndim == 4 and (x.min() < 0 or x.max() > 1):
        seen = f"[{float(x.min()):.4g}, {float(x.max()):.4g}]"
        raise UserError(f"input={name}: holds values in {seen}; images go from 0 to 1, or from 0 to 255 as uint8")
    try:
        run.model.decoder.check(facts(Split(x), run.model.decoder.step))
    except ValueError as error:
        raise UserError(f"input={name}: {str(error).split(':')[0]}; scale it as the training data were") from None
    return Observations(x.to(device_of(run)), None, [str(i) for i in range(len(x))])


def read_latents(run: Run, name: str) -> Tensor:
    """Latents z (N, D), on the model's device, from a .npy file of that shape or (D,)."""
    path = Path(name).expanduser()
    if path.suffix.lower() != ".npy" or not path.is_file():
        wrong = "there is no such file" if path.suffix.lower() == ".npy" else "expected a .npy file"
        raise UserError(f"z={name}: {wrong}")
    values, d = _load_npy("z", path), run.model.latent_dim
    if values.shape[-1:] != (d,) or values.ndim > 2 or not len(values):
        have = "1 latent" if d == 1 else f"{d} latents"
        raise UserError(f"z={name}: has shape {values.shape}; expected (N, {d}), as this run has {have}")
    z = _float(values).reshape(-1, d)
    refuse_infinite(f"z={name}", z)
    return z.to(device_of(run))


def refuse_infinite(what: str, x: Tensor) -> None:
    """UserError where x holds a value that is not finite."""
    wrong = torch.nonzero(~torch.isfinite(x))
    if len(wrong):
        raise UserError(f"{what}: {len(wrong)} values are NaN or infinite, the first at {wrong[0].tolist()}")


def _float(values: np.ndarray) -> Tensor:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused for it
        return torch.from_numpy(values.astype(np.float32))


def _load_npy(key: str, path: Path) -> np.ndarray:
    """An array of real numbers; UserError for everything else."""
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as error:
        raise UserError(f"{key}={path}: cannot be read as .npy ({error})") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise UserError(f"{key}={path}: expected an array of numbers")
    return values


def _read_npy(path: Path, x_shape: tuple[int, ...]) -> Tensor:
    values = _load_npy("input", path)
    x = _float(values) / (255 if values.dtype == np.uint8 else 1)
    plain_shape = x_shape[1:] if x_shape[0] == 1 and len(x_shape) == 3 else x_shape  # (H, W) for one channel
    if x.shape in (x_shape, plain_shape):
        x = x.unsqueeze(0)
    if x.shape[1:] not in (x_shape, plain_shape) or not len(x):
        raise UserError(f"input={path}: has shape {values.shape}; expected (N, {', '.join(map(str, x_shape))})")
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
