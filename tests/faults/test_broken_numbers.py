"""Numbers that are not finite: which, where, what helps; the last good checkpoint stays."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_line import called
from support.runs import SMALL, at_step, train

from vaecli.runs import checkpoint
from vaecli.training.trainer import Trainer
from vaecli.utils.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def failed(*words: str, code: int = 1) -> str:
    """The error of a run that breaks; its last checkpoint is finite and its summary tells."""
    done = called("train", *SMALL, *words, "output=run", cwd=Path.cwd())
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"] in done.stderr
    assert len(done.stderr.removeprefix("error: ").strip().splitlines()) == 2
    model = checkpoint.load(Path("run/checkpoints/last.safetensors"))["model"]
    assert all(bool(value.isfinite().all()) for value in model.values())
    return done.stderr


def test_an_absurd_learning_rate() -> None:
    message = failed("optimizer.lr=1e30", "optimizer=sgd")
    assert "in epoch 1, step 2" in message
    assert "a lower optimizer.lr or clip_grad_norm=1" in message
    assert "vae-train resume=RUN" in message
    done = called("train", "resume=run", "optimizer.lr=1e-3", cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("run/summary.json").read_text())["status"] == "completed"
    assert json.loads(Path("run/summary.json").read_text())["error"] is None


def test_an_over_confident_gaussian() -> None:
    message = failed("decoder=gaussian_fixed", "decoder.sigma=1e-25")
    assert "log p(x|z) became non-finite (-inf) in epoch 1, step 1" in message
    assert "decoder.sigma" in message


def after(step: int, harm: str) -> str:
    """The error of a run whose model is harmed before its `step`-th step."""

    def harmed(trainer: Trainer) -> None:
        weight = trainer.model.get_parameter("decoder_network.output.weight")
        if harm == "weight":
            weight.data[0, 0] = math.nan
        else:
            weight.register_hook(lambda gradient: gradient * math.inf)

    return error_of(step, harmed)


def error_of(step: int, harm: Callable[[Trainer], object]) -> str:
    """The error that ends a run to whose model `harm` is done before a step."""
    with at_step(step, harm), pytest.raises(UserError) as stopped:
        train(*SMALL, "output=run")
    return str(stopped.value)


def test_a_weight_that_is_nan() -> None:
    assert "the weights decoder_network.output.weight became non-finite (nan) in epoch 2, step 6" in after(6, "weight")
    assert checkpoint.load(Path("run/checkpoints/last.safetensors"))["epoch"] == 1
    assert json.loads(Path("run/summary.json").read_text())["status"] == "failed"
    assert train("resume=run") == 0


@pytest.mark.parametrize("step", [6, 8, 16])
def test_a_gradient_that_is_infinite(step: int) -> None:
    """Also in the last step of an epoch and of the run, where no other loss would tell."""
    message = after(step, "gradient")
    assert "the gradient of decoder_network.output.weight became" in message
    assert f"in epoch {-(-step // 4)}, step {step}" in message
    kept = checkpoint.load(Path("run/checkpoints/last.safetensors"))
    assert kept["step"] == 4 * ((step - 1) // 4)
    assert all(bool(value.isfinite().all()) for value in kept["model"].values())


def test_kl_is_named() -> None:
    """A posterior whose mean is beyond single precision's squares."""

    def far(trainer: Trainer) -> None:
        trainer.model.get_parameter("encoder_network.3.bias").data[:3] = 1e25
        trainer.model.get_parameter("decoder_network.body.0.weight").data.zero_()

    assert "the KL divergence became non-finite (inf)" in error_of(1, far)
