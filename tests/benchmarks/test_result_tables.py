"""The tables of docs/results.md and docs/race.md are what the records give, and every row can be trained as it says."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from support.configurations import composed
from support.mnist_files import fake
from support.pages import ROOT
from support.thinned import every

from vaecli.runs.config import RunConfig, read_config
from vaecli.utils.schema import flatten

sys.path.append(str(ROOT / "benchmarks"))

import published
import race
import records

TRAINED = dict(run for name, row in published.ROWS.items() for run in published.runs_of(name, row))
KEPT = sorted(path.parent for path in (ROOT / "docs/results").rglob("record.json"))
SUMMARY = {"epochs": 7, "seconds": 1234.5, "parameters": 99, "status": "completed", "git_commit": "abcdef0123456789"}
PROTOCOL = {
    "dataset": "mnist", "split": "test", "observations": 10, "of": 10, "binarize": "dynamic", "binarize_seed": 0,
    "estimator": "posterior", "k": 5000, "widen": 1.0, "checkpoint": "best", "epoch": 7, "seed": 0, "device": "cpu",
    "version": "1", "seconds": 1.0, "peak_memory_bytes": None,
}  # fmt: skip
FIGURES = {
    "elbo": -91.234, "log_px": -60.0, "kl": 26.0, "nll": 87.654, "nll_stderr": 0.25, "nll_mc_stderr": 0.004, "ess": 9.0,
    "pareto_k": 0.5, "pareto_k_high": 0.125, "active_units": 3, "latent_dim": 5, "kl_per_dim": None, "mse": None,
    "bits_per_dim": None, "protocol": PROTOCOL,
}  # fmt: skip
METRICS = """{"epoch": 1, "split": "train", "elbo": -150.0, "seconds": 2.0}
{"epoch": 1, "split": "val", "elbo": -151.0, "seconds": 0.5}
{"epoch": 2, "split": "train", "elbo": -120.0, "seconds": 3.0}
"""
NOTES = {"date": "2026-01-31", "machine": "a processor", "train": "vae-train x", "evaluate": "vae evaluate k=5000"}


def record(folder: Path, **figures: Any) -> None:
    """A record with made-up figures."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("latent_dim: 5\n")
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "evaluation.json").write_text(json.dumps({**FIGURES, **figures}))
    (folder / "curve.json").write_text("[[1, 10.0, -150.0], [2, 20.0, -120.0], [3, 30.0, -110.0]]")
    (folder / "metrics.jsonl").write_text(METRICS)
    (folder / "record.json").write_text(json.dumps(NOTES))


@pytest.mark.parametrize(
    ("page", "name", "table"), [(published.PAGE, "published", published.tables), (race.PAGE, "race", race.tables)]
)
def test_page_has_what_the_records_give(page: Path, name: str, table: Any) -> None:
    text = page.read_text()
    assert records.with_table(text, name, table()) == text


def test_measured_figures_come_from_the_record(tmp_path: Path) -> None:
    record(tmp_path / "iwae_k1")
    shown, command = published.lines("iwae_k1", published.ROWS["iwae_k1"], tmp_path)
    assert shown[2:] == ["86.76", "**87.65**", "0.25", "0.004", "3 of 5", "12.5 %", "7", "1,234"]
    assert command[-2:] == ["2026-01-31", "a processor"]
    record(tmp_path / "iwae_k50", pareto_k_high=None)
    assert published.lines("iwae_k50", published.ROWS["iwae_k50"], tmp_path)[0][7] == ""  # not known, not 0 %
    assert published.lines("iwae_k5", published.ROWS["iwae_k5"], tmp_path)[0][3] == "open"


def test_bounds_and_seeds_are_averaged(tmp_path: Path) -> None:
    for seed in range(2):
        record(tmp_path / f"defaults_seed{seed}", elbo=-100.0 - seed)
    row = published.ROWS["defaults"]
    assert published.lines("defaults", row, tmp_path)[0][3] == "open"  # the third seed is missing
    record(tmp_path / "defaults_seed2", elbo=-102.0)
    assert published.lines("defaults", row, tmp_path)[0][3] == "**101.00** (100.00, 101.00, 102.00)"


def test_race_counts_in_seconds_and_epochs_of_the_floor(tmp_path: Path) -> None:
    record(tmp_path / "plain_seed0")
    (tmp_path / "plain_seed0/race.json").write_text('{"seconds": 100.0, "floor_before": 1.5, "floor_after": 2.5}')
    text = race.tables(tmp_path)
    assert "| abcdef0123 | 100 | 50 of 2.00 s | 7 | 99 | **87.65** | ± 0.25 ± 0.004 |" in text
    race.draw(race.records_of(tmp_path), tmp_path / "race.png")
    assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")
    assert "| plain_seed0 | -150.0 (10 s) | -120.0 (20 s) | 3: -110.0 (30 s) |" in text


def test_path_of_the_machine_is_not_kept(tmp_path: Path) -> None:
    record(tmp_path / "run")
    records.keep(tmp_path / "run", tmp_path / "kept", ["a=1"], ["k=5000"])
    kept = records.Record.read(tmp_path / "kept")
    assert kept.notes["train"] == "vae-train a=1"
    assert kept.curve == [(1, 2.0, -150.0), (2, 5.0, -120.0)]
    for path in ("/home/somebody/data", "/data"):
        (tmp_path / "run/config.yaml").write_text(f"root: {path}\n")
        with pytest.raises(SystemExit, match=path):
            records.keep(tmp_path / "run", tmp_path / "kept", ["a=1"], ["k=5000"])
        assert records.Record.read(tmp_path / "kept") is None  # no record of two runs


@pytest.mark.parametrize("script", [published, race])
def test_data_without_a_row_is_refused(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(script, "PAGE", tmp_path / "none.md")
    monkeypatch.setattr(sys, "argv", [script.__name__, "iwae_k1"])
    with pytest.raises(SystemExit) as refused:
        script.main()
    assert refused.value.code == 2


def test_page_without_marks_is_left_alone() -> None:
    with pytest.raises(SystemExit, match="<!-- race -->"):
        records.with_table("text\n", "race", "table")


@pytest.mark.parametrize(
    "words", every(3, [*TRAINED.values(), *(one.train.split() for one in race.RECIPES.values())]), ids=str
)
def test_words_are_accepted(words: list[str]) -> None:
    RunConfig.of(composed(*words))


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_record_is_of_its_row(folder: Path) -> None:
    """The commands that the table shows are those by which the record was made, and still mean the same."""
    in_race = folder.parent.name == "race"
    name, _, seed = folder.name.rpartition("_seed")
    words = [*race.RECIPES[name].train.split(), f"seed={seed}"] if in_race else TRAINED[folder.name]
    assert json.loads((folder / "record.json").read_text())["train"] == "vae-train " + shlex.join(words)
    today, then = RunConfig.of(composed(*words)).flat(), flatten(read_config(folder / "config.yaml"))
    decides = today["decoder"] != "auto"  # else the data do, and fill in every key that is null
    expected = {
        key: value for key, value in today.items() if value is not None and (decides or not key.startswith("decoder"))
    }
    assert {key: then.get(key) for key in expected} == expected
    assert not any(records.MACHINE_PATH.search((folder / kept).read_text()) for kept in records.KEPT)


SMALL = "dataset=mnist dataset.val_size=0 dataset.binarize=dynamic architecture.hidden=[8] latent_dim=2 epochs=2"


@pytest.mark.slow
def test_row_from_training_to_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "data", "MNIST", n_train=50, n_test=20)
    where = records.Where(tmp_path / "data", tmp_path / "runs", tmp_path / "records")
    row = published.Row("small", "1.0", "nowhere", SMALL, ("k=50",))
    monkeypatch.setitem(published.ROWS, "small", row)
    where.vae("train", *SMALL.split(), "output=small")  # as if the first attempt had ended before the evaluation
    published.run_row("small", where)
    record = records.Record.read(tmp_path / "records/small")
    assert record.evaluation.protocol.k == 50
    assert record.evaluation.protocol.observations == 20
    assert [point.epoch for point in record.curve] == [1, 2]
    assert record.notes["train"] == f"vae-train {shlex.join(SMALL.split())}"
    assert published.lines("small", row, tmp_path / "records")[0][3] == f"**{record.evaluation.nll:.2f}**"
    monkeypatch.setitem(published.ROWS, "small", row._replace(train=SMALL + " seed=1"))
    with pytest.raises(SystemExit, match="other words"):
        published.run_row("small", where)


@pytest.mark.slow
def test_race_from_nothing_to_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "data", "MNIST", n_train=50, n_test=20)
    where = records.Where(tmp_path / "data", tmp_path / "runs", tmp_path / "records")
    monkeypatch.setitem(race.RECIPES, "small", race.Recipe(SMALL, (784, 8, 2), 128, "small"))
    race.run_recipe("small", 3, where)
    assert "[small_seed3](results/race/small_seed3/record.json)" in race.tables(tmp_path / "records")
    timing = json.loads((tmp_path / "records/small_seed3/race.json").read_text())
    assert timing["seconds"] > 0
    (tmp_path / "records/small_seed3/record.json").unlink()  # as if it had ended before the evaluation
    race.run_recipe("small", 3, where)
    assert json.loads((tmp_path / "runs/small_seed3/race.json").read_text()) == timing
    assert "[small_seed3](results/race/small_seed3/record.json)" in race.tables(tmp_path / "records")
    (tmp_path / "runs/small_seed3/race.json").unlink()
    with pytest.raises(SystemExit, match="from nothing"):
        race.run_recipe("small", 3, where)
