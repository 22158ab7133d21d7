"""The part of MNIST that comes with vaecli: no download."""

import bz2
import hashlib
from pathlib import Path

import numpy as np
import torch

from vaecli.datasets.base import Dataset
from vaecli.datasets.split import Binarize, Splits, hold_out, image_splits
from vaecli.utils.errors import UserError
from vaecli.utils.types import NonNegativeInt, PositiveInt, Seed

FILE = Path(__file__).with_suffix(".bz2")  # made by tools/mnist_small.py
SHA256 = "ac2e85c089cff3cd36406a3b505ea9b1e0cdafee6a599442e6a08df99e8b39a6"
N_TRAIN, N_TEST, SIDE = 10_000, 1000, 28


class MNISTSmall(Dataset):
    """The first 10,000 training images of MNIST, the last `val_size` of them set aside, and its first 1,000 to test.

    28x28 grey levels, scaled to [0, 1]; labels 0 to 9. Source: LeCun, Cortes and Burges, the MNIST database (1998).
    """

    label_names = tuple("0123456789")

    def __init__(
        self,
        val_size: NonNegativeInt = 1000,
        limit: PositiveInt | None = None,
        binarize: Binarize = "none",
        binarize_seed: Seed = 0,
    ) -> None:
        self.val_size, self.limit = val_size, limit
        self.binarize, self.binarize_seed = binarize, binarize_seed

    def load(self) -> Splits:
        content = np.frombuffer(read(), np.uint8)
        pixels, labels = np.split(content, [(N_TRAIN + N_TEST) * SIDE * SIDE])
        x = torch.from_numpy(pixels.copy()).view(-1, 1, SIDE, SIDE)
        y = torch.from_numpy(labels.astype(np.int64))
        train, val = hold_out(x[:N_TRAIN], y[:N_TRAIN], self.val_size)
        parts = [train, val, (x[N_TRAIN:], y[N_TRAIN:])]
        return image_splits(parts, 255, self.binarize, self.binarize_seed, self.limit)


def read() -> bytes:
    """The images (11000, 28, 28), then their labels (11000,), uint8; UserError if the file is missing or damaged."""
    try:
        packed = FILE.read_bytes()
    except OSError as error:
        raise UserError(f"{FILE} cannot be read ({error.strerror}): install vaecli again") from None
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise UserError(f"{FILE} is damaged (its checksum differs): install vaecli again")
    return bz2.decompress(packed)
