"""SIGINT and SIGTERM: stop after the step, save, say how to resume."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Copy, called
from support.processes import LONG, start, start_copy, wait_for
from support.runs import assert_same

from vaecli.training.trainer import Trainer


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("start", [start_copy, pytest.param(start, marks=pytest.mark.faults)])
def test_a_signal_stops_and_prints_what_goes_on(
    start: Callable[..., Any], number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = start(*LONG, "dataset.binarize=dynamic", "output=run", cwd=tmp_path)
    wait_for("run/checkpoints/last.safetensors", process, tmp_path)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert (out + err).count("interrupted") == 1
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "interrupted"
    (command,) = [line.partition("to resume: ")[2] for line in out.splitlines() if "to resume: " in line]
    assert shlex.split(command) == ["vae-train", "resume=run"]
    done = called("train", *shlex.split(command)[1:], f"epochs={summary['epochs'] + 2}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def endless_step(trainer: Trainer, x: object) -> None:
    open("started", "w").close()
    while True:
        time.sleep(0.05)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """In the middle of a step that takes hours."""
    words = ("train", "output=run", "dataset=digits", "dataset.limit=50")
    process = Copy(*words, cwd=tmp_path, before=lambda: setattr(Trainer, "train_step", endless_step))
    wait_for("started", process, tmp_path)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.faults
def test_an_interrupted_sweep_starts_no_other_job(tmp_path: Path) -> None:
    process = start("-m", "seed=1,2,3", *LONG, cwd=tmp_path)
    wait_for("outputs/sweeps/*/0_*/checkpoints/last.safetensors", process, tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    (sweep,) = (tmp_path / "outputs/sweeps").iterdir()
    assert [path.name[:2] for path in sweep.iterdir() if path.is_dir()] == ["0_"]


@pytest.mark.faults
def test_after_a_signal_a_run_ends_as_if_never_stopped(tmp_path: Path) -> None:
    words = ("dataset=digits", "dataset.binarize=dynamic", "latent_dim=2", "architecture.hidden=[16]", "epochs=40",
             "images.every_epochs=40", "scheduler=cosine", "device=cpu")  # fmt: skip
    assert called("train", *words, "output=whole", cwd=tmp_path).returncode == 0
    process = start(*words, "output=parts", cwd=tmp_path)
    wait_for("parts/checkpoints/best.safetensors", process, tmp_path)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode in (143, 0)  # 0: it was faster
    assert called("train", "resume=latest", cwd=tmp_path).returncode == 1  # looks below outputs
    assert called("train", "resume=parts", cwd=tmp_path).returncode == 0
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.faults
def test_a_name_with_spaces_resumes_as_printed(tmp_path: Path) -> None:
    process = start(*LONG, "output='a run, of mine'", cwd=tmp_path)
    wait_for("a run*/checkpoints/last.safetensors", process, tmp_path)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    (command,) = [line.partition("to resume: ")[2] for line in out.splitlines() if "to resume: " in line]
    again = start(*shlex.split(command)[1:], cwd=tmp_path)
    until = time.monotonic() + 120
    while not (tmp_path / "a run, of mine/train.log").read_text().count("resuming after") and time.monotonic() < until:
        time.sleep(0.02)
    again.send_signal(signal.SIGTERM)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 143, out + err
    assert os.listdir(tmp_path) == ["a run, of mine"]
