"""Sweeps by submitit's local executor, whose jobs are warned of their end and queued again: make test-scale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import vae

pytest.importorskip("submitit")
pytestmark = pytest.mark.scale

WORDS = ("dataset=digits", "dataset.limit=500", "architecture=mlp", "architecture.hidden=[16]", "decoder=bernoulli",
         "batch_size=10", "epochs=60", "images.every_epochs=60", "checkpoint.every_epochs=50", "device=cpu",
         "compile=false", "latent_dim=2,3")  # fmt: skip


def test_a_warned_job_saves_and_resumes_by_itself(tmp_path: Path) -> None:
    """The warning comes long before the first checkpoint that is due; the result is that of a run without it."""
    row = vae("train", "-m", *WORDS, "name=row", cwd=tmp_path)
    assert row.returncode == 0, row.stderr
    sweep = tmp_path / "outputs/sweeps/queued"
    words = [sys.executable, "-m", "vaecli", "train", "-m", "hydra/launcher=submitit_local", *WORDS, "name=queued"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    jobs = ("0_latent_dim-2", "1_latent_dim-3")
    give_up = time.monotonic() + 120
    while not all((sweep / job / "metrics.jsonl").exists() for job in jobs):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    trained = trainers(sweep / jobs[0]) + trainers(sweep / jobs[1])
    assert len(trained) == 2
    for pid in trained:
        os.kill(pid, signal.SIGUSR2)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "2 runs under outputs/sweeps/queued" in out
    for job in jobs:
        summary = json.loads((sweep / job / "summary.json").read_text())
        assert (summary["status"], len(summary["resumed"])) == ("completed", 1)
        expected = load_file(tmp_path / "outputs/sweeps/row" / job / "checkpoints/last.safetensors")
        found = load_file(sweep / job / "checkpoints/last.safetensors")
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def trainers(run: Path) -> list[int]:
    """The processes that have the log of a run open."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(one) == str(run / "train.log") for one in (folder / "fd").iterdir()):
                found.append(int(folder.name))
        except OSError:
            continue
    return found
