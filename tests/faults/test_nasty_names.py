"""Names are text: whatever a label, column, file or folder is called, every command works and writes it out safely."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_line import called, forked, vae
from support.names import NASTY
from support.run_folders import make

from vaecli.runs.read import load_yaml
from vaecli.utils import text

WORST = (r"$\frac{$", "${", "\x1b[31m[/b]\nred", "=cmd()", "1e3", "_a;b;c;d;e" + "n" * 980)
FOLDER = "[b]:smile: \x1b[31m${ $\\frac{$ =1+1 \u202e%s"
SMALL = ("epochs=1", "latent_dim=2", "architecture.hidden=[4]", "batch_size=16", "images.every_epochs=1", "device=cpu")


def printed(*args: str, cwd: Path) -> str:
    """What a command prints: it ends well, and every line is printable."""
    done = called(*args, cwd=cwd)
    said = done.stdout + done.stderr
    assert done.returncode == 0, (args, said)
    assert all(line.isprintable() for line in said.split("\n")), said
    assert not re.search("Traceback|Warning", said), said
    return said


def folder_in(place: Path) -> Path:
    folder = place / FOLDER.replace("${", "$")
    folder.mkdir()
    return folder


def trained_in(folder: Path, *args: str) -> Path:
    """A run in outputs, its folder then given a nasty name."""
    printed("train", *SMALL, *args, cwd=folder)
    (run,) = (folder / "outputs").glob("*/*")
    return run.rename(run.with_name(FOLDER))


def table(path: Path, names: tuple[str, ...], labels: tuple[str, ...] = NASTY[:20], n: int = 60) -> None:
    """Random numbers below these headings, and a column of labels."""
    x = np.random.default_rng(0).standard_normal((n, len(names))).round(4)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL if "" in labels else csv.QUOTE_MINIMAL)
        writer.writerow([*names, "class"])
        writer.writerows([*row, labels[i % len(labels)]] for i, row in enumerate(x.tolist()))


def assert_no_formulas(path: Path) -> None:
    for row in csv.reader(path.open(newline="")):
        assert all(cell.isprintable() for cell in row)
        assert all(not cell.startswith(text.FORMULA) or text.NUMBER.fullmatch(cell) for cell in row), row


FIRST = (
    "encode split=train format=csv tensorboard=true", "reconstruct n=2 format=csv", "sample n=20",
    "sample n=20 format=csv", "sample n=20 format=npz", "evaluate k=5 scores=csv", "runs",
)  # fmt: skip
OTHERS = (
    "manifold n=2", "traverse steps=3", "interpolate steps=3", "reconstruct n=2", "export part=decoder format=torch",
)  # fmt: skip


def do_all(lines: tuple[str, ...], folder: Path, run: Path) -> None:
    """What can be done with a run on a table."""
    for line in lines:
        printed(*line.split(), cwd=folder)
    figures = []
    for kind in ("csv", "npz"):
        (folder / f"again.{kind}").write_bytes((run / f"samples.{kind}").read_bytes())
        printed("evaluate", "k=5", f"input=again.{kind}", cwd=folder)
        figures.append(json.loads((run / "evaluation.json").read_text()))
    printed("fit", "index=0", "restarts=1", "input=again.csv", cwd=folder)
    assert figures[0]["elbo"] == pytest.approx(figures[1]["elbo"], rel=1e-5)
    for path in run.glob("*.csv"):
        assert_no_formulas(path)
    metadata = next((run / "embedding").rglob("metadata.tsv")).read_text()
    assert metadata.count("\n") == 48
    assert all(line.strip() and line.isprintable() for line in metadata.split("\n")[:-1])


def all_of(names: tuple[str, ...], place: Path, lines: tuple[str, ...]) -> None:
    folder = folder_in(place)
    table(folder / "data.csv", names, labels=names)
    run = trained_in(folder, "dataset=arrays", "decoder=gaussian", "dataset.path=data.csv", "dataset.labels=class")
    columns = load_yaml((run / "config.yaml").read_text())["dataset"]["columns"]
    assert columns == [name.strip().removeprefix("#") for name in names]
    assert (run / "train.log").read_text().replace("\n", "").isprintable()
    do_all(lines, folder, run)


@pytest.mark.usefixtures("without_hydra")
@pytest.mark.parametrize("lines", [FIRST, pytest.param((*OTHERS, *FIRST), marks=pytest.mark.faults)])
def test_every_command_with_nasty_names(lines: tuple[str, ...], tmp_path: Path) -> None:
    all_of(WORST, tmp_path, lines)


def images(folder: Path, names: tuple[str, ...]) -> None:
    """Grey pictures in sub-folders with these names, and called so too."""
    pixels = np.random.default_rng(0).integers(0, 255, (len(names), 4, 6, 6), np.uint8)
    for name, several in zip(names, pixels, strict=True):
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(several):
            Image.fromarray(picture).save(folder / name / f"{name[:200]}{i}.png")


@pytest.mark.usefixtures("without_hydra")
def test_nasty_folders_and_files(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    names = tuple(dict.fromkeys(name.replace("/", "")[:200] for name in NASTY if name.strip(".~")))
    images(folder / "data", names[::3])
    run = trained_in(folder, "dataset=images", "dataset.path=data", "dataset.colour=grey", "decoder=gaussian")
    for line in ("reconstruct n=5 split=train", "encode split=train format=csv tensorboard=true", "sample n=3",
                 "evaluate k=5", "runs format=csv"):  # fmt: skip
        printed(*line.split(), cwd=folder)
    assert_no_formulas(run / "latents.csv")
    shutil.copytree(run, run.with_name("_$\\foo$ [b]\x1b$"))
    said = printed("reconstruct", "run=outputs/images", "n=2", "split=train", cwd=folder)
    assert said.count("[b]\\x1b$") == 1  # the titles of the two tables are the folders' names
    picture = next((folder / "data").rglob("*.png"))
    picture.rename(folder / f"{names[0]}.png")
    printed("fit", f"input='{names[0]}.png'", "restarts=1", cwd=folder)


def test_broken_images_are_named_safely(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "\x1b[31m\nred"
    folder.mkdir(parents=True)
    for i in range(20):
        (folder / f"[b]\x07{i}.png").write_bytes(b"nothing")
    done = called("train", "dataset=images", "dataset.path=data", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: dataset.path=data: 20 of 20 images cannot be read: \\x1b[31m\\nred/[b]\\x07")
    assert all(line.isprintable() for line in done.stderr.split("\n"))


def test_letters_that_the_terminal_lacks(tmp_path: Path) -> None:
    make(tmp_path / "outputs" / "日本 \udcff")
    done = vae("runs", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert r"outputs/\u65e5\u672c \udcff" in done.stdout


def test_hydra_cannot_work_in_such_a_folder(tmp_path: Path) -> None:
    (tmp_path / "${").mkdir()
    done = forked("runs", cwd=tmp_path / "${")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "with ${ in its name; rename it" in done.stderr


@pytest.mark.faults
@pytest.mark.parametrize("first", range(0, len(NASTY), 5))
def test_five_nasty_names(first: int, tmp_path: Path) -> None:
    all_of(NASTY[first : first + 5], tmp_path, (*OTHERS, *FIRST))
