"""vae compare: runs on the same observations, and what does not compare."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.command_line import called
from support.small_runs import vae

SMALL = ("dataset=digits", "dataset.limit=120", "epochs=1", "architecture.hidden=[8]", "device=cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that compare, and others."""
    words = {
        "a": ("latent_dim=2",), "b": ("latent_dim=3",), "dynamic": ("dataset.binarize=dynamic",),
        "mass": ("decoder=discretized_logistic",), "other": ("dataset.val_size=50",),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("compared")
    for name, more in words.items():
        vae(folder, "train", *SMALL, *more, f"output={name}")
    return {name: folder / name for name in words}


def test_two_runs_are_compared_by_pairs(runs: dict[str, Path], tmp_path: Path) -> None:
    words = ("k=30", "device=cpu", f"output={tmp_path / 'c.json'}")
    done = called("compare", f"run=[{runs['a']},{runs['b']}]", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "c.json").read_text())
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    difference = torch.tensor([float(row["difference_2"]) for row in rows])
    (pair,) = found["differences"]
    assert pair["mean"] == pytest.approx(float(difference.mean()), abs=1e-4)
    assert pair["mean"] == pytest.approx(found["runs"][0]["nll"] - found["runs"][1]["nll"], abs=1e-4)
    assert pair["stderr"] == pytest.approx(float(difference.std()) / len(rows) ** 0.5, rel=1e-3)
    assert pair["wins"] == pytest.approx(float((difference > 0).float().mean()))
    assert f"{pair['mean']:+.3f}" in done.stdout
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width <= 1400


def test_a_copy_of_a_run_differs_by_nothing(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs["a"], tmp_path / "copy")
    done = called("compare", f"run=[{runs['a']},{copy},{runs['b']}]", "k=5", "limit=20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((runs["a"] / "comparison.json").read_text())
    assert [one["mean"] == 0 for one in found["differences"]] == [True, False]


def test_a_run_is_named_once(runs: dict[str, Path], tmp_path: Path) -> None:
    for again in (runs["a"], runs["b"] / ".." / "a"):
        done = called("compare", f"run=[{runs['a']},{runs['b']},{again}]", cwd=tmp_path)
        assert done.stderr == f"error: run=[...]: {again} is named twice; give different runs, as in run=[A,B]\n"


@pytest.mark.parametrize(("other", "message"), [
    ("dynamic", "dataset.binarize is none in"),
    ("mass", "is an expectation over binary images, that of"),
    ("other", "was trained on other data than"),
])  # fmt: skip
def test_what_does_not_compare_is_refused(other: str, message: str, runs: dict[str, Path], tmp_path: Path) -> None:
    done = called("compare", f"run=[{runs['a']},{runs[other]}]", "k=5", f"output={tmp_path / 'c.json'}", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_fewer_than_two_runs_are_refused(tmp_path: Path) -> None:
    done = called("compare", cwd=tmp_path)
    assert done.stderr == "error: run=[]: expected two runs or more, as in run=[A,B]\n"


@pytest.mark.slow
def test_several_seeds_are_compared_by_equal_ones(runs: dict[str, Path], tmp_path: Path) -> None:
    """The mean over seeds of the paired differences, and its standard error over seeds."""
    for folder, first in {"one": 0, "two": 1}.items():
        words = (f"latent_dim={2 + first}", f"seed={first}", "seeds=3", f"output={folder}", "dataset.limit=128")
        vae(tmp_path, "train", *SMALL, *words)
    folders = [tmp_path / "one", tmp_path / "two"]
    done = called("compare", f"run=[{folders[0]},{folders[1]}]", "k=5", "limit=30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((folders[0] / "comparison.json").read_text())
    means = torch.tensor([one["mean"] for one in found["differences"]], dtype=torch.float64)
    assert found["over_seeds"]["seeds"] == [1, 2]
    assert found["over_seeds"]["mean"] == pytest.approx(float(means.mean()))
    assert found["over_seeds"]["stderr"] == pytest.approx(float(means.std()) / 2**0.5)
    by_seed = {Path(one["run"]).parent.name + Path(one["run"]).name: one["nll"] for one in found["runs"]}
    assert means[0] == pytest.approx(by_seed["oneseed_1"] - by_seed["twoseed_1"], abs=1e-4)
    assert f" than {folders[0]}: {means.mean():+.2f} ±" in done.stdout.replace("\n", " ")
    done = called("compare", f"run=[{folders[0]},{runs['a']}]", "k=5", cwd=tmp_path)
    assert "expected two folders of several seeds" in done.stderr
    done = called("compare", f"run=[{folders[0]},{folders[0]}]", "k=5", cwd=tmp_path)
    assert "is named twice" in done.stderr


def test_the_runs_are_named_whole(tmp_path: Path) -> None:
    """A prior that was fitted to another run: the path of that run is left out, and no name is cut."""
    vae(tmp_path, "train", *SMALL, "latent_dim=2", "output=first")
    vae(tmp_path, "fit_prior", "run=first", "prior=mixture", "prior.components=3", "epochs=1", "output=second")
    said = vae(tmp_path, "compare", "run=[first,second]", "k=5", "device=cpu")
    assert "prior=standard_normal" in said
    assert "better on" in said
    assert max(map(len, said[said.index("┏") : said.index("┘")].splitlines())) <= 80  # nothing is cut at the right
    assert "┓" in said
    assert "prior=mixture" in said
    assert "prior_of" not in said
    assert "\N{HORIZONTAL ELLIPSIS}" not in said


def test_runs_of_a_table_are_called_by_their_decoders(tmp_path: Path) -> None:
    """Kinds and categories of columns follow from the decoder and the data."""
    lines = [f"{i % 7 + i / 100:.2f},{i % 5 * 1.5}" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["length,width", *lines]) + "\n")
    table = ("dataset=arrays", "dataset.path=t.csv", *SMALL[2:], "latent_dim=2")
    vae(tmp_path, "train", *table, "output=a")
    vae(tmp_path, "train", *table, "decoder=gaussian", "dataset.standardize=true", "output=b")
    said = vae(tmp_path, "compare", "run=[a,b]", "k=5", "device=cpu") + vae(tmp_path, "runs", "path=.")
    assert "decoder=columns" in said
    assert "dataset.standardize=true" in said
    assert not any(f"dataset.{key}" in said for key in ("kinds", "categories", "precision"))
