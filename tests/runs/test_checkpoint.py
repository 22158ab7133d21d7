"""Checkpoints: what comes back is what was saved, damage is noticed, and nothing in a file is executed."""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.checkpoints import SMALL, State, make, refused, same, write_run
from support.configurations import composed
from support.making import prepare

from vaecli.models.load import load_run
from vaecli.runs import checkpoint
from vaecli.training.totals import mean_metrics
from vaecli.utils.errors import UserError


@pytest.fixture(scope="module")
def original() -> State:
    return make()


@pytest.fixture
def state(original: State) -> State:
    return copy.deepcopy(original)


@pytest.fixture
def saved(state: State, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoints" / "best.pt"
    checkpoint.save(path, state)
    return path


# --- round trip


def test_round_trip(state: State, saved: Path) -> None:
    loaded = checkpoint.load(saved)
    assert loaded.keys() == checkpoint.KEYS
    assert loaded["format"] == checkpoint.FORMAT
    for key, value in state.items():
        expected = dict(value) if key == "model" else value  # an OrderedDict with metadata comes back as it was
        found = dict(loaded[key]) if key == "model" else loaded[key]
        assert same(found, expected), key


def test_plain_torch_loads_it_with_weights_only(saved: Path) -> None:
    assert torch.load(saved, weights_only=True)["step"] == 1


@pytest.mark.parametrize(
    "overrides",
    [("optimizer=sgd", "scheduler=cosine"), ("optimizer=adamw", "scheduler=one_cycle"), ("scheduler=exponential",)],
)
def test_every_kind_of_state_is_plain(overrides: tuple[str, ...], tmp_path: Path) -> None:
    state = make(*overrides)
    checkpoint.save(tmp_path / "a.pt", state)
    loaded = checkpoint.load(tmp_path / "a.pt")
    assert same(loaded["optimizer"], state["optimizer"])
    assert same(loaded["scheduler"], state["scheduler"])


def test_a_run_gives_its_model_back(original: State, tmp_path: Path) -> None:
    run = load_run(str(write_run(tmp_path / "run", original)), device="cpu")
    job = prepare(composed(*SMALL, "seed=9"))
    job.model.load_state_dict(original["model"])
    assert mean_metrics(run.model, job.objective, job.splits.test) == mean_metrics(
        job.model, job.objective, job.splits.test
    )
    assert not run.model.training
    assert run.config == original["config"]
    assert run.epoch == 1
    assert run.dataset.load().sha256() == job.splits.sha256()
    assert all(not p.is_meta for p in [*run.model.parameters(), *run.model.buffers()])


def test_saving_replaces_the_file_whole_or_not_at_all(
    state: State, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        checkpoint.save(saved, state)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["best.pt"]


# --- damage


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "best.pt", "there is no checkpoint")


def tensor_offset(path: Path, least: int = 256) -> int:
    """Where the bytes of a tensor of at least so many bytes begin in the file."""
    with zipfile.ZipFile(path) as archive:
        entry = next(e for e in archive.infolist() if "/data/" in e.filename and e.file_size >= least)
        header = path.read_bytes()[entry.header_offset : entry.header_offset + 30]
    name, extra = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    return entry.header_offset + 30 + name + extra


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_a_flipped_bit_in_a_tensor_is_noticed(saved: Path) -> None:
    offset = tensor_offset(saved)
    flip(saved, offset + 17, bit=3)
    torch.load(saved, weights_only=True)  # PyTorch itself does not notice
    refused(saved, "do not match their checksum")
    flip(saved, offset + 17, bit=3)
    checkpoint.load(saved)


def test_a_flipped_bit_anywhere_is_noticed_or_harmless(saved: Path) -> None:
    """What loads in spite of it (a bit of padding) is what was saved; what does not is refused in one line."""
    content, whole = saved.read_bytes(), checkpoint.load(saved)
    rng, noticed = np.random.default_rng(0), 0
    for position in rng.integers(0, len(content), 150):
        saved.write_bytes(content)
        flip(saved, int(position), int(rng.integers(8)))
        try:
            found = checkpoint.load(saved)
        except UserError:
            noticed += 1
        else:
            assert same(found, whole)
    assert noticed > 50


def test_a_truncated_file_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for length in (0, 1, 2, 10, 100, len(content) // 2, len(content) - 100, len(content) - 1):
        saved.write_bytes(content[:length])
        refused(saved)


def test_a_cut_or_scrambled_pickle_is_refused(tmp_path: Path) -> None:
    """The format from before PyTorch's zip files: the unpickler meets the damage itself."""
    path = tmp_path / "best.pt"
    torch.save({"a": torch.zeros(3), "b": [1.5, "text", 2**40]}, path, _use_new_zipfile_serialization=False)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(content[: rng.integers(1, len(content) + 1)])
        for position in rng.integers(0, len(changed), rng.integers(0, 4)):
            changed[position] = rng.integers(256)
        path.write_bytes(changed)
        refused(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02J\x01", b"\x80\x02}", b"PK\x03\x04", b"hello", bytes(1000)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    refused(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pt").mkdir()
    refused(tmp_path / "best.pt")


@pytest.mark.parametrize("value", [{}, [1, 2], torch.zeros(3), 5, {"model": {}, "config": {}}])
def test_foreign_contents_are_refused(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "best.pt")
    refused(tmp_path / "best.pt", "not a vaecli checkpoint")


@pytest.mark.parametrize("key", sorted(checkpoint.KEYS))
def test_a_missing_key_is_refused(key: str, saved: Path) -> None:
    loaded = checkpoint.load(saved)
    del loaded[key]
    torch.save(loaded, saved)
    refused(saved)


def test_another_format_is_refused(saved: Path) -> None:
    torch.save(checkpoint.load(saved) | {"format": 99}, saved)
    refused(saved, "format 99")


CHANGES: dict[str, Callable[[State], object]] = {
    "a weight": lambda s: next(iter(s["model"].values())).view(-1)[0].add_(1e-3),
    "a weight's name": lambda s: s["model"].update(extra=s["model"].popitem()[1]),
    "the step": lambda s: s.update(step=2),
    "a type": lambda s: s.update(step=1.0),
    "a key of the configuration": lambda s: s["config"].update(seed=1),
    "a shape": lambda s: s.update(x_shape=[8, 8, 1]),
    "the random state": lambda s: s["rng"]["cpu"][5].add_(1),
    "something added": lambda s: s.update(more=0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_checksum_covers(change: str, state: State) -> None:
    before = checkpoint.sha256(state)
    CHANGES[change](state)
    assert checkpoint.sha256(state) != before


def test_the_checksum_tells_kinds_of_equal_bytes_apart() -> None:
    values = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), [0.0] * 4, (0.0,) * 4, {0: 0.0},
              None, torch.zeros(()), torch.zeros(0), "", 0, False, 0.0]  # fmt: skip
    assert len({checkpoint.sha256({"a": value}) for value in values}) == len(values)


@pytest.mark.parametrize("odd", [torch.zeros(3).to_sparse(), torch.zeros(2, device="meta")], ids=["sparse", "meta"])
def test_a_tensor_without_plain_memory_is_refused(odd: torch.Tensor, original: State, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"format": checkpoint.FORMAT, **original, "sha256": "0", "rng": {"cpu": odd}}, path)
    refused(path)
