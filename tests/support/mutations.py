"""Damaged and hostile checkpoints: bytes changed at random, or junk and lies in them under a right hash."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import torch
from support.checkpoints import State

from vaecli.runs import checkpoint

SEALED = '{"sha256": "%s", "state": '  # how the text of the metadata begins
Header = dict[str, Any]  # of a safetensors file: tensors by name, and __metadata__
TYPES = {"F32": "torch.float32", "F64": "torch.float64", "F16": "torch.float16", "BF16": "torch.bfloat16",
         "I64": "torch.int64", "I32": "torch.int32", "U8": "torch.uint8", "BOOL": "torch.bool"}  # fmt: skip


def saved(state: State) -> bytes:
    """A checkpoint's file under a right hash; an exception for what cannot be in one."""
    return checkpoint.encode({"format": checkpoint.FORMAT, **state})


def apart(content: bytes) -> tuple[Header, bytes]:
    """A file's header, with hash and text of its metadata taken apart, and the tensors' bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    sealed = header["__metadata__"]["vaecli"]
    header["__metadata__"] = {"sha256": sealed[12:76], "vaecli": sealed[len(SEALED % "") + 64 : -1]}
    return header, content[end:]


def together(header: Header | str, data: bytes) -> bytes:
    """The file of a header, or its text, and the tensors' bytes."""
    if isinstance(header, dict) and "vaecli" in header.get("__metadata__", {}):
        said = header["__metadata__"]
        header = {**header, "__metadata__": {"vaecli": f"{SEALED % said.get('sha256', '')}{said['vaecli']}}}"}}
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


def sealed(header: Header, data: bytes) -> bytes:
    """The same with the hash over what it says of text and tensors: docs/design.md has the rule."""
    digest = hashlib.sha256(header["__metadata__"]["vaecli"].encode())
    for name, one in sorted(item for item in header.items() if item[0] != "__metadata__"):
        digest.update(f"{name} {TYPES.get(one['dtype'])} {tuple(one['shape'])}".encode())
        digest.update(data[slice(*one["data_offsets"])])
    metadata = {**header["__metadata__"], "sha256": digest.hexdigest()}
    return together({**header, "__metadata__": metadata}, data)


# --- bytes


def flip(content: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_at_an_end(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """Where files of data say what they hold."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        start = rng.choice((0, max(0, len(changed) - 3000)))
        changed[min(len(changed) - 1, start + rng.randrange(3000))] = rng.randrange(256)
    return bytes(changed)


def flip_in_header(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """Where a flip does more than change a weight."""
    changed, end = bytearray(content), 8 + int.from_bytes(content[:8], "little")
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(min(end, len(changed)))] = rng.randrange(256)
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


def edit_header(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """A few characters of the header's JSON replaced, added or taken away; its length is right."""
    header, data = apart(content)
    text = json.dumps(header)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.choice([i for i in range(len(text)) if text[i] in '[]{},:"0123456789'])
        text = text[:at] + rng.choice(('"', "{", "}", "[", "]", ",", ":", "0", "9", "-1", "1e9", "null", "\\", "")) + \
            text[at + rng.choice((0, 1, 1, 5)) :]  # fmt: skip
    return together(text, data)


BYTES: list[Callable[[bytes, random.Random, bytes], bytes]] = [
    flip, flip_in_header, splice, cut, repeat, drop, edit_header, edit_header,
]  # fmt: skip


# --- lies in the header, the hash made right again

MARKS: list[Any] = [
    {"$tensor": "model.no.such"}, {"$tensor": 5}, {"$tensor": ["a"]}, {"$tuple": 5}, {"$tuple": "ab"}, {"$tuple": {}},
    {"$tuple": {"$tensor": "rng.cpu"}}, {"$dict": [[1, 2, 3]]}, {"$dict": [[None, 1]]}, {"$dict": [[2**64, 1]]},
    {"$dict": 7}, {"$dict": [["$tensor", 1]]}, {"$float": "nan"}, {"$float": "x"}, {"$float": [1]}, {"$what": 1},
    {"$tensor": "rng.cpu"}, {"$tensor": "rng.cpu", "more": 1}, {"$": {}}, {"$dict": [["a", {"$dict": []}]]},
]  # fmt: skip


def lie(content: bytes, rng: random.Random) -> bytes:
    """One to three lies about tensors, or marks of ours where none belong, under a right hash."""
    header, data = apart(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice([key for key in header if key != "__metadata__"])
        kind = rng.choice((claim, claim, claim, move, mark, mark, infinite))
        data = kind(header, name, data, rng) or data
    return sealed(header, data)


def claim(header: Header, name: str, data: bytes, rng: random.Random) -> None:
    """Another type, shape or place than the tensor has."""
    one = header[name]
    begin, end = one["data_offsets"]
    kind, n = rng.randrange(5), rng.choice((1, 4, 8, 4096, 2**40))
    if kind == 0:
        one["dtype"] = rng.choice(("F32", "I32", "F64", "F16", "BF16", "U8", "BOOL", "F8_E8M0", "X", ""))
    elif kind == 1:
        one["shape"] = rng.choice(([], [0], [n], [*one["shape"], 1], one["shape"][::-1], one["shape"][:-1], [1] * 100,
                                   [2**32, 2**32], [-1]))  # fmt: skip
    elif kind == 2:
        one["data_offsets"] = rng.choice(
            ([begin + n, end + n], [begin, end + n], [end, begin], [0, 0], [max(0, begin - n), end])
        )
    elif kind == 3:
        one["data_offsets"] = header[rng.choice([key for key in header if key != "__metadata__"])]["data_offsets"]
    else:
        header[f"{name}x"] = {**one}


def move(header: Header, name: str, data: bytes, rng: random.Random) -> bytes | None:
    """A tensor without its entry, under another's name, or without its bytes; bytes of no tensor."""
    kind, other = rng.randrange(5), rng.choice([key for key in header if key != "__metadata__"])
    if kind == 0:
        del header[name]
    elif kind == 1:
        header[name], header[other] = header[other], header[name]
    elif kind == 2:
        header[rng.choice((f"{name}x", "model.", "../x", "model.encoder"))] = header.pop(name)
    return data[:-8] if kind == 3 else data + bytes(8) if kind == 4 else None


def mark(header: Header, name: str, data: bytes, rng: random.Random) -> None:
    """Something in the JSON text that stands for no value, or for another one."""
    state = json.loads(header["__metadata__"]["vaecli"])
    *path, key = rng.choice(places(state))
    parent = state
    for step in path:
        parent = parent[step]
    parent[key] = copy.deepcopy(rng.choice(MARKS))
    header["__metadata__"]["vaecli"] = json.dumps(state)


def infinite(header: Header, name: str, data: bytes, rng: random.Random) -> bytes | None:
    """A number of a tensor that is infinite or none, where it is one of float32."""
    begin, end = header[name]["data_offsets"]
    if header[name]["dtype"] != "F32" or end < begin + 4:
        return None
    at = rng.randrange(begin, end - 3, 4)
    return data[:at] + struct.pack("<f", rng.choice((float("inf"), -float("inf"), float("nan")))) + data[at + 4 :]


# --- contents


def deep(n: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(n):
        found = [found]
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
    lambda r: r.choice(({}, {"a": {}}, {1: 2}, {"_target_": "os.system"}, {"": ""}, {"$": 1})),
    lambda r: deep(r.choice((3, 40, 60, 200))),
    lambda r: torch.zeros(r.choice(((), (0,), (3,), (2, 2), (1, 1, 1, 1)))),
    lambda r: torch.ones(3, dtype=r.choice((torch.int64, torch.float64, torch.float16, torch.bool, torch.complex64))),
    lambda r: torch.full((2,), float("nan")),
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
