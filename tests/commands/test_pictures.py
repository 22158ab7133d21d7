"""Pictures of commands: what they show, that they fit on a screen, and that what is left out is said."""

from __future__ import annotations

import csv
import json
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer
from support.command_line import called, trained
from support.figures import written
from support.small_runs import draw_pictures, with_pictures
from support.thinned import every
from torch import Tensor

from vaecli.analysis.metrics import elbo_terms
from vaecli.models.vae import VAE
from vaecli.plots.style import DPI, SCREEN

MANY = {"sample": "n=3000", "reconstruct": "n=100", "traverse": "steps=100", "manifold": "n=30"}


def write_table(path: Path) -> Path:
    """569 rows of 30 columns with names, and a column of labels."""
    data = load_breast_cancer()
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "class"])
        writer.writerows([*row, data.target_names[y]] for row, y in zip(data.data.tolist(), data.target, strict=True))
    return path


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run on that table, and what is written in each of the pictures of its training."""
    folder = tmp_path_factory.mktemp("cancer")
    path = write_table(folder / "cancer.csv")
    words = ("dataset=arrays", f"dataset.path={path}", "dataset.standardize=true", "decoder=gaussian", "latent_dim=3")
    with pytest.MonkeyPatch.context() as patch:
        draw_pictures(patch)
        texts = written("train", *words, "epochs=1", "architecture.hidden=[16]", "output=run", cwd=folder)
    return folder / "run", texts


@pytest.fixture(scope="module")
def cancer(drawn: tuple[Path, list[str]]) -> Path:
    """The run alone."""
    return drawn[0]


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images of six channels, the last three of which are white; drawn are the last but one and two others."""
    folder = tmp_path_factory.mktemp("six")
    x = np.random.default_rng(0).random((40, 8, 9, 6)).astype(np.float32)
    x[..., 3:] = 1.0
    np.save(folder / "six.npy", x)
    words = ("dataset=arrays", f"dataset.path={folder / 'six.npy'}", "decoder=gaussian_fixed", "latent_dim=2")
    return with_pictures(folder, *words, "epochs=1", "architecture.hidden=[8]", "images.channels=[4,0,5]")


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def cpu_seconds() -> float:
    """Of this process and its children."""
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def fits(path: Path) -> bool:
    """On a screen, with headings and labels around it."""
    width, height = size(path)
    return width <= SCREEN[0] * DPI + 450 and height <= SCREEN[1] * DPI + 160


def test_n_and_indices_hold_for_files(cancer: Path, tmp_path: Path) -> None:
    data = cancer.parent / "cancer.csv"
    for args, rows in (((), range(569)), (("n=7",), range(7)), (("indices=[500,3]",), [500, 3])):
        done = called(
            "reconstruct", f"run={cancer}", f"input={data}", "format=csv", "output=r.csv", *args, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        found = list(csv.DictReader((tmp_path / "r.csv").open()))
        assert [int(row["index"]) for row in found] == list(rows)
        there = list(csv.DictReader(data.open()))
        assert float(found[-1]["mean radius"]) == pytest.approx(float(there[list(rows)[-1]]["mean radius"]), rel=1e-6)
    done = called("reconstruct", f"run={cancer}", f"input={data}", "indices=[2,569]", cwd=tmp_path)
    assert "indices=569: beyond the data" in done.stderr
    done = called("reconstruct", f"run={cancer}", "format=npz", "output=r.npz", cwd=tmp_path)
    assert len(np.load(tmp_path / "r.npz")["x"]) == 57  # the whole test split


def test_a_picture_of_a_long_file_is_quick_and_small(cancer: Path, tmp_path: Path) -> None:
    args = ("reconstruct", f"run={cancer}", f"input={cancer.parent / 'cancer.csv'}")
    done = called(*args, "output=ten.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "drew the first 10 of 569; format=npz writes them all" in done.stdout
    assert "│ 9 " in done.stdout
    assert "│ 10 " not in done.stdout
    before = cpu_seconds()
    done = called(*args, "n=569", "output=all.png", cwd=tmp_path)
    assert cpu_seconds() - before < 5
    assert "drew the first 10 of 569; format=npz writes them all" in done.stdout
    assert size(tmp_path / "all.png")[1] == pytest.approx(size(tmp_path / "ten.png")[1], abs=30)


@pytest.mark.parametrize(
    ("which", "command"),
    every(4, [*(("cancer", command) for command in (*MANY, "interpolate")), ("six", "sample"), ("six", "traverse"),
              ("digits_run", "reconstruct"), ("digits_run", "manifold"), ("beta_run", "manifold"),
              ("beta_run", "sample")]),
)  # fmt: skip
def test_pictures_of_much_fit_on_a_screen(
    which: str, command: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(which)
    before = cpu_seconds()
    done = called(command, f"run={run}", MANY.get(command, "steps=12"), "output=a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cpu_seconds() - before < 5
    assert fits(tmp_path / "a.png"), (command, size(tmp_path / "a.png"))
    assert all(map(fits, (run / "images").iterdir()))


@pytest.mark.parametrize(("args", "draws"), [
    (("format=npz", "n=40"), 500), (("format=png", "n=2"), 500), (("format=png", "n=40"), 25), (("format=png",), 100),
])  # fmt: skip
def test_a_picture_of_many_takes_fewer_draws_for_each(
    args: tuple[str, ...], draws: int, digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set()

    def terms(model: VAE, x: Tensor, n_samples: int) -> dict[str, Tensor]:
        asked.add(n_samples)
        return elbo_terms(model, x, 1)

    monkeypatch.setattr("vaecli.commands.reconstruct.elbo_terms", terms)
    output = f"output=r.{args[0].removeprefix('format=')}"
    done = called("reconstruct", f"run={digits_run}", *args, output, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert asked == {draws}


@pytest.mark.parametrize(
    ("command", "mode"),
    every(3, [("sample", "draws from p(x|z)"), ("manifold", "means of"), ("fit index=3", "residual norm")]),
)
def test_titles_say_which_run_epoch_and_mode(command: str, mode: str, cancer: Path, tmp_path: Path) -> None:
    (text,) = written(*command.split(), f"run={cancer}", "output=a.png", cwd=tmp_path)
    assert mode in text
    assert f"{cancer.parent.name}/run, epoch " in text
    assert "(best checkpoint)" in text
    assert "24 of 30 columns" in text


def test_a_title_says_that_draws_and_the_last_checkpoint_are_shown(beta_run: Path, tmp_path: Path) -> None:
    (text,) = written("sample", f"run={beta_run}", "mode=draw", "checkpoint=last", "output=a.png", cwd=tmp_path)
    assert "64 samples, draws from p(x|z)" in text
    assert "epoch 8 (last checkpoint)" in text


def test_training_draws_a_table_by_its_columns(drawn: tuple[Path, list[str]]) -> None:
    run, texts = drawn
    data, reconstructions, samples, curves = texts
    for text in texts:
        assert f"{run.parent.name}/run" in text
    for text in texts[:3]:
        assert "worst area" in text
        assert "24 of 30 columns" in text
    assert "validation observations and their reconstructions, means of p(x|z)" in reconstructions
    assert "epoch 1" in reconstructions
    assert "1,000 samples, draws from p(x|z)" in samples
    assert "correlations of the samples" in samples
    assert "455 training observations" in data
    assert "ELBO" in curves


def test_pictures_show_the_channels_asked_for(six: Path, tmp_path: Path) -> None:
    with Image.open(six / "images/data.png") as picture:
        pixels = np.asarray(picture)[200:400, 200:400].reshape(-1, 3)
    inner = pixels[(pixels != 88).any(1)]  # the grey between tiles
    assert (inner[:, [0, 2]] == 255).all()  # channels 4 and 5 are white
    assert inner[:, 1].min() < 40  # channel 0 is not
    done = called("sample", f"run={six}", "images.channels=[0]", "output=s.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "s.png") as picture:
        grey = np.asarray(picture)[200:400, 200:400].astype(int)
    assert (grey[..., 0] == grey[..., 1]).all()


@pytest.mark.parametrize(
    ("channels", "message"),
    [("[0,6]", "these images have the channels 0 to 5"), ("[0,1,2,3]", "expected one channel"), ("[]", "expected one"),
     ("3", "should be a valid list")],
)  # fmt: skip
def test_channels_that_are_refused(six: Path, channels: str, message: str, tmp_path: Path) -> None:
    key = f"images.channels={channels}"
    trained_on = f"dataset.path={six.parent / 'six.npy'}"
    for args in (("sample", f"run={six}"), ("train", "dataset=arrays", trained_on, "decoder=gaussian", "output=r")):
        done = called(*args, key, cwd=tmp_path)
        assert done.returncode == 1
        assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_channels_of_what_is_no_image(beta_run: Path, tmp_path: Path) -> None:
    done = called("sample", f"run={beta_run}", "images.channels=[0]", cwd=tmp_path)
    assert "these observations are not images" in done.stderr


@pytest.mark.slow
def test_a_traversal_leaves_out_idle_latents(tmp_path: Path) -> None:
    run = trained(tmp_path, "dataset=beta", "decoder=gaussian_identity", "latent_dim=20", "epochs=2",
                  "dataset.size=2000", "architecture.hidden=[32]", "architecture.activation=relu",
                  "optimizer.lr=0.001")  # fmt: skip
    kl = json.loads((run / "summary.json").read_text())["kl_per_dim"]
    done = called("traverse", f"run={run}", "split=val", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    idle = sum(value < 0.1 for value in kl)
    assert 5 < idle < 20
    assert f"{idle} of 20 latents not drawn (KL below 0.1)" in done.stdout
    assert size(run / "traversals.png")[1] < 1000
    done = called("traverse", f"run={run}", f"dims={list(range(20))}".replace(" ", ""), "output=all.png", cwd=tmp_path)
    assert "the first 16 of 20" in done.stdout
    assert fits(tmp_path / "all.png")
