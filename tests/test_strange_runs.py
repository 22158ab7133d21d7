"""Runs from elsewhere with junk in their files: going on with one, or repeating it, ends in a message or trains."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mutations import contents, saved
from runs import SMALL, train
from test_faults import in_time

from vaecli.errors import UserError
from vaecli.training import checkpoint
from vaecli.training.trainer import Trainer

KINDS = ("last.pt", "config.yaml", "summary.json", "metrics.jsonl", "repeat")


class Enough(BaseException):
    """It trains and trains."""


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two epochs, and nothing to be had from the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("urllib.request._opener", None)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert train(*SMALL, "ema.decay=0.9", "epochs=2", "output=whole") == 0
    return Path("whole")


def mutated(values: Any, rng: random.Random) -> str | None:
    """Values with junk among them as JSON, which is YAML too; None where the junk cannot be written so."""
    try:
        return json.dumps(contents({"config": values}, rng)["config"], indent=1)
    except (TypeError, ValueError, RecursionError, LookupError):
        return None


def spoil(run: Path, kind: str, rng: random.Random) -> bool:
    """Put junk into one of a run's files; whether that could be done."""
    path = run / ("config.yaml" if kind == "repeat" else "checkpoints/last.pt" if kind == "last.pt" else kind)
    if kind == "last.pt":
        path.write_bytes(saved(contents(checkpoint.load(path), rng)))
        return True
    if kind == "config.yaml":
        shutil.rmtree(run / "checkpoints")  # what is in last.pt would come first
    if kind == "metrics.jsonl":
        lines = [mutated(json.loads(line), rng) for line in path.read_text().splitlines()]
        text: str | None = "\n".join(line.replace("\n", "") for line in lines if line is not None)
    else:
        text = mutated(yaml.safe_load(path.read_text()), rng)
    if text is not None:
        path.write_text(text)
    return text is not None


def attempt(kind: str, seed: int) -> str:
    """What becomes of a run with junk in one file: a message, or training."""
    shutil.rmtree("run", ignore_errors=True)
    shutil.rmtree("outputs", ignore_errors=True)
    shutil.copytree("whole", "run")
    if not spoil(Path("run"), kind, random.Random(seed)):
        return "not written"
    message = ""
    try:
        with in_time():
            train("repeat=run/config.yaml" if kind == "repeat" else "resume=run", "epochs=3")
    except UserError as error:
        message = str(error)
    except Enough:
        pass
    assert len(message.splitlines()) <= 2, message
    assert message.replace("\n", "").isprintable()
    assert {path.name for path in Path().iterdir()} <= {"whole", "run", "outputs"}
    return "refused in a message" if message else "trained"


def trials(n: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    step = Trainer.train_step

    def few_steps(self: Trainer, x: Any) -> Any:
        if self.step > 100:
            raise Enough
        return step(self, x)

    monkeypatch.setattr(Trainer, "train_step", few_steps)
    return Counter(attempt(KINDS[seed % len(KINDS)], seed) for seed in range(n))


def test_a_sample_of_strange_runs(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = trials(30, monkeypatch)
    assert counts["trained"] > 5
    assert counts["refused in a message"] > 5


@pytest.mark.faults
def test_strange_runs(whole: Path, monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None]) -> None:
    counts = trials(400, monkeypatch)
    measured("400 runs with junk in one file: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
