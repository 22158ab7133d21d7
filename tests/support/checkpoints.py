"""Checkpoints of a run after one step, and what they must be like when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.making import prepare

from vaecli.runs import checkpoint
from vaecli.utils.errors import UserError
from vaecli.utils.random import random_states

SMALL = ("dataset=digits", "dataset.limit=40", "latent_dim=2", "architecture.hidden=[8]", "device=cpu", "batch_size=40")

State = dict[str, Any]


def make(*overrides: str) -> State:
    """A run's state after one step, as the trainer would hand it on."""
    job = prepare(composed(*SMALL, *overrides))
    job.objective(job.model, job.splits.train.batch(slice(0, 40)), 0).loss.backward()
    job.optimizer.step()
    job.scheduler.step()
    return {
        "config": job.config.without_requests(), "x_shape": list(job.model.x_shape), "model": job.model.state_dict(),
        "optimizer": job.optimizer.state_dict(), "scheduler": job.scheduler.state_dict(), "step": 1, "epoch": 1,
        "best": {"epoch": 1, "bound": -1.5, "elbo": -1.5, "waited": 0}, "rng": random_states(torch.device("cpu")),
    }  # fmt: skip


def write_run(folder: Path, state: State) -> Path:
    """A run's folder with this state in it, its checksum right."""
    checkpoint.save(folder / "checkpoints" / "best.safetensors", state)
    return folder


def same(a: Any, b: Any) -> bool:
    """Equal bit for bit and in types."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(bits(a), bits(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)  # not a number is itself, and -0.0 is not 0.0


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(UserError, match=match) as error:
        checkpoint.load(path)
    message = str(error.value)
    assert str(path) in message
    assert len(message.splitlines()) <= 2
