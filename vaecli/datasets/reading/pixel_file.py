"""A tensor on disk, for the pixels of more images than memory should hold."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from shutil import disk_usage
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from vaecli.utils.errors import UserError
from vaecli.utils.memory import size


def pixel_file(what: str, shape: tuple[int, ...], dtype: torch.dtype, rows: Tensor) -> Tensor:
    """A tensor in a temporary file without a name, mapped into memory; the system removes it with the last reference.

    rows: (M,), sorted: the rows that will be written; only these take room on the disk
    what: the beginning of the message if the disk has too little room
    """
    row = math.prod(shape[1:]) * dtype.itemsize
    with tempfile.TemporaryFile(prefix="vaecli-") as file:
        file.truncate(shape[0] * row)
        _reserve(what, file, row, rows)
        numbers = np.memmap(file, dtype=str(dtype).removeprefix("torch."), mode="r+", shape=shape)
    return torch.from_numpy(numbers)


def _reserve(what: str, file: BinaryIO, row: int, rows: Tensor) -> None:
    """Allocate the disk's blocks of some rows now: a mapped file that finds the disk full later kills the process."""
    needed = len(rows) * row
    try:
        if not hasattr(os, "posix_fallocate"):  # macOS
            if disk_usage(tempfile.gettempdir()).free < needed:
                raise OSError(errno.ENOSPC, "no space")
            return
        for run in np.split(rows.numpy(), np.flatnonzero(np.diff(rows.numpy()) > 1) + 1):
            os.posix_fallocate(file.fileno(), int(run[0]) * row, len(run) * row)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        folder = tempfile.gettempdir()
        raise UserError(f"{what}: its pixels take {size(needed)} on the disk, and {folder} has "
                        f"{size(disk_usage(folder).free)} free: set the environment variable TMPDIR to a folder with "
                        "more room, or give a smaller dataset.size or dataset.limit") from None  # fmt: skip
