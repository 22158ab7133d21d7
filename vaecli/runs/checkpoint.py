"""Checkpoints: plain containers and tensors under a hash, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaecli.runs import archive
from vaecli.utils.errors import UserError
from vaecli.utils.files import irregular, replace_bytes
from vaecli.utils.memory import check_memory
from vaecli.utils.types import Values

FORMAT = 1
KINDS = {
    "format": int, "config": dict, "x_shape": list, "model": dict, "optimizer": dict, "scheduler": dict, "step": int,
    "epoch": int, "best": dict, "rng": dict, "sha256": str,
}  # fmt: skip
KEYS = set(KINDS)  # what every checkpoint has; there may be more
LARGE = 2**27  # bytes of a file that is not read without a look at the memory there is
MOST_NUMBERS = 2**24  # in one observation: 4096 x 4096 pixels


def save(path: Path, state: Values) -> None:
    """Write `state` (all KEYS but format and sha256) to `path`; raises UserError where that is impossible."""
    state = {"format": FORMAT, **state}
    state = {**state, "sha256": sha256(state)}
    content = io.BytesIO()  # torch.save would hide the reason why a disk refuses it
    torch.save(state, content)
    replace_bytes(path, content.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; UserError where there is none, it is damaged, or it is not vaecli's.

    Nothing in the file is executed, and no more memory is taken than a few times the file's size.
    """
    if not path.exists():
        raise UserError(f"there is no checkpoint {path}")
    if kind := irregular(path):
        raise UserError(f"{path} is damaged or not a vaecli checkpoint: it is {kind}, no regular file")
    if path.stat().st_size > LARGE:
        check_memory(2 * path.stat().st_size, str(path), "use another checkpoint")
    try:
        state = archive.read(path)
        intact = isinstance(state, dict) and state.get("sha256") == sha256(state)
    except Exception as error:  # a damaged or foreign file can fail anywhere, in any way
        raise UserError(f"{path} is damaged or not a vaecli checkpoint: {summary(error)}") from None
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        raise UserError(f"{path} is not a vaecli checkpoint: it lacks the keys that one has")
    if state["format"] != FORMAT and type(state["format"]) is int:
        raise UserError(f"{path} has checkpoint format {state['format']}; this version of vaecli reads format {FORMAT}")
    if not intact:
        raise UserError(f"{path} is damaged: its contents do not match their checksum; use another checkpoint")
    check_kinds(path, state)
    return state


def summary(error: Exception) -> str:
    """An exception in part of a line."""
    text = str(error).strip() if not isinstance(error, KeyError) else f"there is no {error}"
    return text.splitlines()[0][:150] if text else type(error).__name__


def check_kinds(path: Path, state: Values) -> None:
    """UserError where an entry is not of its kind; says nothing about whether the entries fit together."""
    for key, kind in KINDS.items():
        if type(state[key]) is not kind:
            raise UserError(f"{path} is not a vaecli checkpoint: its {key} is not of type {kind.__name__}")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state["model"].items()):
        raise UserError(f"{path} is not a vaecli checkpoint: its model is not made of named tensors")
    if not is_plain(state["config"]):
        raise UserError(f"{path} is not a vaecli checkpoint: its config holds more than texts, numbers and lists")
    shape = state["x_shape"]
    if not 1 <= len(shape) <= 4 or not all(type(n) is int and n > 0 for n in shape):
        raise UserError(f"{path} is not a vaecli checkpoint: its x_shape is not one to four positive whole numbers")
    if math.prod(shape) > MOST_NUMBERS:
        raise UserError(f"{path}: observations of shape {tuple(shape)}, more than {MOST_NUMBERS} numbers: refused")


def is_plain(value: Any) -> bool:
    """Whether a value is made of what YAML holds."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return all(map(is_plain, value)) if isinstance(value, list) else isinstance(value, archive.PLAIN)


def sha256(state: Values) -> str:
    """A hash over everything in `state` but its own `sha256`."""
    digest = hashlib.sha256()
    _update(digest, {key: value for key, value in state.items() if key != "sha256"})
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().reshape(-1).view(torch.uint8).numpy()))
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}".encode())
        for key, item in value.items():
            digest.update(repr(key).encode())
            _update(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value:
            _update(digest, item)
    elif isinstance(value, archive.PLAIN):
        digest.update(f"{type(value).__name__} {value!r}".encode())
    else:  # saving it would make a file that cannot be read back
        raise TypeError(f"a checkpoint holds plain values and tensors, not {type(value).__name__}")
