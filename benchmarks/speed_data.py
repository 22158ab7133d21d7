"""The pictures that the rows of benchmarks/speed.py train on, for programs that have NumPy and no vaecli."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def images(data: str, n: int) -> NDArray[Any]:
    """The first n of MNIST's training images, (n, 784) of grey values 0 to 255."""
    path = Path(data) / "MNIST/raw/train-images-idx3-ubyte"
    return np.fromfile(path, np.uint8, offset=16).reshape(-1, 784)[:n]
