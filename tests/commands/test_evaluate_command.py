"""`vae evaluate` from the command line."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command_line import Vae, called, in_both_ways

from vaecli.analysis.quadrature import Quadrature, quadrature
from vaecli.commands import evaluate as command
from vaecli.commands._run import run_command
from vaecli.datasets.split import Split
from vaecli.models.vae import VAE

pytestmark = pytest.mark.usefixtures("without_hydra")

KEYS = [
    "elbo",
    "log_px",
    "kl",
    "nll",
    "nll_stderr",
    "nll_mc_stderr",
    "ess",
    "pareto_k",
    "pareto_k_high",
    "active_units",
    "latent_dim",
    "kl_per_dim",
    "mse",
    "bits_per_dim",
    "protocol",
]


def evaluate(run: Path, *args: str, cwd: Path) -> dict[str, Any]:
    """`vae evaluate`, and the JSON that it wrote."""
    done = called("evaluate", f"run={run}", "device=cpu", f"output={cwd / 'e.json'}", *args, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert f"wrote {cwd / 'e.json'}" in done.stdout
    result: dict[str, Any] = json.loads((cwd / "e.json").read_text())
    return result | {"stdout": done.stdout}


def test_digits_from_the_command_line(digits_run: Path, tmp_path: Path) -> None:
    found = evaluate(digits_run, "k=50", "scores=true", cwd=tmp_path)
    assert [key for key in found if key != "stdout"] == KEYS
    assert found["elbo"] == pytest.approx(found["log_px"] - found["kl"])
    assert -found["elbo"] > found["nll"] > 0
    assert found["kl"] == pytest.approx(sum(found["kl_per_dim"]), rel=1e-5)
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / (64 * math.log(2)))
    summary = json.loads((digits_run / "summary.json").read_text())
    assert found["elbo"] == pytest.approx(summary["test"]["elbo"], abs=1)
    protocol = found["protocol"]
    assert (protocol["observations"], protocol["k"], protocol["binarize"]) == (300, 50, "dynamic")
    assert protocol["peak_memory_bytes"] > 1e8
    for words in ("digits test, 300 of 300 observations, binarize=dynamic (seed 0)", "k = 50", "peak memory"):
        assert words in found["stdout"]
    scores = np.load(tmp_path / "e.scores.npz")
    assert {"elbo", "log_px", "kl", "nll", "nll_mc_stderr", "pareto_k", "elbo_mc_stderr", "labels"} <= set(scores)
    assert scores["pareto_k"].mean() == pytest.approx(found["pareto_k"])
    assert found["pareto_k_high"] == (scores["pareto_k"] > 1 - 1 / math.log10(50)).mean()
    assert f"{round(300 * found['pareto_k_high'])} of 300 observations have a Pareto k above 0.41" in found["stdout"]
    assert scores["nll"].mean() == pytest.approx(found["nll"])
    assert all(len(scores[key]) == 300 for key in scores)


def test_the_warning_on_grey_values_is_short_after_training(tmp_path: Path) -> None:
    small = ("dataset=digits", "dataset.limit=60", "architecture.hidden=[8]", "epochs=1", "device=cpu", "output=run")
    trained = called("train", *small, cwd=tmp_path).stdout
    assert trained.count("use decoder=discretized_logistic") == 1
    shown = evaluate(tmp_path / "run", "k=10", "limit=20", cwd=tmp_path)["stdout"]
    (warning,) = (line for line in shown.splitlines() if "warning:" in line)
    assert warning.startswith("warning: grey values under decoder=bernoulli: all figures are expectations over binary")
    assert warning in trained
    assert len(warning) < 130


@pytest.mark.parametrize("n", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_curves_from_the_command_line(n: int, beta_run: Path, tmp_path: Path) -> None:
    found = evaluate(beta_run, "k=1000", "exact=true", "scores=true", f"limit={n}", cwd=tmp_path)
    assert found["bits_per_dim"] is None
    assert found["exact_nll"] == pytest.approx(found["nll"], abs=5 * found["nll_mc_stderr"])
    assert found["exact_error"] < 1e-4
    assert f"quadrature over two latents for {n} observations will take about" in found["stdout"]
    assert found["exact_refused"] == 0
    assert np.load(tmp_path / "e.scores.npz")["exact_error"].mean() == pytest.approx(found["exact_error"])
    assert found["protocol"]["observations"] == n
    assert np.load(tmp_path / "e.scores.npz")["exact_nll"].mean() == pytest.approx(found["exact_nll"])
    prior = evaluate(beta_run, "k=100", "estimator=prior", f"limit={n}", cwd=tmp_path)
    assert prior["nll"] > found["nll"] + 0.1
    assert prior["protocol"]["estimator"] == "prior"
    assert prior["pareto_k_high"] > 0.5
    assert "at least" in prior["stdout"]  # its standard error


def test_what_the_draws_contradict_is_not_called_exact(
    beta_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missed(model: VAE, split: Split, tick: object = None) -> Quadrature:
        found = quadrature(model, split)
        return found._replace(log_px=found.log_px - torch.tensor([0.0, 50.0]))

    monkeypatch.setattr("vaecli.commands.evaluate.quadrature", missed)
    values = {"run": str(beta_run), "checkpoint": "best", "split": "test", "input": None, "limit": 2, "k": 500,
              "rows": None, "estimator": "posterior", "widen": None, "exact": True, "scores": "csv", "seed": 0,
              "device": "cpu", "output": str(tmp_path / "e.json"), "trust": []}  # fmt: skip
    run_command(command, values)
    found = json.loads((tmp_path / "e.json").read_text())
    assert (found["exact_nll"], found["exact_refused"]) == (None, 1)
    assert "1 of 2 integrals did not converge or are below the estimate from the draws" in capsys.readouterr().out
    first, second = csv.DictReader((tmp_path / "e.scores.csv").read_text().splitlines())
    assert (first["exact_nll"] == "", second["exact_nll"] == "") == (False, True)


@in_both_ways
def test_figures_go_into_the_run_one_draw_has_no_error(vae: Vae, digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    done = vae("evaluate", f"run={run}", "k=1", "limit=1", "split=train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((run / "evaluation_train_limit1_k1.json").read_text())
    assert found["nll_mc_stderr"] is None
    assert found["nll_stderr"] is None
    assert found["pareto_k"] is None
    assert found["pareto_k_high"] is None
    assert "with fewer than 25 draws" in done.stdout
    assert not any(run.glob("*scores*"))
    assert not (run / "evaluation.json").exists()
    assert "Bernoulli" not in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("exact=true", "one or two latents, this run has 5"),
        ("k=0", "k=0: should be greater than 0"),
        ("split=tset", "split=tset: should be 'train', 'val' or 'test'"),
        ("limit=0", "limit=0: should be greater than 0"),
        ("estimator=foo", "estimator=foo: should be 'posterior' or 'prior'"),
        ("output=a.png", "but .json is written"),
    ],
)
def test_bad_input(digits_run: Path, tmp_path: Path, args: str, words: str) -> None:
    done = called("evaluate", f"run={digits_run}", *args.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "name"), [
    ("k=5000", "evaluation"),
    ("k=5000 limit=100", "evaluation_test_limit100"),
    ("k=10 split=val", "evaluation_val_k10"),
    ("k=5000 checkpoint=last", "evaluation_test_last"),
    ("k=5000 checkpoint=ema estimator=prior", "evaluation_test_ema_prior"),
    ("k=7 input=new/rows.v2.csv limit=3", "evaluation_rows.v2_limit3_k7"),
])  # fmt: skip
def test_a_file_is_called_for_what_was_evaluated(words: str, name: str) -> None:
    values = {"run": "run", "checkpoint": "best", "split": "test", "input": None, "limit": None, "k": 5000,
              "rows": None, "estimator": "posterior", "widen": None, "exact": False, "scores": False, "seed": 0,
              "device": "cpu", "output": None, "trust": []}  # fmt: skip
    given: dict[str, Any] = dict(word.split("=") for word in words.split())
    numbers = {key: int(value) for key, value in given.items() if value.isdigit()}
    assert command.Config.checked({**values, **given, **numbers}).file_name == f"{name}.json"


def test_a_smaller_k_takes_no_larger_ones_place(digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    for k in (30, 20, 40):
        assert called("evaluate", f"run={run}", f"k={k}", "device=cpu", cwd=tmp_path).returncode == 0
    assert json.loads((run / "evaluation.json").read_text())["protocol"]["k"] == 40
    assert json.loads((run / "evaluation_test_k20.json").read_text())["protocol"]["k"] == 20
    assert not (run / "evaluation_test_k30.json").exists()
