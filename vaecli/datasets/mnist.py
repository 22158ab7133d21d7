"""MNIST and its two drop-in relatives, read through torchvision."""

import os
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vaecli.datasets.split import Binarize, Splits, hold_out, image_splits
from vaecli.errors import UserError
from vaecli.validation import NonNegativeInt, PositiveInt, Seed

FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
LABELS = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}  # fmt: skip


def default_root() -> Path:
    """Where data sets are kept: the environment variable VAE_DATA, else a folder in the user's cache."""
    if os.environ.get("VAE_DATA"):
        return Path(os.environ["VAE_DATA"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vaecli"


class MNIST:
    """60,000 grey images of 28x28 pixels to train on, the last `val_size` of them set aside, and 10,000 to test.

    source: MNIST (LeCun et al., 1998), FashionMNIST (Xiao et al., 2017) or KMNIST (Clanuwat et al., 2018)
    root: the folder that holds `<source>/raw`; None: see `default_root`. Files that are there are read without a
        network, otherwise torchvision downloads them.
    """

    grid = None

    def __init__(
        self,
        source: Literal["MNIST", "FashionMNIST", "KMNIST"],
        root: str | None = None,
        val_size: NonNegativeInt = 10_000,
        limit: PositiveInt | None = None,
        binarize: Binarize = "none",
        binarize_seed: Seed = 0,
    ) -> None:
        self.source, self.root = source, Path(root).expanduser() if root else default_root()
        self.val_size, self.limit = val_size, limit
        self.binarize, self.binarize_seed = binarize, binarize_seed
        self.label_names = LABELS[source]

    def load(self) -> Splits:
        train, val = hold_out(*self._read(train=True), self.val_size)
        return image_splits([train, val, self._read(train=False)], 255, self.binarize, self.binarize_seed, self.limit)

    def _read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) uint8 and labels (N,) int64 of one of the two original parts."""
        import torchvision

        folder = self.root / self.source / "raw"
        cls = getattr(torchvision.datasets, self.source)
        kept = next(parent for parent in (folder, *folder.parents) if parent.exists())
        there = all((folder / name).is_file() for name in FILES)
        try:
            part = cls(self.root, train=train, download=not there)
        except Exception as error:  # torchvision lets OSError, RuntimeError, ValueError and AssertionError through
            remove_empty(folder, kept)
            raise UserError(self._advice(folder, there, error)) from None
        if part.data.shape[1:] != (28, 28) or len(part.data) != len(part.targets):
            raise UserError(self._advice(folder, True, f"images of shape {tuple(part.data.shape)}"))
        return part.data.unsqueeze(1).to(torch.uint8), part.targets.to(torch.int64)

    def _advice(self, folder: Path, there: bool, error: object) -> str:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "cut short, or not in the IDX format"
        problem = (
            "cannot be read: delete them to fetch them anew" if there else "are not there and cannot be downloaded"
        )
        return (
            f"the {self.source} files in {folder} {problem} ({reason}).\n"
            f"Expected there: {', '.join(FILES)} (or set dataset.root or VAE_DATA); dataset=digits needs no download."
        )


def remove_empty(folder: Path, kept: Path) -> None:
    """Take away the empty folders from `folder` up to, but not including, `kept`: what a failed download leaves."""
    while folder != kept and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
