"""`vae fit_prior`: the networks stay, the prior improves, and the new run stands alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.command_line import called

import vaecli


def load_weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(vaecli.load(run, device="cpu").model.state_dict())


def networks(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith("prior.")}


def bound(run: Path) -> float:
    return float(json.loads((run / "summary.json").read_text())["best"]["bound"])


@pytest.fixture(scope="module")
def fitted(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("fitted")
    shutil.copytree(digits_run, here / "run")
    done = called("fit_prior", "run=run", "epochs=12", "lr=0.02", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "wrote run_mixture" in done.stdout
    return here / "run_mixture"


def test_the_networks_stay_and_the_bound_rises(fitted: Path) -> None:
    before, after = (networks(load_weights(run)) for run in (fitted.parent / "run", fitted))
    assert list(before) == list(after)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert bound(fitted) > bound(fitted.parent / "run")


def test_the_new_run_stands_alone(fitted: Path, tmp_path: Path) -> None:
    """Every command reads it, and it is resumed, when the run that it came from is gone."""
    shutil.copytree(fitted, tmp_path / "alone")
    for words in (("sample",), ("evaluate", "k=2", "limit=5"), ("encode", "split=val")):
        done = called(*words, "run=alone", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    before = load_weights(tmp_path / "alone")
    done = called("train", "resume=alone", "epochs=13", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = load_weights(tmp_path / "alone")
    assert all(torch.equal(value, after[name]) for name, value in networks(before).items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit_prior", "run=run", "prior=standard_normal"), "has no weights to fit"),
        (("fit_prior", "run=none"), "there is no such folder"),
        (("fit_prior", "run=run", "lr=0"), "lr=0"),
        (("train", "repeat=run", "prior_of=run", "prior=mixture", "latent_dim=3", "output=o"), "other shapes"),
    ],
)
def test_what_is_refused(fitted: Path, words: tuple[str, ...], message: str) -> None:
    done = called(*words, cwd=fitted.parent)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in fitted.parent.iterdir()) == ["run", "run_mixture"]
