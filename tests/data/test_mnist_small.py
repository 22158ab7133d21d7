"""The digits that come with vaecli: the first of MNIST's, whole, and made by a script that repeats."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.configurations import composed
from support.splits import load

from vaecli.datasets import mnist_small
from vaecli.datasets.mnist import MNIST
from vaecli.datasets.mnist_small import FILE, SHA256, MNISTSmall
from vaecli.utils.errors import UserError

REAL = os.environ.get("VAE_TEST_MNIST")
TOOL = Path(__file__).parents[2] / "tools/mnist_small.py"
needs_mnist = pytest.mark.skipif(REAL is None, reason="set VAE_TEST_MNIST to the folder that holds MNIST/raw")


def test_it_is_the_default() -> None:
    assert composed()["dataset"]["name"] == "mnist_small"


def test_its_parts() -> None:
    splits = load("dataset=mnist_small")
    assert splits.val is not None
    assert [len(part) for part in splits] == [9000, 1000, 1000]
    assert splits.train.x_shape == (1, 28, 28)
    assert torch.as_tensor(splits.train.y)[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert torch.as_tensor(splits.test.y)[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert 0.12 < float(splits.train.mean().mean()) < 0.14  # MNIST's is 0.1307


def test_val_size_takes_the_last_of_the_10_000() -> None:
    whole, usual = MNISTSmall(val_size=0).load(), MNISTSmall().load()
    assert whole.val is None
    assert usual.val is not None
    assert torch.equal(whole.train.x[9000:], usual.val.x)
    with pytest.raises(UserError, match=r"dataset\.val_size=10000: should be at most 9999"):
        MNISTSmall(val_size=10_000).load()


@needs_mnist
def test_it_is_the_first_of_mnist() -> None:
    mnist, small = MNIST("MNIST", root=REAL, val_size=0).load(), MNISTSmall(val_size=0).load()
    for large, part, n in ((mnist.train, small.train, 10_000), (mnist.test, small.test, 1000)):
        assert torch.equal(part.x, large.x[:n])
        assert torch.equal(torch.as_tensor(part.y), torch.as_tensor(large.y)[:n])


@pytest.mark.slow
@needs_mnist
def test_the_script_makes_the_same_bytes(tmp_path: Path) -> None:
    words = [sys.executable, str(TOOL), str(REAL), str(tmp_path / "made.bz2")]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "made.bz2").read_bytes() == FILE.read_bytes()


def test_its_checksum() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256
    assert FILE.stat().st_size < 1_600_000


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "is damaged"), (FILE.read_bytes()[:-1], "is damaged")],
    ids=["missing", "empty", "cut"],
)
def test_a_damaged_file(content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "digits.bz2"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(mnist_small, "FILE", path)
    with pytest.raises(UserError) as refused:
        MNISTSmall().load()
    assert f"{path} {message}" in str(refused.value)
    assert "install vaecli again" in str(refused.value)


def test_its_licence_is_in_the_package() -> None:
    note = FILE.with_suffix(".txt").read_text()
    assert "Yann LeCun" in note
    assert "Creative Commons Attribution-Share Alike 3.0" in note
    project = (TOOL.parents[1] / "pyproject.toml").read_text()
    assert 'license-files = ["LICENSE", "vaecli/datasets/mnist_small.txt"]' in project
    assert "CC-BY-SA-3.0" in project
