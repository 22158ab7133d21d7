"""The handwritten digits that come with scikit-learn: no download."""

import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from vaecli.datasets.base import Dataset
from vaecli.datasets.split import Binarize, Splits, hold_out, image_splits
from vaecli.utils.errors import UserError
from vaecli.utils.types import NonNegativeInt, PositiveInt, Seed

TEST_SIZE = 300
REINSTALL = "pip install --force-reinstall scikit-learn"


class Digits(Dataset):
    """1,797 images of 8x8 pixels with 17 grey levels, scaled to [0, 1]; labels 0 to 9.

    The images come ordered by writer, so they are shuffled once, with a fixed seed, before the last 300 become the
    test set and the `val_size` before them the validation set. Source: Alpaydin and Kaynak (1998), UCI repository.
    """

    label_names = tuple("0123456789")

    def __init__(
        self,
        val_size: NonNegativeInt = 200,
        limit: PositiveInt | None = None,
        binarize: Binarize = "none",
        binarize_seed: Seed = 0,
    ) -> None:
        self.val_size, self.limit = val_size, limit
        self.binarize, self.binarize_seed = binarize, binarize_seed

    def load(self) -> Splits:
        try:
            images, labels = read()
            intact = images.shape == (1797, 8, 8) and labels.shape == (1797,)
            intact = intact and bool(np.isin(images, np.arange(17)).all())
        except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
            raise UserError(f"scikit-learn's digits cannot be read ({error}): {REINSTALL}") from None
        if not intact:
            raise UserError(f"scikit-learn's digits are not 1,797 images of 8x8 values from 0 to 16: {REINSTALL}")
        x = torch.from_numpy(images).to(torch.uint8).unsqueeze(1)  # (1797, 1, 8, 8)
        y = torch.from_numpy(labels).to(torch.int64)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = x[order], y[order]
        train, val = hold_out(x[:-TEST_SIZE], y[:-TEST_SIZE], self.val_size)
        parts = [train, val, (x[-TEST_SIZE:], y[-TEST_SIZE:])]
        return image_splits(parts, 16, self.binarize, self.binarize_seed, self.limit)


def read() -> tuple[np.ndarray, np.ndarray]:
    """The images (1797, 8, 8) and labels (1797,) as `sklearn.datasets.load_digits` reads them.

    Its file is read directly where it is found: importing scikit-learn takes as long as importing torch.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise UserError("dataset=digits needs scikit-learn: pip install scikit-learn")
    path = Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz"
    rows = np.loadtxt(path, delimiter=",")
    return rows[:, :64].reshape(-1, 8, 8), rows[:, 64]
