"""Make vaecli/datasets/mnist_small.bz2 from MNIST: python tools/mnist_small.py DATA [FILE].

DATA is the folder that holds MNIST/raw, the four original files. The same bytes come out on every machine: libbzip2's
output has been the same since version 1.0. What the file holds, and whose the images are, stands in
vaecli/datasets/mnist_small.txt.
"""

from __future__ import annotations

import bz2
import hashlib
import sys
from pathlib import Path

from vaecli.datasets.mnist import FILES, read_idx
from vaecli.datasets.mnist_small import FILE, N_TEST, N_TRAIN, SHA256


def packed(raw: Path) -> bytes:
    """The first images of MNIST's two parts one after the other, then their labels, compressed."""
    sizes = (N_TRAIN, N_TRAIN, N_TEST, N_TEST)
    parts = [read_idx(raw / name)[:n].numpy() for name, n in zip(FILES, sizes, strict=True)]
    images, labels = parts[0::2], parts[1::2]
    return bz2.compress(b"".join(part.tobytes() for part in [*images, *labels]), 9)


def main(data: str, file: str = str(FILE)) -> None:
    content = packed(Path(data, "MNIST/raw"))
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"these are not the bytes of vaecli's file: sha256 {found}, expected {SHA256}")
    Path(file).write_bytes(content)
    print(f"wrote {file} ({len(content):,} bytes)")


if __name__ == "__main__":
    main(*sys.argv[1:])
