"""Validates a user's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from vaecli.datasets.split import Moments, Split
from vaecli.utils.errors import UserError
from vaecli.utils.files import check_utf8_name, irregular
from vaecli.utils.text import plural


def check_finite(
    what: str, data: Split, gaps: bool = False, names: Sequence[str] | None = None, remedy: str = ""
) -> None:
    """UserError if data hold a NaN or a value that float32 cannot hold.

    what: the beginning of the message; gaps: NaN is allowed; names: of the columns, for data (N, d)
    """
    start, wrong, first = 0, 0, None
    for chunk in data.chunks() if data.x.is_floating_point() else ():
        x = chunk.to(torch.float32)
        broken = x.isinf() if gaps else ~x.isfinite()
        here = int(broken.sum())
        if here and first is None:
            first = broken.nonzero()[0].tolist()
            first[0] += start
        start, wrong = start + len(chunk), wrong + here
    if first is None:
        return
    column = f" (column {names[first[1]]})" if names else ""
    kind = "infinite" if gaps else "NaN or infinite"
    values = plural(wrong, "value")
    subject = f"{values} of {what}" if what.startswith("the ") else f"{what}: {values}"
    found = f"is {kind}, at {first}" if wrong == 1 else f"are {kind}, the first at {first}"
    raise UserError(f"{subject} {found}{column}{remedy}")


def check_columns_observed(what: str, moments: Moments, names: Sequence[str] | None) -> None:
    """UserError if a column is missing in every training observation: nothing can be learned about it."""
    unseen = (moments.n == 0).nonzero().tolist()
    if unseen:
        shown = ", ".join(names[i] for (i, *_) in unseen[:5]) if names else str(unseen[0])
        remedy = "leave it out (dataset.columns=[...])" if names else "leave it out"
        raise UserError(f"{what}: {shown} is missing in all of the training observations; {remedy}")


def check_alike(files: Mapping[str, Split]) -> None:
    """UserError unless files, by the beginnings of messages about them, hold the same kind of observations."""
    first = next(iter(files.values()))
    for what, split in files.items():
        if split.x_shape != first.x_shape:
            raise UserError(f"{what}: holds observations of shape {split.x_shape}, but dataset.path "
                            f"those of shape {first.x_shape}")  # fmt: skip
        if (split.x.dtype == torch.uint8) != (first.x.dtype == torch.uint8):
            raise UserError(f"{what}: holds {split.x.dtype}, but dataset.path {first.x.dtype}; "
                            "uint8 stands for 0 to 1: both should be uint8, or neither")  # fmt: skip
        if split.levels != first.levels:
            raise UserError(f"{what}: holds bytes up to 255, but dataset.path only 0 and 1")


def check_numbers(what: str, values: np.ndarray) -> None:
    """UserError unless the array holds real numbers, and at least one."""
    if values.dtype.kind not in "buif":
        kind = {"O": "Python objects", "U": "text", "S": "text", "c": "complex numbers"}.get(values.dtype.kind)
        raise UserError(f"{what}: holds {kind or values.dtype}; expected an array of real numbers")
    if not values.size:
        raise UserError(f"{what}: has shape {values.shape}: it is empty")


def existing(what: str, path: Path, kinds: Sequence[str]) -> Path:
    """`path`, a file of one of the `kinds` (".npy"); UserError otherwise."""
    check_utf8_name(what, path)
    if kind := irregular(path):
        raise UserError(f"{what}: is {kind}; expected a {one_of(kinds)} file")
    if not path.exists():
        raise UserError(f"{what}: there is no such file")
    if path.suffix.lower() not in kinds:
        raise UserError(f"{what}: expected a {one_of(kinds)} file")
    return path


def one_of(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
