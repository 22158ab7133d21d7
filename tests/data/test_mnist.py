"""The MNIST family: read from files without a network, and clear about files that are missing or damaged."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.mnist_files import SOURCES, fake, write_idx
from support.splits import EVERYTHING, frequencies, load

from vaecli.datasets.mnist import FILES, MNIST, default_root
from vaecli.datasets.split import Split
from vaecli.utils.errors import UserError

REAL = os.environ.get("VAE_TEST_MNIST")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to reach the network fails, and is written down."""
    tried: list[Any] = []

    def refuse(*args: Any, **kwargs: Any) -> Any:
        tried.append(args)
        raise OSError("Network is unreachable")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


@pytest.mark.parametrize(("dataset", "source"), SOURCES.items())
def test_files_that_are_there_need_no_network(dataset: str, source: str, tmp_path: Path, no_network: list[Any]) -> None:
    folder = fake(tmp_path, source)
    splits = load(f"dataset={dataset}", f"dataset.root={tmp_path}", "dataset.val_size=6")
    assert not no_network
    assert splits.val is not None
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [24, 6, 10]
    stored = np.frombuffer((folder / FILES[0]).read_bytes()[16:], np.uint8).reshape(30, 1, 28, 28)
    both = torch.cat([splits.train.x, splits.val.x])  # the last ones are set aside
    assert np.array_equal(both.numpy(), stored)
    np.testing.assert_allclose(splits.train.batch(EVERYTHING).numpy(), stored[:24].astype(np.float32) / 255, rtol=1e-6)
    assert torch.as_tensor(splits.val.y).tolist() == [24 % 10, 25 % 10, 6, 7, 8, 9]


def test_mnist_is_for_its_default_val_size(tmp_path: Path) -> None:
    fake(tmp_path, "MNIST")
    with pytest.raises(UserError, match=r"dataset\.val_size=10000: should be at most 29"):
        load("dataset=mnist", f"dataset.root={tmp_path}")


@pytest.mark.parametrize(("dataset", "source"), SOURCES.items())
def test_missing_files_are_named(
    dataset: str, source: str, tmp_path: Path, no_network: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as refused:
        load(f"dataset={dataset}", f"dataset.root={tmp_path}")
    assert no_network
    expect_advice(str(refused.value), tmp_path / source / "raw")


def test_one_missing_file_is_not_overlooked(tmp_path: Path, no_network: list[Any]) -> None:
    folder = fake(tmp_path, "MNIST")
    (folder / FILES[3]).unlink()
    with pytest.raises(UserError) as refused:
        load("dataset=mnist", f"dataset.root={tmp_path}", "dataset.val_size=0")
    expect_advice(str(refused.value), folder)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated images": lambda folder: truncate(folder / FILES[0]),
    "empty labels": lambda folder: (folder / FILES[1]).write_bytes(b""),
    "not idx": lambda folder: (folder / FILES[0]).write_text("<html>404 Not Found</html>"),
    "fewer labels": lambda folder: write_idx(folder / FILES[1], np.zeros(29)),
    "another size": lambda folder: write_idx(folder / FILES[0], np.zeros((30, 32, 32))),
    "labels for images": lambda folder: write_idx(folder / FILES[0], np.zeros(30)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_named(damage: str, tmp_path: Path, no_network: list[Any]) -> None:
    folder = fake(tmp_path, "MNIST")
    DAMAGE[damage](folder)
    with pytest.raises(UserError) as refused:
        load("dataset=mnist", f"dataset.root={tmp_path}", "dataset.val_size=0")
    expect_advice(str(refused.value), folder)
    assert not no_network


def expect_advice(message: str, folder: Path) -> None:
    assert len(message.splitlines()) <= 2
    assert str(folder) in message
    assert all(name in message for name in FILES)
    assert "dataset=mnist_small" in message


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAE_DATA", str(tmp_path))
    assert default_root() == MNIST("MNIST").root == tmp_path
    monkeypatch.delenv("VAE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache" / "vaecli"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_root() == Path.home() / ".cache" / "vaecli"
    assert MNIST("MNIST", root="~/data").root == Path.home() / "data"


@pytest.mark.skipif(REAL is None, reason="needs the real MNIST: set VAE_TEST_MNIST to the folder that holds MNIST/raw")
def test_real_mnist() -> None:
    splits = MNIST("MNIST", root=REAL).load()
    assert splits.val is not None
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [50_000, 10_000, 10_000]
    assert splits.train.x_shape == (1, 28, 28)
    both = Split(torch.cat([splits.train.x, splits.val.x]), levels=255)
    assert float(both.mean().mean()) == pytest.approx(0.1306604762738429, rel=1e-6)
    assert torch.as_tensor(splits.train.y)[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    whole = MNIST("MNIST", root=REAL, val_size=0).load()
    assert whole.val is None
    assert torch.equal(whole.train.x, both.x)
    drawn = MNIST("MNIST", root=REAL, binarize="static", limit=2000).load()
    frequencies(drawn.test.batch(EVERYTHING), splits.test.head(2000).batch(EVERYTHING))
