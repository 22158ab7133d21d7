"""Arrays as observations: the axis of the channels of pictures, and the value that is white."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.checks import check_numbers
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.columns import needs_double
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.report import FileReading, number
from vaecli.datasets.split import STATISTICS_CHUNK
from vaecli.utils.errors import UserError
from vaecli.utils.text import plural

CHANNEL_COUNTS = (1, 3)  # numbers of channels
EXPECTED = "(N, d), (N, H, W) or (N, C, H, W)"
SAMPLED_COLUMNS = 1000  # numbers of an observation whose digits are examined


def array_content(what: str, path: Path, values: np.ndarray, choice: ReadOptions, mapped: bool = False) -> Content:
    """An array of observations; UserError if its shape is not one of observations."""
    x, note = observations(what, values, choice)
    check_numbers(what, values)
    double = x.ndim == 2 and is_double(x, choice)
    levels = levels_of(what, values, choice)
    held = torch.from_numpy(x) if mapped else in_memory(x, choice, double)
    low, high = (None, None) if mapped else (number(float(np.fmin.reduce(values, None))),
                                             number(float(np.fmax.reduce(values, None))))  # fmt: skip
    of = f"vectors of {plural(x.shape[1], 'number')}" if x.ndim == 2 else f"pictures of {sizes(x.shape[1:])}"
    said = f"{len(x):,} {of}"
    how = [f"{values.dtype.name} of shape {'x'.join(map(str, values.shape))}"]
    how += [f"{levels} stands for 1.0"] if levels > 1 else []
    layout = {"type": values.dtype.name, "levels": levels}
    reading = FileReading(
        str(path), path.suffix.lower().removeprefix("."), len(x), tuple(x.shape[1:]), said, tuple(how), layout,
        low=low, high=high, notes=(note,) if note else (),
    )  # fmt: skip
    return Content(held, None, reading, levels=levels, mapped=mapped, double=double)


def observations(what: str, values: np.ndarray, choice: ReadOptions) -> tuple[np.ndarray, str | None]:
    """The array as (N, d) or (N, C, H, W), and a note if the shape is ambiguous."""
    shape = values.shape
    if choice.x_shape is not None:
        return expected(what, values, choice.x_shape, choice), None
    if values.ndim == 2 or (values.ndim == 1 and choice.series):
        return values.reshape(len(values), -1), None
    if values.ndim == 3:
        odd = shape[2] in (3, 4) and min(shape[:2]) > 4
        note = f"{shape[0]:,} pictures of {shape[2]}x{shape[1]} pixels; if it is one picture in colour, save x[None]"
        return values[:, None], note if odd else None
    if values.ndim != 4:
        advice = "; if it is a series, dataset.window=64 dataset.stride=16 makes an observation of 64 values every 16 "
        advice += "values; if each number is an observation, reshape it to (N, 1)"
        advice = advice if values.ndim == 1 else ""
        raise UserError(f"{what}: has shape {shape}; expected {EXPECTED}{advice}")
    fits = [name for name, axis in (("first", 1), ("last", 3)) if shape[axis] in CHANNEL_COUNTS] or more_channels(shape)
    if choice.channels != "auto" and choice.channels not in fits:
        axis = "second" if choice.channels == "first" else "last"
        raise UserError(f"{what}: has shape {shape}; dataset.channels={choice.channels} expects the channels on its "
                        f"{axis} axis, but that does not look like channels")  # fmt: skip
    if choice.channels == "auto" and len(fits) > 1:
        raise UserError(f"{what}: has shape {shape}, in which the channels may be the second axis or the last; "
                        "give dataset.channels=first or dataset.channels=last")  # fmt: skip
    last = choice.channels == "last" or fits == ["last"]
    return values.transpose(0, 3, 1, 2) if last else values, None


def more_channels(shape: tuple[int, ...]) -> list[str]:
    """Which axis is that of the channels if neither has length 1 or 3: the shorter one, or either."""
    return ["first"] * (shape[1] <= shape[3]) + ["last"] * (shape[3] <= shape[1])


def expected(what: str, values: np.ndarray, x_shape: tuple[int, ...], choice: ReadOptions) -> np.ndarray:
    """An array of observations of a known shape, or of one of them, as (N, *x_shape)."""
    layouts = [x_shape]
    if len(x_shape) == 3:
        c, h, w = x_shape
        layouts += [(h, w, c), *([(h, w)] if c == 1 else [])]
        layouts = layouts[1::-1] + layouts[2:] if choice.channels == "last" else layouts
    for one in [values[None], values]:
        for layout in layouts:
            if one.shape[1:] == layout:
                last = layout != x_shape and len(layout) == 3
                return one.transpose(0, 3, 1, 2) if last else one.reshape(-1, *x_shape)
    raise UserError(f"{what}: has shape {values.shape}; expected (N, {', '.join(map(str, x_shape))})")


def sizes(shape: tuple[int, ...]) -> str:
    """A picture's size in words, as in "8x8 pixels, in colour"."""
    kind = {1: "grey", 3: "in colour"}.get(shape[0], f"{shape[0]} channels")
    return f"{shape[2]}x{shape[1]} pixels, {kind}"


def is_double(x: np.ndarray, choice: ReadOptions) -> bool:
    """Whether the vectors x (N, d) are kept in float64."""
    if choice.precision is not None or x.dtype.itemsize < 4 or x.dtype == np.float32:
        return choice.precision == "double"
    return any(
        needs_double(np.asarray(x[:, i], np.float64))
        for i in range(0, x.shape[1], max(1, x.shape[1] // SAMPLED_COLUMNS))
    )


def in_memory(values: np.ndarray, choice: ReadOptions, double: bool = False) -> Tensor:
    """An array as a tensor. Bytes, and whole numbers with a given white, stay as they are; others become float."""
    if values.dtype.kind == "b" or values.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(values).view(np.uint8))
    if choice.white is not None and values.dtype.kind in "ui":
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int32))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused later
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64 if double else np.float32))


def levels_of(what: str, values: np.ndarray, choice: ReadOptions) -> int:
    """The value that stands for 1.0: for bytes 255, or 1 if all are 0 or 1; for other whole numbers `white`."""
    if values.dtype.kind not in "ui" or (choice.white is None and values.dtype != np.uint8):
        return 1
    if choice.white is None:
        return 1 if all(int(chunk.max()) <= 1 for chunk in chunks(values)) else 255
    low, high = min(int(chunk.min()) for chunk in chunks(values)), max(int(chunk.max()) for chunk in chunks(values))
    if low < 0 or high > choice.white:
        raise UserError(f"{what}: holds whole numbers from {low:,} to {high:,}, beyond dataset.white={choice.white}")
    return choice.white


def chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    return (values[start : start + STATISTICS_CHUNK] for start in range(0, len(values), STATISTICS_CHUNK))
