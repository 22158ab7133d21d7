"""What training advises: in which units, for how many steps, how many latents are used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.command_line import called
from support.runs import train

SMALL = ("dataset=arrays", "epochs=1", "architecture.hidden=[8]", "latent_dim=2", "device=cpu", "output=run")


def table(folder: Path, values: np.ndarray) -> str:
    path = folder / "table.csv"
    names = ",".join(f"c{i}" for i in range(values.shape[1]))
    np.savetxt(path, values, delimiter=",", header=names, comments="", fmt="%.8g")
    return f"dataset.path={path}"


@pytest.fixture
def measurements(tmp_path: Path) -> str:
    values = np.abs(np.random.default_rng(0).normal(0, 3, (60, 4)))
    values[0, 0] = 250.25  # seen in the first epoch, in which nothing else is large
    return table(tmp_path, values)


@pytest.fixture
def counts(tmp_path: Path) -> str:
    values = np.random.default_rng(0).poisson(3, (60, 4))
    values[0, 0] = 250
    return table(tmp_path, values)


def test_large_values_are_told_of_standard_units(measurements: str, tmp_path: Path) -> None:
    done = called("train", *SMALL, measurements, "decoder=gaussian_fixed", "decoder.sigma=100", cwd=tmp_path)
    assert done.returncode == 0
    assert "train in standard units with dataset.standardize=true\n" in done.stdout


def test_counts_are_told_of_count_decoders(counts: str, tmp_path: Path) -> None:
    done = called("train", *SMALL, counts, "decoder=gaussian_fixed", "decoder.sigma=100", cwd=tmp_path)
    assert "dataset.standardize=true, or decoder=poisson or negative_binomial for counts" in done.stdout


@pytest.mark.parametrize("words", [("decoder=gaussian", "dataset.standardize=true"), ("decoder=poisson", "seed=1")])
def test_no_advice_where_it_is_followed(words: tuple[str, ...], counts: str, tmp_path: Path) -> None:
    done = called("train", *SMALL, counts, *words, cwd=tmp_path)
    assert done.returncode == 0
    assert "standard units" not in done.stdout


def test_an_unsuitable_decoder_names_both_keys(measurements: str, tmp_path: Path) -> None:
    done = called("train", *SMALL, measurements, "decoder=bernoulli", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("use decoder=gaussian dataset.standardize=true")


def test_a_first_step_that_breaks_blames_the_data(measurements: str, tmp_path: Path) -> None:
    words = ("decoder=gaussian", "decoder.min_scale=1e-30", "optimizer.lr=1e30")
    done = called("train", *SMALL, measurements, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert "train in standard units with dataset.standardize=true" in done.stderr
    assert "optimizer.lr" not in done.stderr


def test_used_latents_are_counted_in_the_end(tmp_path: Path) -> None:
    words = ("dataset=digits", "epochs=1", "latent_dim=9", "architecture.hidden=[8]", "optimizer.lr=1e-9", "output=run")
    done = called("train", *words, cwd=tmp_path)
    assert "no latent is used (posterior collapse)" in done.stdout


def test_a_collapsed_latent_that_is_drawn_is_called_so(tmp_path: Path) -> None:
    words = ("dataset=digits", "epochs=30", "latent_dim=9", "architecture.hidden=[8]", "objective=beta_vae",
             "objective.kl_weight=1000", "output=run")  # fmt: skip
    assert "no latent is used" in called("train", *words, cwd=tmp_path).stdout
    done = called("traverse", "run=run", cwd=tmp_path)
    assert "8 of 9 latents not drawn (KL below 0.1, as of the one drawn)" in done.stdout


def test_latents_that_are_hardly_used_are_not_counted_as_strong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaecli.training.summary.LEAST_KL", 1000.0)
    train("epochs=15", "latent_dim=3", "architecture.hidden=[64]", "optimizer.lr=0.01")
    said = capsys.readouterr().out
    assert "3 of 3 latents are used, but only slightly: none of them has a KL of 1000.0 or more" in said


def test_used_latents_and_those_that_are_not_drawn_agree(tmp_path: Path) -> None:
    """The line after training and that of `vae traverse` name the same KL."""
    words = ("dataset=digits", "epochs=15", "latent_dim=12", "architecture.hidden=[64]", "optimizer.lr=0.01",
             "output=run")  # fmt: skip
    done = called("train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kl = json.loads((tmp_path / "run" / "summary.json").read_text())["kl_per_dim"]
    strong = sum(value >= 0.1 for value in kl)
    assert 0 < strong < 12
    assert f" of 12 latents are used, {strong} of them with a KL of 0.1 or more" in done.stdout
    done = called("traverse", "run=run", "split=val", cwd=tmp_path)
    assert f"{12 - strong} of 12 latents not drawn (KL below 0.1)" in done.stdout
