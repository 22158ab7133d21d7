"""Checkpoints: plain containers and tensors under a hash, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaecli.errors import UserError
from vaecli.files import replace_bytes

FORMAT = 1
KEYS = {"format", "config", "x_shape", "model", "optimizer", "scheduler", "step", "epoch", "best", "rng", "sha256"}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (all KEYS but format and sha256) to `path`; raises UserError where that is impossible."""
    state = {"format": FORMAT, **state}
    state["sha256"] = sha256(state)
    content = io.BytesIO()  # torch.save would hide the reason why a disk refuses it
    torch.save(state, content)
    replace_bytes(path, content.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; UserError where there is none, it is damaged, or it is not vaecli's.

    Nothing in the file is executed: `weights_only` restricts it to plain containers and tensors.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about what a foreign file holds
            state = torch.load(path, map_location="cpu", weights_only=True)
        intact = isinstance(state, dict) and state.get("sha256") == sha256(state)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except Exception as error:  # a damaged or foreign file can fail anywhere inside the unpickler, in any way
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is damaged or not a vaecli checkpoint: {reason}") from None
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        raise UserError(f"{path} is not a vaecli checkpoint: it lacks the keys that one has")
    if state["format"] != FORMAT:
        raise UserError(f"{path} has checkpoint format {state['format']}; this version of vaecli reads format {FORMAT}")
    if not intact:
        raise UserError(f"{path} is damaged: its contents do not match their checksum; use another checkpoint")
    return state


def sha256(state: dict[str, Any]) -> str:
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
    else:
        digest.update(f"{type(value).__name__} {value!r}".encode())
