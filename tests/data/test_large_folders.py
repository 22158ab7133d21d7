"""Folders of more images than memory should hold: their pixels lie in a nameless file, and nothing else changes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.command_line import called

from vaecli.datasets.images import Images
from vaecli.datasets.reading import numpy_files, pixel_file
from vaecli.datasets.split import Binarize, FileSplit, Split, Splits
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("without_hydra")

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 grey images of each of two kinds, saved in colour."""
    for kind in ("cats", "dogs"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(20):
            grey = RNG.integers(0, 256, (6, 5), np.uint8)
            Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "pets" / kind / f"{i}.png")
    return tmp_path / "pets"


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "MAP_ABOVE", 0)


def parts(splits: Splits) -> list[Split]:
    return [part for part in splits if part is not None]


@pytest.mark.parametrize("limit", [None, 12])
@pytest.mark.parametrize("binarize", ["none", "threshold", "static", "dynamic"])
def test_a_file_gives_what_memory_gives(
    binarize: Binarize, limit: int | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, held = (Images(str(folder), binarize=binarize, limit=limit) for _ in range(2))
    in_memory = whole.load()
    monkeypatch.setattr(numpy_files, "MAP_ABOVE", 0)
    on_disk = held.load()
    assert whole.items == held.items
    assert whole.settings_from_data == held.settings_from_data == {"colour": "grey"}
    assert in_memory.sha256() == on_disk.sha256()
    for one, other in zip(parts(in_memory), parts(on_disk), strict=True):
        assert isinstance(other, FileSplit)
        assert (one.x_shape, one.levels, one.redraw) == (other.x_shape, other.levels, other.redraw)
        assert other.x_shape == (1, 6, 5)
        assert torch.equal(torch.as_tensor(one.y), torch.as_tensor(other.y))
        assert torch.equal(torch.as_tensor(one.rows), torch.as_tensor(other.rows))
        order = torch.randperm(len(one))
        for mine, theirs in zip(one.gathered(order, 4), other.gathered(order, 4), strict=True):
            assert torch.equal(mine, theirs)


def test_only_chosen_images_take_room(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "posix_fallocate", lambda file, *place: taken.append(place))
    shape, rows = (10_000, 3, 64, 64), torch.tensor([5, 6, 9_999])
    x = pixel_file.pixel_file("x", shape, torch.uint8, rows)
    assert taken == [(5 * 12288, 2 * 12288), (9_999 * 12288, 12288)]
    x[rows] = 7
    assert x.shape == shape
    assert x[rows].eq(7).all()
    assert not x[4].any()


@pytest.mark.usefixtures("small_is_large")
def test_a_full_disk_is_said_before_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"its pixels take 3.6 kB on the disk, and .* free: set .* TMPDIR to"):
        Images(str(folder)).load()


def test_training_and_commands(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["dataset=images", "dataset.path=pets", "architecture.hidden=[8]", "latent_dim=2", "epochs=2"]
    means = []
    for above in (0, 2**30):
        monkeypatch.setattr(numpy_files, "MAP_ABOVE", above)
        for line in (["train", *words, f"output=run{above}"], ["encode", f"run=run{above}", f"output={above}.npz"]):
            done = called(*line, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        means.append(np.load(tmp_path / f"{above}.npz")["loc"])
    np.testing.assert_array_equal(*means)
