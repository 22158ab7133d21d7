"""A sweep on a real Slurm whose time limit strikes: make test-slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/one_node_slurm.sh"
WORDS = ("dataset=mnist_small", "dataset.limit=2000", "architecture=mlp", "architecture.hidden=[64]", "epochs=200",
         "decoder=bernoulli", "batch_size=20", "images.every_epochs=200", "checkpoint.every_epochs=190", "device=cpu",
         "compile=false", "optimizer=adam", "optimizer.lr=0.001", "scheduler=constant")  # fmt: skip
LIMIT = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30", "hydra.launcher.max_num_timeout=9",
         "hydra.launcher.cpus_per_task=1")  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The path of its slurm.conf."""
    if not shutil.which("slurmctld") or not shutil.which("munged"):
        pytest.skip("apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        done = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        yield str(folder / "slurm.conf")
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=False)


def test_jobs_that_the_time_limit_strikes_end_as_if_it_had_not(cluster: str, tmp_path: Path) -> None:
    env = {"SLURM_CONF": cluster, "OMP_NUM_THREADS": "1"}

    def sweep(*words: str) -> None:
        command = [sys.executable, "-m", "vaecli", "train", "-m", *words, *WORDS]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    sweep("hydra/launcher=submitit_slurm", *LIMIT, "latent_dim=2,3", "name=slurm")
    for job in ("0_latent_dim-2", "1_latent_dim-3"):
        summary = json.loads((tmp_path / "outputs/sweeps/slurm" / job / "summary.json").read_text())
        assert summary["status"] == "completed"
        assert len(summary["resumed"]) >= 1
    sweep("latent_dim=2", "name=row")
    own, expected = (load_file(run / "checkpoints/last.safetensors") for run in
                     (tmp_path / "outputs/sweeps/slurm/0_latent_dim-2", tmp_path / "outputs/sweeps/row/0"))  # fmt: skip
    assert all(torch.equal(own[key], value) for key, value in expected.items())
