"""What the commands that need only a run share: their keys, where they write, which observations they take."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure
from pydantic import Field
from rich.console import Console
from rich.progress import track
from torch import Tensor

from vaecli.build import facts
from vaecli.data_access import Unasked
from vaecli.datasets.checks import existing, refuse_infinite
from vaecli.datasets.images import KINDS, UNREADABLE, is_image, read_image
from vaecli.datasets.reading import READERS, TABLES, held, load_npy, load_npz, read, zeros_and_ones
from vaecli.datasets.split import Split
from vaecli.datasets.tables import Choice
from vaecli.errors import UserError
from vaecli.evaluation import evaluating
from vaecli.files import expanded, replace_bytes, replace_file
from vaecli.memory import check_memory
from vaecli.plots.style import check_size
from vaecli.plots.view import View, figure_array, png, view_of
from vaecli.runs import Run
from vaecli.text import csv_line, headings

Mode = Literal["mean", "draw"]
Part = Literal["train", "val", "test"]
Steps = Annotated[int, Field(strict=True, ge=2, le=100)]  # more than a picture shows
T = TypeVar("T")


class Observations(NamedTuple):
    """What a command looks at."""

    x: Tensor  # (N, *x_shape), float32, on the model's device
    y: Tensor | None  # labels (N,) or (N, d)
    names: list[str]  # how to call each in a table: its index in the split, or its position in the file
    rows: Tensor | None = None  # (N,): which rows of the data's file they are, where they came shuffled from one


def run_view(run: Run) -> View:
    """The figures that suit a run's observations."""
    return view_of(run.dataset, run.model.x_shape)


def device_of(run: Run) -> torch.device:
    return next(run.model.parameters()).device


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


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Columns (N,) by their names, tensors of numbers or texts, to a .csv file; None is left out."""
    there = {name: values for name, values in columns.items() if values is not None}

    def write(file: IO[bytes]) -> None:
        file.write(csv_line(headings(list(there))).encode())
        for row in zip(*map(_cells, there.values()), strict=True):
            file.write(csv_line(row).encode())

    replace_file(path, write)


def _cells(values: Any) -> Sequence[Any]:
    """A column's texts, or its numbers with as many digits as they have; what is missing (NaN) stays empty."""
    if not isinstance(values, Tensor):
        return values
    if not values.is_floating_point():
        return values.tolist()
    return ["" if v != v else np.format_float_positional(v, trim="-") for v in values.float().numpy()]


def column_titles(run: Run) -> list[str]:
    """What to call the numbers of an observation in a table; UserError where they are those of an image."""
    if len(run.model.x_shape) != 1:
        raise UserError("format=csv: is for tables and curves, and this run is on images; use format=npz or png")
    names = getattr(run.dataset, "names", None)
    (n,) = run.model.x_shape
    return list(names) if names and len(names) == n else [f"x_{i + 1}" for i in range(n)]


def beside(titles: Sequence[str], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of our own beside the data's with these titles: one that is called the same gets another name."""
    found = {}
    for title, values in columns.items():
        while title in titles:
            title += "_2"
        found[title] = values
    return found


def by_title(titles: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """The columns of x (N, P)."""
    return dict(zip(titles, x.unbind(1), strict=True))


def class_names(y: Tensor | None, names: Sequence[str] | None) -> Sequence[str] | None:
    """The names of classes; None where there are no classes, or they are called 0, 1, 2 ..."""
    numbered = not names or list(names) == [str(k) for k in range(len(names))]
    return None if numbered or y is None or y.ndim > 1 or y.is_floating_point() else names


def write_figure(path: Path, figure: Figure) -> None:
    """A figure to a .png file; UserError where it has more pixels than can be drawn."""
    check_size(*figure.get_size_inches())
    replace_bytes(path, png(figure_array(figure)))


def load_split(run: Run, part: Part) -> Split:
    """One part of the run's data set, on the model's device."""
    if run.unread:
        raise Unasked(run.folder, run.unread)
    try:
        split = getattr(run.dataset.load(), part)
    except UserError as error:
        raise UserError(f"this needs the data that {run.folder} was trained on: {error}") from None
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
    index = torch.tensor([i for _, i in named], device=split.device)
    y = None if split.y is None else split.y[index]
    rows = None if split.rows is None else split.rows[index.cpu()]
    with evaluating(run.model, seed):
        return Observations(split.batch(index), y, [str(i) for _, i in named], rows)


def watch(what: str, total: int) -> Callable[[Iterable[T]], Iterable[T]]:
    """Goes through `total` items behind a bar, in a terminal only; the bar is gone afterwards."""
    console = Console(stderr=True)
    return lambda items: track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


def read_input(run: Run, name: str) -> Observations:
    """Observations in the units of the run's data, from an array ((N, *x_shape) or one of them), a table or an image.

    uint8 stands for 0 to 1, as it does in training; NaN is allowed where the run takes it for what is missing.
    """
    what, path, shape = f"input={name}", expanded(name), run.model.x_shape
    existing(what, path, [*READERS, *KINDS])
    x = _read_image(what, path, run) if is_image(path.name) else _read_numbers(what, path, run)
    refuse_infinite(what, Split(x), getattr(run.dataset, "gaps", False))
    low, high, _ = Split(x).range
    if len(shape) == 3 and (low < 0 or high > 1) and run_view(run).shown == (0.0, 1.0):
        seen = f"[{low:.4g}, {high:.4g}]"
        raise UserError(f"{what}: holds values in {seen}; images go from 0 to 1, or from 0 to 255 as uint8")
    try:
        run.model.decoder.check(facts(Split(x), run.model.decoder.step))
    except ValueError as error:
        raise UserError(f"{what}: {str(error).split(':')[0]}; scale it as the training data were") from None
    return Observations(x.to(device_of(run)), None, [str(i) for i in range(len(x))])


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
    return z.to(device_of(run))


def _read_numbers(what: str, path: Path, run: Run) -> Tensor:
    """Observations (N, *x_shape) of a file; a table may hold other columns beside those that the run knows."""
    shape, suffix = run.model.x_shape, path.suffix.lower()
    if suffix in TABLES:
        values = read(what, path, Choice(getattr(run.dataset, "names", None))).x.numpy()
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
        size = shape[1:] if getattr(run.dataset, "size", None) else None
        pixels = read_image(path, "grey" if shape[0] == 1 else "rgb", size)
    except UNREADABLE as error:
        raise UserError(f"{what}: cannot be read as an image ({error})") from None
    if pixels.shape != shape:
        raise UserError(f"{what}: is {pixels.shape[2]}x{pixels.shape[1]} pixels; expected {shape[2]}x{shape[1]}")
    return torch.from_numpy(pixels).to(torch.float32).unsqueeze(0) / 255
