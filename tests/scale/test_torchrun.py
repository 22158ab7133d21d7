"""One run by several processes that torchrun starts, as a user types it: make test-scale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.command_line import vae

pytestmark = pytest.mark.scale

QUICK = ("dataset=digits", "dataset.limit=101", "architecture=mlp", "architecture.hidden=[16]", "decoder=bernoulli",
         "batch_size=50", "latent_dim=3", "epochs=4", "optimizer=sgd", "optimizer.lr=0.1", "scheduler=constant",
         "device=cpu", "compile=false", "images.every_epochs=100", "seed=3")  # fmt: skip
LONG = (*QUICK[:1], "dataset.limit=300", *QUICK[2:5], "batch_size=10", *QUICK[6:7], "epochs=20", *QUICK[8:],
        "optimizer.lr=0.01", "checkpoint.every_epochs=2")  # fmt: skip


def torchrun(n: int, *words: str, cwd: Path, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", *flags]
    return subprocess.Popen([*start, "-m", "vaecli", *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)  # fmt: skip


def finished(n: int, *words: str, cwd: Path, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    process = torchrun(n, *words, cwd=cwd, flags=flags)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints/last.safetensors")


def last_line(run: Path) -> dict[str, float]:
    return dict(json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]))


def workers(agent: int) -> list[int]:
    """The processes that torchrun has started, in the order of their ranks."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(agent)], capture_output=True, text=True).stdout.split()

    def rank(pid: int) -> int:
        names = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return int(next((one[5:] for one in names if one.startswith(b"RANK=")), b"-1"))

    return sorted((pid for pid in map(int, children) if rank(pid) >= 0), key=rank)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = vae("train", *QUICK, "output=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize("n", [2, 3])
def test_several_processes_train_as_one(n: int, alone: Path, tmp_path: Path) -> None:
    """101 observations in batches of 50: the last batch has one. One folder, written by one process."""
    done = finished(n, "train", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs/digits").glob("*/")
    one, own = weights(alone), weights(run)
    assert one.keys() == own.keys()
    for key, value in one.items():
        torch.testing.assert_close(own[key], value, rtol=1e-4, atol=1e-5, msg=key)
    assert torch.equal(own["rng.cpu"], one["rng.cpu"])
    assert last_line(run)["bound"] == pytest.approx(last_line(alone)["bound"], rel=1e-6)
    a, b = (json.loads((folder / "summary.json").read_text()) for folder in (alone, run))
    assert b["test"]["elbo"] == pytest.approx(a["test"]["elbo"], rel=1e-6)
    assert done.stdout.count("\nwrote ") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_a_killed_process_ends_all(tmp_path: Path) -> None:
    process = torchrun(2, "train", *LONG, "epochs=100000", "output=run", cwd=tmp_path)
    wait_for_epochs(process, tmp_path / "run", 4)
    os.kill(workers(process.pid)[1], signal.SIGKILL)
    started = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    assert process.returncode != 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] in ("failed", "interrupted")
    assert load_file(tmp_path / "run/checkpoints/last.safetensors")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_restart_ends_as_if_nothing_had_happened(victim: int, tmp_path: Path) -> None:
    """Also without output=: the run is found by its command line."""
    calm = finished(2, "train", *LONG, "name=calm", cwd=tmp_path)
    assert calm.returncode == 0, calm.stderr
    process = torchrun(2, "train", *LONG, cwd=tmp_path, flags=("--max-restarts=2",))
    folder = wait_for_epochs(process, tmp_path / "outputs/digits", 5)
    os.kill(workers(process.pid)[victim], signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert {path.name for path in (tmp_path / "outputs/digits").glob("*/")} == {"calm", folder.name}
    one, own = weights(tmp_path / "outputs/digits/calm"), weights(folder)
    assert all(torch.equal(own[key], value) for key, value in one.items())
    assert len(json.loads((folder / "summary.json").read_text())["resumed"]) == 1


def wait_for_epochs(process: subprocess.Popen[str], below: Path, n: int) -> Path:
    """The folder of the run, once it has trained n epochs."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        assert process.poll() is None, process.communicate()
        for path in [*below.glob("metrics.jsonl"), *below.glob("2*/metrics.jsonl")]:
            lines = path.read_text().splitlines()
            if len(lines) >= 2 * n:
                return path.parent
        time.sleep(0.02)
    raise AssertionError("too slow")


def test_an_interrupt_stops_all_and_saves(tmp_path: Path) -> None:
    process = torchrun(2, "train", *LONG, "epochs=100000", "output=run", cwd=tmp_path)
    wait_for_epochs(process, tmp_path / "run", 4)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"
    epochs = int(last_line(tmp_path / "run")["epoch"]) + 3
    done = finished(3, "train", "resume=run", f"epochs={epochs}", cwd=tmp_path)  # on another number of processes
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("completed", epochs)


def test_a_sweep_under_torchrun(alone: Path, tmp_path: Path) -> None:
    """A job that is refused does not stop the others, and one folder is written."""
    fixed = [word for word in QUICK if not word.startswith("latent_dim")]
    done = finished(2, "train", "-m", *fixed, "latent_dim=2,-1,3", "name=s", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 3 jobs failed" in done.stderr
    jobs = {path.name: path for path in (tmp_path / "outputs/sweeps/s").glob("*/") if (path / "summary.json").exists()}
    assert jobs.keys() == {"0_latent_dim-2", "2_latent_dim-3"}
    own, one = weights(jobs["2_latent_dim-3"]), weights(alone)
    for key, value in one.items():
        torch.testing.assert_close(own[key], value, rtol=1e-4, atol=1e-5, msg=key)
    assert "2 runs under outputs/sweeps/s" in done.stdout


def test_evaluate_and_encode_share_the_work(alone: Path, tmp_path: Path) -> None:
    words = (f"run={alone}", "k=200", "seed=4", "scores=true")
    one = vae("evaluate", *words, "output=one.json", cwd=tmp_path)
    several = finished(3, "evaluate", *words, "output=several.json", cwd=tmp_path)
    assert (one.returncode, several.returncode) == (0, 0), several.stderr
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "several"))
    for key in ("elbo", "nll", "nll_stderr", "ess", "mse"):
        assert b[key] == pytest.approx(a[key], rel=1e-6), key
    vae("encode", f"run={alone}", "output=one.npz", cwd=tmp_path)
    done = finished(2, "encode", f"run={alone}", "output=several.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "one.npz") as first, np.load(tmp_path / "several.npz") as second:
        assert all(np.array_equal(first[key], second[key]) for key in first)
