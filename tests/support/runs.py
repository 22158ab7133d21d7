"""Trains in this process, stops at any step, and compares two runs bit for bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import same
from support.configurations import composed

from vaecli.commands import train as command
from vaecli.runs import checkpoint
from vaecli.runs.names import EVENTS
from vaecli.runs.tensorboard import events
from vaecli.training.lifecycle import Invocation
from vaecli.training.trainer import Trainer

SMALL = (
    "dataset=digits", "dataset.limit=100", "batch_size=32", "latent_dim=3", "architecture.hidden=[16]", "epochs=4",
    "device=cpu", "images.every_epochs=2",
)  # fmt: skip


def train(*overrides: str, stop_at: int | None = None) -> int:
    """The exit code of `vae train OVERRIDES`, which gets a SIGINT when it has taken so many steps."""
    keys = [word.lstrip("+").partition("=")[0] for word in overrides]
    origin = Invocation(f"vae-train {' '.join(overrides)}", keys, None)
    stop = nullcontext() if stop_at is None else at_step(stop_at, lambda it: it.interrupt.handle(signal.SIGINT, None))
    with stop:
        try:
            command.main(composed(*overrides), origin)
        except SystemExit as stopped:
            return int(stopped.code or 0)
    return 0


@contextmanager
def at_step(step: int | None, act: Callable[[Trainer], object]) -> Iterator[None]:
    """Training calls act(trainer) before its `step`-th step (None: before each); what act raises ends it."""
    take = Trainer.train_step

    def train_step(self: Trainer, x: torch.Tensor) -> Any:
        if step in (None, self.step + 1):
            act(self)
        return take(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        yield


def lines(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the times."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def scalars(folder: Path) -> list[tuple[int, str]]:
    """The step and tag of every event, sorted."""
    paths = sorted(folder.glob(EVENTS))
    return sorted((key for path in paths for key, _ in events(path)), key=str)


def assert_same(one: Path, other: Path) -> None:
    """The same weights, optimizer, schedule, random states, figures and events."""
    for which in sorted({path.stem for path in (one / "checkpoints").glob("*.safetensors")}):
        a, b = (checkpoint.load(folder / "checkpoints" / f"{which}.safetensors") for folder in (one, other))
        assert a.keys() == b.keys()
        for key in a.keys() - {"config"}:
            assert same(a[key], b[key]), f"{which}: {key} differs"
    assert lines(one) == lines(other)
    assert scalars(one) == scalars(other)
    test = [json.loads((folder / "summary.json").read_text())["test"] for folder in (one, other)]
    assert test[0] == test[1]
