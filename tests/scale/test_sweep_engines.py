"""Sweeps by several processes at once and by a search: make test-scale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.command_line import vae

pytestmark = pytest.mark.scale

QUICK = ("epochs=4", "dataset=digits", "dataset.limit=200", "architecture=mlp", "architecture.hidden=[16]",
         "decoder=bernoulli", "batch_size=32", "images.every_epochs=4", "device=cpu")  # fmt: skip
SEARCH = ("hydra/sweeper=vaecli_optuna", "hydra.sweeper.n_trials=8", "hydra.sweeper.sampler=RandomSampler",
          "latent_dim=int(interval(2,8))", "optimizer.lr=tag(log,interval(1e-6,1e-2))", "name=search")  # fmt: skip
EVERY = ("epochs", "images.every_epochs", "checkpoint.every_epochs", "validate.every_epochs")


def summaries(folder: Path) -> dict[str, Any]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))}


def test_jobs_at_once_are_those_in_a_row(tmp_path: Path) -> None:
    """Also one that is refused: the others run, and the sweep ends with 1."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (*QUICK, "latent_dim=2,3,-4,5")
    row = vae("train", "-m", *words, "name=row", cwd=tmp_path)
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    once = vae("train", "-m", *joblib, *words, "name=once", cwd=tmp_path)
    assert (row.returncode, once.returncode) == (1, 1)
    for done in (row, once):
        assert "latent_dim=-4: should be greater than 0" in done.stderr.splitlines()[-1]
        assert "3 runs under outputs/sweeps/" in done.stdout
    a, b = (summaries(tmp_path / "outputs/sweeps" / name) for name in ("row", "once"))
    assert a.keys() == b.keys()
    assert [one["test"] for one in a.values()] == [one["test"] for one in b.values()]


def test_threads_are_divided(tmp_path: Path) -> None:
    """Two jobs at once on N cores have N / 2 threads each for large steps; a user's OMP_NUM_THREADS stays."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    code = (
        "import os, torch\nfrom vaecli.utils import threads\n"
        "def show(config):\n    print('threads', threads.DEFAULT_THREADS, os.environ.get('OMP_NUM_THREADS'))\n"
        "    return 0.0\n"
    )
    (tmp_path / "shown.py").write_text(code)
    run = (
        "import sys\nfrom vaecli.config.compose import run\n"
        "def main():\n    from shown import show\n    return lambda values, invocation: show(values)\n"
        "run('train', main, sys.argv[1:], 'vae train')\n"
    )
    (tmp_path / "start.py").write_text(run)
    words = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "latent_dim=2,3")
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    for given, expected in ((None, f"threads {max(1, (os.cpu_count() or 1) // 2)} None"), ("1", "threads 1 1")):
        env |= {} if given is None else {"OMP_NUM_THREADS": given}
        path = os.pathsep.join([str(tmp_path), *sys.path])
        done = subprocess.run([sys.executable, "start.py", *words], cwd=tmp_path, env={**env, "PYTHONPATH": path},
                              capture_output=True, text=True, timeout=240)  # fmt: skip
        assert done.stdout.count(expected) == 2, (done.stdout, done.stderr)


def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    """The trial that the kill has cut off is resumed in its own folder, and counts once."""
    optuna = pytest.importorskip("optuna")
    words = [sys.executable, "-m", "vaecli", "train", "-m", *SEARCH, *QUICK]
    folder = tmp_path / "outputs/sweeps/search"
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 120
    while len(list(folder.glob("*/checkpoints/last.safetensors"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = {path.name for path in folder.glob("*/")}
    done = vae("train", "-m", *SEARCH, *QUICK, "sweep.skip_completed=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = summaries(folder)
    assert begun <= after.keys()
    assert {one["status"] for one in after.values()} <= {"completed", "pruned"}
    assert len(after) == 8
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "study.log")))
    study = optuna.load_study(study_name="vaecli", storage=storage)
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") + states.count("PRUNED") == 8
    best = max(one["best"]["bound"] for one in after.values() if one["status"] == "completed")
    assert study.best_value == pytest.approx(best)
    assert "search: " in done.stdout


def test_hopeless_trials_are_pruned(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    pruner = ("hydra.sweeper.pruner=ThresholdPruner", "+hydra.sweeper.pruner_settings.lower=-40",
              "+hydra.sweeper.pruner_settings.n_warmup_steps=5")  # fmt: skip
    search = ("hydra/sweeper=vaecli_optuna", "hydra.sweeper.sampler=BruteForceSampler", *pruner)
    slow_and_fast = ("optimizer.lr=3e-2,1e-30", "start_at_mean=false", "latent_dim=2")
    words = (*search, *QUICK[1:], *slow_and_fast, "validate.every_epochs=1", "epochs=12")
    done = vae("train", "-m", *words, "name=p", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pruned after epoch 5" in done.stdout
    ends = {name.rpartition("-")[2]: (one["status"], one["epochs"])
            for name, one in summaries(tmp_path / "outputs/sweeps/p").items()}  # fmt: skip
    assert ends == {"0.03": ("completed", 12), "30": ("pruned", 5)}  # both values, and no more trials than values


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_jobs_that_are_stopped_save_and_go_on(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C reaches all processes, SIGTERM the sweep's own; no checkpoint is due before."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    quick = [word for word in QUICK if not word.startswith(("epochs", "images"))]
    words = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *quick, "latent_dim=2,3,4", "name=s",
             *(f"{key}=300" for key in EVERY))  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "vaecli", "train", *words], cwd=tmp_path,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    logs = [tmp_path / f"outputs/sweeps/s/{job}/metrics.jsonl" for job in ("0_latent_dim-2", "1_latent_dim-3")]
    give_up = time.monotonic() + 200
    while not all(log.exists() and len(log.read_text().splitlines()) > 2 for log in logs):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 128 + number
    assert b"Traceback" not in err
    found = summaries(tmp_path / "outputs/sweeps/s")
    assert [(name, one["status"]) for name, one in found.items()] == [
        ("0_latent_dim-2", "interrupted"), ("1_latent_dim-3", "interrupted"),
    ]  # fmt: skip
    assert all((log.parent / "checkpoints/last.safetensors").exists() for log in logs)
    done = vae("train", *words, "sweep.skip_completed=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = summaries(tmp_path / "outputs/sweeps/s")
    assert [(one["status"], one["epochs"], len(one.get("resumed", []))) for one in found.values()] == [
        ("completed", 300, 1), ("completed", 300, 1), ("completed", 300, 0),
    ]  # fmt: skip
