"""Checkpoints: safetensors files with the tensors under flat names and everything else as one JSON text, hashed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from vaecli.runs.read import load_json
from vaecli.utils.errors import UserError
from vaecli.utils.files import irregular, replace_bytes
from vaecli.utils.memory import check_memory
from vaecli.utils.types import StateDict, Values

FORMAT = 2  # 1 was torch.save's
STATE = "vaecli"  # the one key of the header's metadata: the order of several would change from file to file
SEALED = re.compile(r'\{"sha256": "([0-9a-f]{64})", "state": ')  # how its JSON text begins
ENTRY_TYPES = {
    "format": int, "config": dict, "x_shape": list, "model": dict, "optimizer": dict, "scheduler": dict, "step": int,
    "epoch": int, "best": dict, "rng": dict,
}  # fmt: skip
KEYS = set(ENTRY_TYPES)  # what every checkpoint has; there may be more
PLAIN_TYPES = (type(None), bool, int, float, str)
MAX_HEADER_BYTES = 2**24  # bytes: names and settings, not the tensors
MAX_VALUES = 10**6  # in the header
MAX_DIMENSIONS = 16  # of a tensor; with very many, torch's time grows with their square
CHECK_MEMORY_ABOVE = 2**27  # bytes: for larger files the free memory is checked first
MAX_NUMBERS = 2**24  # in one observation: 4096 x 4096 pixels


def save(path: Path, state: Values) -> None:
    """Write `state` (all KEYS but format) to `path`; UserError if that fails."""
    replace_bytes(path, encode({"format": FORMAT, **state}))


def load(path: Path) -> StateDict:
    """Read a checkpoint; UserError if there is none, it is damaged, or it is not one of vaecli.

    Nothing in the file is executed, and no more memory is taken than a few times the file's size.
    """
    if not path.exists():
        raise UserError(f"there is no checkpoint {path}")
    if kind := irregular(path):
        raise UserError(f"{path} is damaged or not a vaecli checkpoint: it is {kind}, not a regular file")
    if path.stat().st_size > CHECK_MEMORY_ABOVE:
        check_memory(2 * path.stat().st_size, str(path), "use another checkpoint")
    with damage_as_user_error(path):
        text, digest, tensors = decode(path.read_bytes())
        described = parse(text)
        intact = digest == sha256(text, tensors)
    check_own_format(path, described, intact)
    with damage_as_user_error(path):
        state: StateDict = restore(described, tensors)
        if tensors:
            raise ValueError(f"nothing refers to its tensor {min(tensors)}")
    check_kinds(path, state)
    return state


@contextmanager
def damage_as_user_error(path: Path) -> Iterator[None]:
    """Turns any exception into a UserError: a damaged or foreign file can fail anywhere, in any way."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{path} is damaged or not a vaecli checkpoint: {summary(error)}") from None


def summary(error: Exception) -> str:
    """An exception as part of a line."""
    text = str(error).strip() if not isinstance(error, KeyError) else f"there is no {error}"
    return text.splitlines()[0][:150] if text else type(error).__name__


# --- state <-> file


def encode(state: Values) -> bytes:
    """The content of a checkpoint's file; TypeError or ValueError for a state that could not be read back."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(describe(state, (), tensors), allow_nan=False)
    sealed = f'{{"sha256": "{sha256(text, tensors)}", "state": {text}}}'
    return save_tensors(dict(with_own_memory(tensors)), {STATE: sealed})


def decode(content: bytes) -> tuple[str, str, dict[str, Tensor]]:
    """The JSON text, the hash and the tensors (on the CPU) in a file's content; any exception for invalid content.

    safetensors checks that the tensors fill the file without gap or overlap, each as large as its type and shape say.
    """
    length = int.from_bytes(content[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"its header is cut short, or longer than {MAX_HEADER_BYTES} bytes")
    header = parse(content[8 : 8 + length].decode())
    metadata = header.pop("__metadata__", {})
    if any(len(one["shape"]) > MAX_DIMENSIONS for one in header.values()):
        raise ValueError(f"a tensor of more than {MAX_DIMENSIONS} dimensions")
    try:
        tensors = read_tensors(content)
    except SafetensorError as error:
        raise ValueError(f"it is cut short or changed ({str(error).rpartition(': ')[2]})") from None
    text = metadata.get(STATE, "")
    begun = SEALED.match(text)
    if begun is None:
        raise ValueError("it holds tensors without the settings that vaecli writes")
    return text[begun.end() : -1], begun[1], tensors


def parse(text: str) -> Any:
    """The value of a JSON text; ValueError if it is invalid or has more values than any checkpoint."""
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise ValueError("more values than any checkpoint has")
    return load_json(text)


def sha256(text: str, tensors: dict[str, Tensor]) -> str:
    """A hash over the text, then, in the order of their names, each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe(value: Any, path: tuple[str | int, ...], tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON can hold it; its tensors are put into `tensors`, on the CPU, under their flat names.

    path: the keys that lead to `value`

    A tensor is {"$tensor": its name}, a tuple {"$tuple": [...]}, inf {"$float": "inf"}, and a dict with a key that is
    not text, or looks like one of these, {"$dict": [[key, value], ...]}.
    """
    if isinstance(value, Tensor):
        name = ".".join(map(str, path))
        if name in tensors:
            raise ValueError(f"two tensors are called {name}")
        tensors[name] = value.detach().cpu().contiguous()
        return {"$tensor": name}
    if isinstance(value, dict):
        entries = [(check_key(key), describe(item, (*path, key), tensors)) for key, item in value.items()]
        return dict(entries) if all(type(key) is str and key[:1] != "$" for key in value) else {"$dict": entries}
    if isinstance(value, list | tuple):
        items = [describe(item, (*path, i), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value) not in PLAIN_TYPES:
        raise TypeError(f"a checkpoint holds plain values and tensors, not {type(value).__name__}")
    return {"$float": repr(value)} if type(value) is float and not math.isfinite(value) else value


def with_own_memory(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The same tensors, copied if they share memory, which safetensors cannot store."""
    taken = set[int]()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if place in taken else tensor
        taken.add(place)


def restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `describe`; removes the used tensors from `tensors`. Any exception for other input."""
    if isinstance(value, list):
        return [restore(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if not any(key.startswith("$") for key in value):
        return {key: restore(item, tensors) for key, item in value.items()}
    match list(value.items()):
        case [("$tensor", str(name))] if name in tensors:
            return tensors.pop(name)
        case [("$float", str(text))]:
            return float(text)
        case [("$tuple", list(items))]:
            return tuple(restore(items, tensors))
        case [("$dict", list(pairs))] if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            return {check_key(key): restore(item, tensors) for key, item in pairs}
    raise ValueError(f"{json.dumps(value)[:60]} cannot be restored, or refers to a tensor a second time")


def check_key(key: Any) -> str | int:
    """A key of a dict; TypeError unless it is text or an integer of 64 bits: longer ones can be made to collide."""
    if type(key) is str or (type(key) is int and -(2**63) <= key < 2**63):
        return key
    raise TypeError("a key that is neither text nor an integer of 64 bits")


# --- checks of a checkpoint's content


def check_own_format(path: Path, described: Any, intact: bool) -> None:
    """UserError for another program's file, one of another format, or one whose contents have changed."""
    if not isinstance(described, dict) or not described.keys() >= KEYS:
        raise UserError(f"{path} is not a vaecli checkpoint: it lacks required keys")
    if described["format"] != FORMAT and type(described["format"]) is int:
        version = described["format"]
        raise UserError(f"{path} has checkpoint format {version}; this version of vaecli reads format {FORMAT}")
    if not intact:
        raise UserError(f"{path} is damaged: its contents do not match their checksum; use another checkpoint")


def check_kinds(path: Path, state: Values) -> None:
    """UserError if an entry has the wrong type; whether the entries fit together is checked elsewhere."""
    for key, kind in ENTRY_TYPES.items():
        if type(state[key]) is not kind:
            raise UserError(f"{path} is not a vaecli checkpoint: its {key} is not of type {kind.__name__}")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state["model"].items()):
        raise UserError(f"{path} is not a vaecli checkpoint: its model is not made of named tensors")
    if not is_plain(state["config"]):
        raise UserError(f"{path} is not a vaecli checkpoint: its config holds more than texts, numbers and lists")
    shape = state["x_shape"]
    if not 1 <= len(shape) <= 4 or not all(type(n) is int and n > 0 for n in shape):
        raise UserError(f"{path} is not a vaecli checkpoint: its x_shape is not one to four positive whole numbers")
    if math.prod(shape) > MAX_NUMBERS:
        raise UserError(f"{path}: its observations have shape {tuple(shape)}, more than {MAX_NUMBERS} numbers: refused")


def is_plain(value: Any) -> bool:
    """Whether a value consists of types that YAML has."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return all(map(is_plain, value)) if isinstance(value, list) else isinstance(value, PLAIN_TYPES)
