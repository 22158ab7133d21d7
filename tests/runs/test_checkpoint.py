"""Checkpoints: what comes back is what was saved, damage is noticed, and nothing in a file is executed."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.checkpoints import SMALL, State, make, refused, same, write_run
from support.configurations import composed
from support.making import prepare

from vaecli.models.load import load_run
from vaecli.runs import checkpoint
from vaecli.training.totals import mean_metrics
from vaecli.utils.errors import UserError

PAGE = Path(__file__).parents[2] / "docs/python.md"


@pytest.fixture(scope="module")
def original() -> State:
    return make()


@pytest.fixture
def state(original: State) -> State:
    return copy.deepcopy(original)


@pytest.fixture
def saved(state: State, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoints" / "best.safetensors"
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


def test_flat_names_and_one_json_text(state: State, saved: Path) -> None:
    """What any other program finds in the file."""
    with safe_open(saved, "pt") as file:
        assert file.metadata().keys() == {"vaecli"}
        sealed = json.loads(file.metadata()["vaecli"], parse_constant=pytest.fail)  # strict JSON has no NaN
        assert sealed.keys() == {"sha256", "state"}
        text = sealed["state"]
        assert text["config"] == state["config"]
        assert text["best"] == state["best"]
        names = {f"model.{name}" for name in state["model"]}
        names |= {f"optimizer.state.{i}.{key}" for i, one in state["optimizer"]["state"].items() for key in one}
        assert set(file.keys()) == names | {"rng.cpu"}
        for name, tensor in state["model"].items():
            assert same(file.get_tensor(f"model.{name}"), tensor)


def test_the_page_opens_the_weights_without_vaecli(
    state: State, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```python\n((?:(?!```).)*load_file.*?)```", PAGE.read_text(), re.DOTALL)
    assert "vaecli" not in block
    (tmp_path / "outputs").mkdir()
    shutil.copy(saved, tmp_path / "outputs/best.safetensors")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(block, found)
    assert same(found["weights"], {name: state["model"][name] for name in found["weights"]})
    assert found["weights"].keys() == state["model"].keys()


ONE = torch.arange(12.0).reshape(3, 4)
TREES: dict[str, Any] = {
    "plain values": [None, True, False, 0, -1, 2**62, 10**30, 1.0, -0.0, 1e-300, 0.1 + 0.2, "",
                     "a.b", "$tensor", "é\ud800"],
    "not finite": [float("inf"), -float("inf"), float("nan"), (float("nan"),)],
    "containers": {"l": [], "t": (), "d": {}, "n": [(1, [2, (3,)]), {"a": ({},)}]},
    "integer keys": {0: 1, -5: {7: 8}, 2**63 - 1: 0, "0": 2},
    "keys like our own": {"$tensor": "x", "b": {"$dict": [[1, 2]]}, "": {"": 0}, "$": ()},
    "order": {"b": 1, "a": {2: 0, 1: 0}},
    "types": [torch.ones(3, dtype=dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64,
              torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64)],
    "shapes": [torch.tensor(3.5), torch.tensor(7), torch.zeros(0), torch.zeros(0, 3), torch.zeros(2, 0),
               torch.ones(1, 1)],
    "not contiguous": [ONE.t(), ONE[:, 1], ONE[::2], ONE.expand(2, 3, 4)],
    "shared memory": {"a": ONE, "b": ONE, "c": ONE[1:], "d": ONE.view(-1)[3:5], "e": ONE.detach()},
    "random state": {"cpu": torch.get_rng_state()},
    "not finite tensors": torch.tensor([float("inf"), -float("inf"), float("nan"), -0.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_what_comes_back_has_its_types(name: str, state: State, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a", state | {"more": TREES[name]})
    assert same(checkpoint.load(tmp_path / "a")["more"], TREES[name])


@pytest.mark.parametrize(
    "value", [{1, 2}, b"x", np.float64(1.5), np.zeros(2), torch.float32, {None: 1}, {1.5: 2}, {True: 1}, {2**64: 1},
              {"a": {"b": ONE}, "a.b": ONE}, ONE.to_sparse(), ONE.to("meta")],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_could_not_be_read_back_is_not_written(value: Any, state: State, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        checkpoint.save(tmp_path / "a", state | {"more": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "overrides",
    [("optimizer=sgd", "scheduler=cosine"), ("optimizer=adamw", "scheduler=one_cycle"), ("scheduler=exponential",)],
)
def test_every_kind_of_state_is_plain(overrides: tuple[str, ...], tmp_path: Path) -> None:
    state = make(*overrides)
    checkpoint.save(tmp_path / "a.safetensors", state)
    loaded = checkpoint.load(tmp_path / "a.safetensors")
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
    assert [path.name for path in saved.parent.iterdir()] == ["best.safetensors"]


# --- damage


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "best.safetensors", "there is no checkpoint")


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_a_flipped_bit_in_a_tensor_is_noticed(saved: Path) -> None:
    size = saved.stat().st_size
    flip(saved, size - 17, bit=3)
    load_file(saved)  # safetensors itself does not notice
    refused(saved, "do not match their checksum")
    flip(saved, size - 17, bit=3)
    checkpoint.load(saved)


def test_a_flipped_bit_anywhere_is_noticed_or_harmless(saved: Path) -> None:
    """What loads in spite of it (a space of the header's) is what was saved; what does not is refused in one line."""
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
    assert noticed > 140


def test_a_changed_character_of_the_text_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    changed = content.replace(b'\\"latent_dim\\": 2', b'\\"latent_dim\\": 3')
    assert changed != content
    saved.write_bytes(changed)
    refused(saved, "do not match their checksum")


def test_a_truncated_file_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for length in (0, 1, 2, 10, 100, len(content) // 2, len(content) - 100, len(content) - 1):
        saved.write_bytes(content[:length])
        refused(saved)


@pytest.mark.parametrize("content", [b"", b"\x80\x02J\x01", b"\x80\x02}", b"PK\x03\x04", b"hello", bytes(1000)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(content)
    refused(path)


def test_what_does_not_fit_into_memory_is_not_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 200 MB, which takes no place on the disk, where 399 MB are free."""
    with saved.open("r+b") as file:
        file.truncate(2 * 10**8)
    monkeypatch.setattr("vaecli.utils.memory.available", lambda: 399_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    refused(saved, "would take 400 MB of memory, and 399 MB are free")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").mkdir()
    refused(tmp_path / "best.safetensors")


def test_other_programs_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_file({"weight": ONE}, path)
    refused(path, "without the settings that vaecli writes")
    save_file({"weight": ONE}, path, {"format": "pt"})
    refused(path, "without the settings that vaecli writes")
    for text in ("", "{", "5", "[]", "{}", '{"format": 2}'):
        save_file({"weight": ONE}, path, {"vaecli": text})
        refused(path, "not a vaecli checkpoint")
    torch.save({"model": {"weight": ONE}}, path)
    refused(path, "not a vaecli checkpoint")


@pytest.mark.parametrize("key", sorted(checkpoint.KEYS))
def test_a_missing_key_is_refused(key: str, saved: Path) -> None:
    loaded = checkpoint.load(saved)
    del loaded[key]
    saved.write_bytes(checkpoint.encode(loaded))
    refused(saved, "lacks required keys")


def test_another_format_is_refused(saved: Path) -> None:
    saved.write_bytes(checkpoint.encode(checkpoint.load(saved) | {"format": 99}))
    refused(saved, "format 99")


@pytest.mark.parametrize(
    ("key", "value"),
    [("step", 1.0), ("epoch", True), ("best", []), ("rng", None), ("x_shape", (1, 8, 8)), ("config", {1: 2}),
     ("config", {"a": (1, 2)}), ("config", {"a": ONE}), ("model", {"a": 1}), ("model", {1: ONE}), ("format", 2.0)],
)  # fmt: skip
def test_entries_of_another_kind_are_refused(key: str, value: Any, saved: Path) -> None:
    saved.write_bytes(checkpoint.encode(checkpoint.load(saved) | {key: value}))
    refused(saved, "is not a vaecli checkpoint: its ")


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
    before = hash_of(state)
    CHANGES[change](state)
    assert hash_of(state) != before


def hash_of(state: State) -> str:
    _, found, _ = checkpoint.decode(checkpoint.encode(state))
    assert found is not None
    return found


def test_the_checksum_tells_kinds_of_equal_bytes_apart() -> None:
    values = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), [0.0] * 4, (0.0,) * 4, {0: 0.0},
              None, torch.zeros(()), torch.zeros(0), "", 0, False, 0.0]  # fmt: skip
    assert len({hash_of({"a": value}) for value in values}) == len(values)
