"""The memory that a training takes beside PyTorch itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REAL = os.environ.get("VAE_TEST_MNIST")


def peak(*words: str, cwd: Path) -> float:
    """The largest resident set of a process of Python, in MB."""
    process = subprocess.Popen([sys.executable, *words], cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return used.ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="needs the real MNIST: set VAE_TEST_MNIST to the folder that holds MNIST/raw")
def test_mnist_takes_little_more_than_torch(tmp_path: Path) -> None:
    """At most 400 MB more, with its 47 MB of images as bytes, and the same after more epochs."""
    train = ("-m", "vaecli", "train", "dataset=mnist", f"dataset.root={REAL}", "images.every_epochs=99")
    alone = peak("-c", "import torch", cwd=tmp_path)
    one, three = (peak(*train, f"epochs={n}", f"output=run{n}", cwd=tmp_path) for n in (1, 3))
    assert three - alone <= 400
    assert three - one <= 40
