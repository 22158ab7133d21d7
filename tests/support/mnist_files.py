"""The MNIST family's files, small and of random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaecli.datasets.mnist import FILES

SOURCES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def fake(root: Path, source: str, size: int = 28, n_train: int = 30, n_test: int = 10) -> Path:
    """The four files, small; their folder."""
    folder, rng = root / source / "raw", np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i, n in enumerate((n_train, n_test)):
        write_idx(folder / FILES[2 * i], rng.integers(0, 256, (n, size, size)))
        write_idx(folder / FILES[2 * i + 1], np.arange(n) % 10)
    return folder
