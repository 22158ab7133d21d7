"""MNIST and its two drop-in relatives: files in the IDX format, downloaded from torchvision's mirrors."""

import gzip
import math
import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.base import Dataset
from vaecli.datasets.split import Binarize, Splits, hold_out, image_splits
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, irregular, replace_file
from vaecli.utils.memory import check_memory
from vaecli.utils.types import NonNegativeInt, PositiveInt, Seed, Values

FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
LABELS = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}  # fmt: skip


def default_root() -> Path:
    """The folder of downloaded data sets: the environment variable VAE_DATA, else a folder in the user's cache."""
    if os.environ.get("VAE_DATA"):
        return expanded(os.environ["VAE_DATA"])
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vaecli"


def complete(folder: Path) -> bool:
    """Whether all four files are in a `raw` folder."""
    return all((folder / name).is_file() for name in FILES)


def read_idx(path: Path) -> Tensor:
    """Images (N, H, W) or labels (N,), uint8, of an IDX file; ValueError with the reason if it is damaged.

    Two bytes 0, one for the type, one for the number of dimensions, four for the length of each, and the values.
    torchvision's readers only report a failed assertion for a damaged file.
    """
    n_dims = 3 if "images" in path.name else 1
    size, magic = path.stat().st_size, bytes([0, 0, 8, n_dims])
    with open(path, "rb") as file:
        header = file.read(4 + 4 * n_dims)
        if len(header) < 4 + 4 * n_dims:
            raise ValueError(f"{path.name} has {size} bytes, not even a header's {4 + 4 * n_dims}")
        if header[:4] != magic:
            raise ValueError(f"{path.name} begins with the bytes {header[:4].hex(' ')}, not with {magic.hex(' ')}")
        shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4))
        expected = len(header) + math.prod(shape)
        if size != expected:
            raise ValueError(f"{path.name} has {size:,} bytes, but its header announces {expected:,}")
        check_memory(2 * size, str(path), "use a smaller file")
        return torch.from_numpy(np.fromfile(file, np.uint8).reshape(shape))


class MNIST(Dataset):
    """60,000 grey images of 28x28 pixels to train on, the last `val_size` of them set aside, and 10,000 to test.

    source: MNIST (LeCun et al., 1998), FashionMNIST (Xiao et al., 2017) or KMNIST (Clanuwat et al., 2018)
    root: the folder that holds `<source>/raw`; None: see `default_root`. Existing files are read without a
        network; others are downloaded and compared with their checksum.
    """

    label_names: tuple[str, ...]

    def __init__(
        self,
        source: Literal["MNIST", "FashionMNIST", "KMNIST"],
        root: str | None = None,
        val_size: NonNegativeInt = 10_000,
        limit: PositiveInt | None = None,
        binarize: Binarize = "none",
        binarize_seed: Seed = 0,
    ) -> None:
        self.source, self.root = source, expanded(root) if root else default_root()
        self.val_size, self.limit = val_size, limit
        self.binarize, self.binarize_seed = binarize, binarize_seed
        self.label_names = LABELS[source]

    @classmethod
    def localise(cls, settings: Values, keep: bool) -> dict[str, str]:
        """The default folder instead of one that lacks the files, or that another user's run names.

        So a folder that a run names is only read from: missing files are downloaded to this user's own folder.
        """
        root = settings.get("root")
        if root is None or (keep and complete(Path(str(root), str(settings.get("source")), "raw"))):
            return {}
        return {"root": str(default_root())}

    def load(self) -> Splits:
        folder = self.root / self.source / "raw"
        for name in FILES:
            self._provide(folder, name)
        train, val = hold_out(*self._read(folder, FILES[:2]), self.val_size)
        test = self._read(folder, FILES[2:])
        return image_splits([train, val, test], 255, self.binarize, self.binarize_seed, self.limit)

    def _read(self, folder: Path, names: list[str]) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) uint8 and labels (N,) int64 of one of the two original parts."""
        try:
            x, y = (read_idx(folder / name) for name in names)
            y = y.long()
        except (OSError, ValueError) as error:
            raise UserError(self._advice(folder, "cannot be read", error)) from None
        problem = None
        if not len(x) or x.shape[1:] != (28, 28):
            problem = f"{names[0]} holds images of shape {tuple(x.shape)}, not (N, 28, 28)"
        elif len(x) != len(y):
            problem = f"{names[0]} holds {len(x):,} images, {names[1]} {len(y):,} labels"
        elif y.max() >= len(self.label_names):
            problem = f"{names[1]} holds the label {y.max()}; they go from 0 to {len(self.label_names) - 1}"
        if problem:
            raise UserError(self._advice(folder, "cannot be used", problem))
        return x.unsqueeze(1), y

    def _provide(self, folder: Path, name: str) -> None:
        """Download a missing file; extract a file again whose extraction was cut short."""
        path, packed = folder / name, folder / f"{name}.gz"
        for place in (path, packed):
            if kind := irregular(place):
                raise UserError(self._advice(folder, "cannot be read", f"{place.name} is {kind}"))
        if path.is_file() and is_whole(path):
            return
        import torchvision  # takes a second and more

        known = getattr(torchvision.datasets, self.source)
        md5 = dict(known.resources)[packed.name]
        if path.is_file():
            if not torchvision.datasets.utils.check_integrity(packed, md5):
                return
        else:
            self._download(folder, packed, known.mirrors, md5)
        try:
            with gzip.open(packed) as file:
                content = file.read()
        except (OSError, EOFError) as error:
            raise UserError(self._advice(folder, "cannot be read", f"{packed.name}: {error}")) from None
        replace_file(path, lambda file: file.write(content))

    def _download(self, folder: Path, packed: Path, mirrors: list[str], md5: str) -> None:
        """Fetch one compressed file from the first mirror that has it complete; an existing complete file is kept."""
        from torchvision.datasets.utils import download_url

        kept, problems = next(parent for parent in (folder, *folder.parents) if parent.exists()), []
        for mirror in mirrors:
            try:
                return download_url(f"{mirror}{packed.name}", str(folder), packed.name, md5)
            except Exception as error:  # errors of urllib, http, ssl or torchvision
                problems.append(str(error) or type(error).__name__)
        remove_empty(folder, kept)
        reason = problems[0].strip().splitlines()[0]
        raise UserError(self._advice(folder, "are not there and cannot be downloaded", f"{packed.name}: {reason}"))

    def _advice(self, folder: Path, problem: str, reason: object) -> str:
        remedy = "" if "downloaded" in problem else "; delete a damaged file to fetch it anew"
        return (
            f"the {self.source} files in {folder} {problem} ({reason}){remedy}.\n"
            f"Expected there: {', '.join(FILES)} (or set dataset.root or VAE_DATA); "
            "dataset=mnist_small needs no download."
        )


def is_whole(path: Path) -> bool:
    """Whether an IDX file is as long as its header says."""
    try:
        read_idx(path)
    except (OSError, ValueError):
        return False
    return True


def remove_empty(folder: Path, kept: Path) -> None:
    """Remove the empty folders that a failed download leaves, from `folder` up to, but not including, `kept`."""
    while folder != kept and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
