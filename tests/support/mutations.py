"""Damaged and hostile checkpoints: bytes and opcodes changed at random, or junk in the contents under a right hash."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from support.checkpoints import State

from vaecli.runs import checkpoint

Content = dict[str, bytes]  # the records of an archive


def records(content: bytes) -> Content:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def packed(content: Content, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these records, every CRC right."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return file.getvalue()


def saved(state: State) -> bytes:
    """A checkpoint's file; its hash is right where there can be one."""
    state = {"format": checkpoint.FORMAT, **state}
    try:
        state["sha256"] = checkpoint.sha256(state)
    except (TypeError, ValueError, ArithmeticError, RuntimeError):  # junk without a hash, such as a sparse tensor
        state["sha256"] = "0" * 64
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


# --- bytes


def flip(content: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_at_an_end(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """In the zip's directory or in the pickle, where a flip does more than change a weight."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        start = rng.choice((0, max(0, len(changed) - 3000)))
        changed[min(len(changed) - 1, start + rng.randrange(3000))] = rng.randrange(256)
    return bytes(changed)


def splice(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, length = rng.randrange(len(other)), rng.choice((1, 16, 256, 4096, len(other)))
    at = rng.randrange(len(content))
    return content[:at] + other[start : start + length] + content[at + rng.choice((0, length)) :]


def cut(content: bytes, rng: random.Random, other: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def repeat(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(content))
    end = start + rng.choice((1, 7, 64, 1024, 10_000))
    return content[:end] + content[start:end] * rng.choice((1, 2, 20)) + content[end:]


def drop(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 2, 64, 1024)) :]


# --- records and opcodes, every CRC made right again

OPCODES = [value for name, value in vars(pickle).items() if name.isupper() and isinstance(value, bytes)]
GLOBALS = [b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n",
           b"ctorch.hub\nload\n",
           b"csubprocess\nPopen\n", b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ccollections\nOrderedDict\n",
           b"ctorch\nFloatStorage\n", b"cvaecli.build\nos.system\n"]  # fmt: skip


def opcode(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """A few opcodes or numbers of the pickle replaced, added or taken away."""
    found = records(content)
    name = next(name for name in found if name.endswith("/data.pkl"))
    changed = bytearray(found[name])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, length = rng.randrange(len(changed)), rng.choice((0, 1, 1, 1, 2, 4))
        number = struct.pack("<i", rng.choice((-1, 0, 1, 2**31 - 1, 10**9, rng.randrange(10_000))))
        new = rng.choice((rng.choice(OPCODES), rng.choice(OPCODES), b"J" + number, number, rng.choice(GLOBALS), b""))
        changed[at : at + length] = new
    return packed(found | {name: bytes(changed)})


def record(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """A record shorter, longer, exchanged, missing, renamed or compressed."""
    found, foreign = records(content), records(other)
    name = rng.choice(list(found))
    kind = rng.randrange(6)
    if kind == 0:
        found[name] = found[name][: rng.randrange(len(found[name]) + 1)]
    elif kind == 1:
        found[name] += bytes(rng.choice((1, 4, 4096)))
    elif kind == 2:
        found[name] = rng.choice(list(foreign.values()))
    elif kind == 3:
        del found[name]
    elif kind == 4:
        found[rng.choice(("../../../tmp/x", "/etc/passwd", name + "x", "a/data.pkl"))] = found.pop(name)
    return packed(found, zipfile.ZIP_DEFLATED if kind == 5 else zipfile.ZIP_STORED)


BYTES: list[Callable[[bytes, random.Random, bytes], bytes]] = [
    flip, flip_at_an_end, splice, cut, repeat, drop, opcode, opcode, opcode, record,
]  # fmt: skip


# --- contents


def deep(n: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(n):
        found = [found]
    return found


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


JUNK: list[Callable[[random.Random], Any]] = [
    lambda r: r.choice((None, True, False, 0, 1, -1, 2, 7)),
    lambda r: r.choice((2**31, 2**62, 2**63 - 1, -(2**63), 10**12, 10**30, 10**100)),
    lambda r: r.choice((0.5, -1.0, 1e300, float("nan"), float("inf"), -float("inf"))),
    lambda r: r.choice(("", "x", "best", "a\nb", "\x1b[31mred\r", "\ud800", "$\\frac$", "[/b]", "x" * 100_000)),
    lambda r: r.choice(("${oc.env:HOME}", "${", "${latent_dim}", "../../../tmp/x", "/dev/zero", "/", "~", "\0")),
    lambda r: r.choice(("os.system", "torch.hub.load", "vaecli.datasets.mnist.torch.hub.load",
                        "vaecli.models.build.load",
                        "vaecli.decoders.gaussian.Gaussian", "vaecli.posteriors.gaussian.Gaussian",
                        "vaecli.datasets.split.Split", "vaecli.architectures.conv.Conv", "vaecli.datasets.beta.Beta",
                        "vaecli.decoders.base.Decoder", "vaecli.datasets.mnist.MNIST")),
    lambda r: r.choice(([], [[]], [1] * 1000, [8] * 100, [10**9] * 3, [-1], [None], (), (1, 2), ["a"], [0.5])),
    lambda r: r.choice(({}, {"a": {}}, {1: 2}, {"_target_": "os.system"}, {None: 1}, {"": ""})),
    lambda r: deep(r.choice((3, 40, 60, 200))),
    lambda r: torch.zeros(r.choice(((), (0,), (3,), (2, 2), (1, 1, 1, 1)))),
    lambda r: torch.ones(3, dtype=r.choice((torch.int64, torch.float64, torch.float16, torch.bool, torch.complex64))),
    lambda r: torch.full((2,), float("nan")),
    lambda r: torch.ones(1).expand(10**r.choice((1, 6, 12))),
    lambda r: torch.zeros(2, device="meta"),
    lambda r: torch.eye(3).to_sparse(),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, item in inner for p in [(*path, key), *places(item, (*path, key))]]


def contents(state: State, rng: random.Random) -> State:
    """A copy with one to three entries replaced, removed, renamed or added."""
    changed = copy.deepcopy(state)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        all_places = places(changed)
        inside = [p for p in all_places if p[0] in ("config", "x_shape", "model")]
        *path, key = rng.choice(inside if rng.random() < 0.7 and inside else all_places)
        parent: Any = changed
        for step in path:
            parent = parent[step]
        act(parent, key, rng)
    if rng.random() < 0.01:
        changed["best"] = endless()
    return changed


def act(parent: Any, key: Any, rng: random.Random) -> None:
    kind, value = rng.randrange(8), parent[key]
    if isinstance(value, torch.Tensor) and kind < 4:
        parent[key] = reshaped(value, rng)
    elif kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(("_target_", "name", "x_shape", "device", "root", "", 5))] = parent.pop(key)
    elif kind == 2 and isinstance(parent, dict):
        parent[rng.choice(("extra", "root", "path", "trust", "dtype"))] = rng.choice(JUNK)(rng)
    elif kind == 3 and isinstance(value, int) and not isinstance(value, bool):
        parent[key] = value + rng.choice((-1, 1, 1000, -1000))
    else:
        parent[key] = rng.choice(JUNK)(rng)


def reshaped(x: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """A tensor of another shape, type or value."""
    made = (
        lambda: x.reshape(-1), lambda: x.double(), lambda: x.half(), lambda: x.unsqueeze(0), lambda: x[:-1],
        lambda: x * float("nan"), lambda: x + 1, lambda: x.t() if x.ndim == 2 else x, lambda: x.int(), lambda: x[:0],
        lambda: torch.cat([x, x]), lambda: x * 1e38 * 1e5,
    )  # fmt: skip
    return rng.choice(made)() if x.ndim else x + 1


def mutated(values: Any, rng: random.Random) -> str | None:
    """Values with junk among them as JSON, which is YAML too; None where the junk cannot be written so."""
    try:
        return json.dumps(contents({"config": values}, rng)["config"], indent=1)
    except (TypeError, ValueError, LookupError, RuntimeError):  # RecursionError is one
        return None
