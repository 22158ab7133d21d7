"""Injected faults: whatever a checkpoint holds, opening it ends in a message or in the model that was saved.

A sample runs with the other tests; `make test-faults` runs 3,600 mutated files and 200 cuts and prints the counts.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.checkpoints import State, make, same
from support.mutations import BYTES, SEALED, apart, contents, lie, saved, sealed, together
from support.processes import in_time

from vaecli.commands._inputs import split_observations
from vaecli.models.load import Run, load_run
from vaecli.runs import checkpoint
from vaecli.utils.errors import UserError

GROWTH = 300_000  # kB of memory that all trials together may add
WATCHED = ("open", "os.", "shutil.", "subprocess.", "socket.", "ctypes.", "pty.", "urllib.", "glob.", "tempfile.")
HARMLESS = ("os.listdir", "os.scandir")  # an import looks for modules


class Watch:
    """Notes what the process does to files, processes and the network; an audit hook stays, so it has a switch."""

    def __init__(self) -> None:
        self.on, self.seen, self.allowed = False, list[str](), ""
        sys.addaudithook(self.hook)

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event.startswith(WATCHED) and event not in HARMLESS and str(args[0]) != self.allowed:
            self.seen.append(f"{event} {args}"[:200])


WATCH = Watch()


@contextmanager
def watched(path: Path) -> Iterator[None]:
    """Nothing but `path` is opened, and there is a time limit."""
    WATCH.seen.clear()
    try:
        with in_time():
            WATCH.allowed, WATCH.on = str(path), True
            yield
    finally:
        WATCH.on = False
    assert not WATCH.seen


class Bench:
    """Opens file contents as a run's best checkpoint and counts what becomes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counts, self.said = folder, Counter[str](), ""
        self.path = folder / "checkpoints" / "best.safetensors"
        self.path.parent.mkdir(parents=True)

    def open(self, content: bytes) -> Run | None:
        self.path.write_bytes(content)
        message, run = self.attempt()
        self.said = message
        assert [p.name for p in self.folder.rglob("*")] == ["checkpoints", "best.safetensors"]
        assert len(message.splitlines()) <= 2, message
        assert message.replace("\n", "").isprintable()
        self.counts["refused in a message" if message else "opened"] += 1
        return run

    def attempt(self) -> tuple[str, Run | None]:
        """What a user would read, and the run: one of them."""
        try:
            with watched(self.path):
                return "", load_run(str(self.folder), device="cpu")
        except UserError as error:
            return str(error), None

    def use(self, run: Run) -> None:
        """Data through the model: a message, or figures."""
        try:
            x = split_observations(run, "test", 2, None).x
        except UserError:
            self.counts["of those, data refused in a message"] += 1
            return
        with torch.no_grad():
            run.model(x)


@pytest.fixture(scope="module")
def original() -> State:
    return make()


@pytest.fixture(scope="module")
def whole(original: State) -> bytes:
    return saved(original)


@pytest.fixture(scope="module")
def other() -> bytes:
    return saved(make("decoder=gaussian", "architecture=conv", "architecture.hidden=8", "architecture.channels=[4]"))


@pytest.fixture
def bench(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("VAE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of the tests before
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    found = Bench(tmp_path / "run")
    load_everything(found, whole)
    return found


def load_everything(bench: Bench, whole: bytes) -> None:
    """Once without a watch, so that no import happens under it."""
    bench.path.write_bytes(whole)
    bench.use(load_run(str(bench.folder), device="cpu"))


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def mutate_bytes(bench: Bench, whole: bytes, other: bytes, n: int) -> None:
    """n files changed without regard to their contents: what opens all the same is the model that was saved."""
    load_everything(bench, whole)
    intact = checkpoint.load(bench.path)
    for seed in range(n):
        rng = random.Random(seed)
        run = bench.open(BYTES[seed % len(BYTES)](whole, rng, other))
        if run is None:
            continue
        found = checkpoint.load(bench.path)
        assert same(found, intact) or same(found, checkpoint_of(other, bench)), seed


def checkpoint_of(content: bytes, bench: Bench) -> State:
    """What a whole file holds: a splice can put one file in the place of another."""
    bench.path.write_bytes(content)
    return checkpoint.load(bench.path)


def mutate_contents(bench: Bench, original: State, n: int) -> None:
    """n files with junk in the state, written as we write it: what opens has the file's weights."""
    for seed in range(n):
        try:
            content = saved(contents({**original, "model": dict(original["model"])}, random.Random(seed)))
        except ValueError:  # two tensors of one name, or a name that is not UTF-8
            bench.counts["could not be written"] += 1
            continue
        run = bench.open(content)
        if run is None:
            continue
        found = checkpoint.load(bench.path)
        assert all(same(tensor, found["model"][name]) for name, tensor in run.model.state_dict().items()), seed
        bench.use(run)


def cut_everywhere(bench: Bench, whole: bytes, n: int) -> None:
    """The file cut short at n places, evenly."""
    for i in range(n):
        assert bench.open(whole[: len(whole) * i // n]) is None


def flip_tensors(bench: Bench, whole: bytes, n: int) -> None:
    """One bit of one tensor's contents, n times: the hash notices."""
    header, data = apart(whole)
    rng, start = random.Random(0), len(whole) - len(data)
    del header["__metadata__"]
    for _ in range(n):
        begin, end = rng.choice([one["data_offsets"] for one in header.values() if 0 not in one["shape"]])
        changed = bytearray(whole)
        changed[start + rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
        assert bench.open(bytes(changed)) is None


def lie_about_tensors(bench: Bench, whole: bytes, n: int) -> None:
    """n files with lies in their header, the hash made right: what opens has the file's weights, all finite."""
    for seed in range(n):
        run = bench.open(lie(whole, random.Random(seed)))
        if run is None:
            continue
        found = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
        in_file = load_file(bench.path)
        assert all(same(tensor, in_file[name]) and bool(tensor.isfinite().all()) for name, tensor in found.items()), (
            seed
        )
        bench.use(run)


def run_trials(
    what: str, bench: Bench, measured: Callable[[str], None] | None, trials: Callable[..., None], *args: Any
) -> None:
    before = memory()
    trials(bench, *args)
    assert memory() - before < GROWTH
    if measured is not None:
        counts = ", ".join(f"{n} {kind}" for kind, n in bench.counts.items())
        measured(f"{args[-1]} {what}: {counts}")


def test_a_sample_of_mutated_bytes(bench: Bench, whole: bytes, other: bytes) -> None:
    run_trials("", bench, None, mutate_bytes, whole, other, 100)
    assert bench.counts["refused in a message"] > 50


def test_a_sample_of_mutated_contents(bench: Bench, original: State) -> None:
    run_trials("", bench, None, mutate_contents, original, 100)
    assert bench.counts["refused in a message"] > 30
    assert bench.counts["opened"] > 5


def test_a_sample_of_lies(bench: Bench, whole: bytes) -> None:
    run_trials("", bench, None, lie_about_tensors, whole, 100)
    assert bench.counts["refused in a message"] > 50


def test_a_sample_of_cuts_and_flips(bench: Bench, whole: bytes) -> None:
    run_trials("", bench, None, cut_everywhere, whole, 20)
    run_trials("", bench, None, flip_tensors, whole, 20)


@pytest.mark.faults
def test_mutated_bytes(bench: Bench, whole: bytes, other: bytes, measured: Callable[[str], None]) -> None:
    run_trials("checkpoints with mutated bytes", bench, measured, mutate_bytes, whole, other, 1200)


@pytest.mark.faults
def test_mutated_contents(bench: Bench, original: State, measured: Callable[[str], None]) -> None:
    run_trials("checkpoints with junk under a right hash", bench, measured, mutate_contents, original, 1200)


@pytest.mark.faults
def test_cuts(bench: Bench, whole: bytes, measured: Callable[[str], None]) -> None:
    run_trials("cuts", bench, measured, cut_everywhere, whole, 200)


@pytest.mark.faults
def test_lies(bench: Bench, whole: bytes, measured: Callable[[str], None]) -> None:
    run_trials(
        "checkpoints with lies in the header under a right hash", bench, measured, lie_about_tensors, whole, 1200
    )


@pytest.mark.faults
def test_flipped_bits(bench: Bench, whole: bytes, measured: Callable[[str], None]) -> None:
    run_trials("flipped bits in tensors", bench, measured, flip_tensors, whole, 200)


# --- small files that claim to be large


def with_text(whole: bytes, text: str) -> bytes:
    """The checkpoint with another JSON text, under a right hash."""
    header, data = apart(whole)
    header["__metadata__"]["vaecli"] = text
    return sealed(header, data)


def with_best(whole: bytes, best: str) -> bytes:
    """The checkpoint with another value, a JSON text, for the record of the best epoch."""
    state = json.loads(apart(whole)[0]["__metadata__"]["vaecli"])
    return with_text(whole, json.dumps(state | {"best": "BEST"}).replace('"BEST"', best))


def with_shape(whole: bytes, shape: list[int]) -> bytes:
    """Another shape for the encoder's first weight, 8 x 64 numbers."""
    header, data = apart(whole)
    header["model.encoder_network.1.weight"]["shape"] = shape
    return sealed(header, data)


def many_tensors(n: int) -> bytes:
    empty = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    return together("{" + ",".join(f'"{i}":{empty}' for i in range(n)) + "}", b"")


COLLIDING = ",".join(f"[{i * (2**61 - 1)},0]" for i in range(1, 100_000))  # keys of one hash
TENSOR = '{"$tensor":"rng.cpu"},'
BOMBS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {  # what the message says of the file
    "a header of 2**60 bytes": ("its header is cut short", lambda w: struct.pack("<Q", 2**60) + w[8:]),
    "a header of 2**64 - 1 bytes": ("its header is cut short", lambda w: struct.pack("<Q", 2**64 - 1) + w[8:]),
    "lists without end": ("more values than", lambda w: together("[" * 8_000_000, b"")),
    "lists side by side": ("more values than", lambda w: together('{"a":[' + "[]," * 3_000_000 + "[]]}", b"")),
    "a million tensors": ("more values than", lambda w: many_tensors(150_000)),
    "empty tensors": ("without the settings", lambda w: many_tensors(20_000)),
    "a text of lists": ("more values than", lambda w: with_text(w, "[" + "[]," * 2_000_000 + "[]]")),
    "a text of escaped lists": ("more values than", lambda w: together(
        '{"__metadata__":{"vaecli":"' + (SEALED % ("0" * 64)).replace('"', '\\"') + "["
        + r"\u005b\u005d\u002c" * 500_000 + '0]}"}}', b""
    )),
    "a text of numbers": ("more values than", lambda w: with_text(w, "[" + "1," * 3_000_000 + "1]")),
    "a text of long numbers": ("lacks required keys", lambda w: with_text(w, "[" + ("9" * 4000 + ",") * 2000 + "1]")),
    "a deep text": ("nested too deeply", lambda w: with_text(w, '{"$tuple":[' * 100_000 + "]}" * 100_000)),
    "deep and right": ("nested too deeply", lambda w: with_best(w, "[" * 60 + "]" * 60)),
    "keys that collide": ("a key that is neither", lambda w: with_best(w, '{"$dict":[' + COLLIDING + "]}")),
    "one tensor many times": ("a tensor a second time", lambda w: with_best(w, "[" + TENSOR * 100_000 + "1]")),
    "a tensor taken to pieces": ("cannot be restored", lambda w: with_best(w, '{"$tuple":{"$tensor":"rng.cpu"}}')),
    "a tensor of terabytes": ("cut short or changed", lambda w: with_shape(w, [10**12])),
    "a shape that overflows": ("cut short or changed", lambda w: with_shape(w, [2**32, 2**32])),
    "a shape of many ones": ("more than 16 dimensions", lambda w: with_shape(w, [512, *[1] * 200_000])),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little_time_and_memory(name: str, bench: Bench, whole: bytes) -> None:
    said, make_from = BOMBS[name]
    content, before = make_from(whole), memory()
    assert len(content) < 10_000_000
    assert bench.open(content) is None
    assert said in bench.said
    assert memory() - before < GROWTH


def test_a_hundred_megabytes_of_json_are_not_parsed(bench: Bench, whole: bytes) -> None:
    """Just below what safetensors itself takes."""
    header, data = apart(whole)
    header["__metadata__"]["vaecli"] += " " * 99_000_000
    content, before = sealed(header, data), memory()
    assert bench.open(content) is None
    assert "longer than 16777216 bytes" in bench.said
    assert memory() - before < GROWTH


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "folder"])
def test_what_is_no_file_is_refused(kind: str, bench: Bench) -> None:
    import os

    bench.path.unlink()
    if kind == "pipe":
        os.mkfifo(bench.path)
    elif kind == "folder":
        bench.path.mkdir()
    else:
        bench.path.symlink_to(kind)
    with watched(bench.path), pytest.raises(UserError):
        load_run(str(bench.folder), device="cpu")


def test_the_sample_holds_every_kind_of_mutation(whole: bytes, other: bytes) -> None:
    seeds = [random.Random(seed) for seed in range(5)]  # a single draw can put a byte in its own place
    assert all(any(mutation(whole, rng, other) != whole for rng in seeds) for mutation in BYTES)
    assert all(any(lie(whole, random.Random(100 * n + i)) != whole for i in range(5)) for n in range(20))


def test_what_makes_a_hash_right_makes_it_right(bench: Bench, whole: bytes) -> None:
    """Without this, lies under a right hash would be refused for their hash alone."""
    header, data = apart(whole)
    del header["__metadata__"]["sha256"]
    assert bench.open(sealed(header, data)) is not None
    header["__metadata__"]["vaecli"] += " "
    assert bench.open(sealed(header, data)) is not None
    assert bench.open(together(header, data)) is None
