"""Injected faults: whatever a checkpoint holds, opening it ends in a message or in the model that was saved.

A sample runs with the other tests; `make test-faults` runs 2,000 mutated files and 200 cuts and prints the counts.
"""

from __future__ import annotations

import io
import random
import resource
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import State, make, same
from support.mutations import BYTES, Content, contents, packed, records, saved
from support.processes import in_time

from vaecli.commands._inputs import choose
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
        self.folder, self.counts = folder, Counter[str]()
        self.path = folder / "checkpoints" / "best.pt"
        self.path.parent.mkdir(parents=True)

    def open(self, content: bytes) -> Run | None:
        self.path.write_bytes(content)
        message, run = self.attempt()
        assert [p.name for p in self.folder.rglob("*")] == ["checkpoints", "best.pt"]
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
            x = choose(run, "test", 2, None).x
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
    """n files with junk in them under a right hash: what opens has the file's weights."""
    for seed in range(n):
        run = bench.open(saved(contents({**original, "model": dict(original["model"])}, random.Random(seed))))
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
    """One bit of one tensor's contents, n times, in the file itself: its CRC is then wrong as well."""
    rng, found = random.Random(0), [r for name, r in records(whole).items() if "/data/" in name and len(r) >= 32]
    for _ in range(n):
        value = rng.choice(found)
        at, changed = whole.index(value) + rng.randrange(len(value)), bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        assert bench.open(bytes(changed)) is None


def flip_behind_the_crc(bench: Bench, whole: bytes, n: int) -> None:
    """The same with the CRC made right again: the hash notices."""
    rng, found = random.Random(0), records(whole)
    names = [name for name, value in found.items() if "/data/" in name and value]
    for _ in range(n):
        name = rng.choice(names)
        value = bytearray(found[name])
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        assert bench.open(packed(found | {name: bytes(value)})) is None


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


def test_a_sample_of_cuts_and_flips(bench: Bench, whole: bytes) -> None:
    run_trials("", bench, None, cut_everywhere, whole, 20)
    run_trials("", bench, None, flip_tensors, whole, 10)
    run_trials("", bench, None, flip_behind_the_crc, whole, 10)


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
def test_flipped_bits(bench: Bench, whole: bytes, measured: Callable[[str], None]) -> None:
    run_trials("flipped bits in tensors", bench, measured, flip_tensors, whole, 100)
    bench.counts.clear()
    run_trials("flipped bits in tensors, CRC right", bench, measured, flip_behind_the_crc, whole, 100)


# --- small files that claim to be large


def with_pickle(whole: bytes, content: bytes) -> bytes:
    found = records(whole)
    return packed({name: content if name.endswith("data.pkl") else value for name, value in found.items()})


def bomb(whole: bytes) -> bytes:
    """Half a gigabyte of zeros in two megabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in records(whole).items():
            with archive.open(name, "w") as member:
                for _ in range(500 if "/data/0" in name else 0):
                    member.write(bytes(2**20))
                member.write(value)
    return file.getvalue()


def claimed(whole: bytes, old: bytes, new: bytes) -> bytes:
    name = next(name for name in records(whole) if name.endswith("data.pkl"))
    content = records(whole)[name]
    assert old in content
    return with_pickle(whole, content.replace(old, new))


def colliding(_: bytes) -> bytes:
    """Keys of one hash, which would make a dict take the square of their number."""
    keys = b"".join(b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little") + b"N" for i in range(1, 200_000))
    return packed({"a/data.pkl": b"\x80\x02}(" + keys + b"u."})


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "compressed zeros": bomb,
    "bytearray(10**11)": lambda w: with_pickle(w, b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" +
                                               (10**11).to_bytes(5, "little") + b"\x85R."),
    "a memo of billions": lambda w: with_pickle(w, b"\x80\x02]r\xff\xff\xff\xff."),
    "a text of gigabytes": lambda w: with_pickle(w, b"\x80\x02X\xff\xff\xff\x7fabc."),
    "keys that collide": colliding,
    # the encoder's first weight, 8 x 64 = 512 numbers
    "a record that claims more": lambda w: claimed(w, b"M\x00\x02tq", b"J\x00\x00\x00\x7ftq"),
    "a tensor beyond its record": lambda w: claimed(w, b"K\x08K@\x86q", b"J\x00\x00\x00\x7fK@\x86q"),
    "strides of 0": lambda w: saved_with(w, torch.ones(1).expand(10**13)),
    "one record a million times": lambda w: saved_with(w, [torch.zeros(10_000)] * 1000, share=True),
    "lists that double": lambda w: saved_with(w, doubled()),
}  # fmt: skip


def doubled() -> list[Any]:
    found: list[Any] = []
    for _ in range(80):
        found = [found, found]
    return found


def saved_with(whole: bytes, value: Any, share: bool = False) -> bytes:
    state = torch.load(io.BytesIO(whole), weights_only=True)
    if share:
        value = [value[0].view(10, 1000)] * 50_000
    file = io.BytesIO()
    torch.save({**state, "best": {"a": value}}, file)
    return file.getvalue()


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little_time_and_memory(name: str, bench: Bench, whole: bytes) -> None:
    content, before = BOMBS[name](whole), memory()
    assert len(content) < 10_000_000
    assert bench.open(content) is None
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
    content: Content = records(whole)
    assert records(packed(content)) == content
