"""Labels, rows and files go with the figures of a file; windows of a series; stacks; grey pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.figures import written
from support.looking import look
from support.own_files import pixels, stack
from support.small_runs import SMALL, TABLE, refused, vae

from vaecli.commands._inputs import read_input
from vaecli.models.load import load_run

KINDS = ["rose", "lily", "iris"]


def table_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def flowers(path: Path, n: int, start: int = 0) -> None:
    rows = np.random.default_rng(start).normal(size=(n, 3)).round(4).tolist()
    lines = [f"{a},{b},{c},{KINDS[(i + start) % 3]}" for i, (a, b, c) in enumerate(rows)]
    path.write_text("\n".join(["a,b,c,kind", *lines]) + "\n")


def test_labels_and_rows_of_a_table(tmp_path: Path) -> None:
    flowers(tmp_path / "x.csv", 60)
    flowers(tmp_path / "new.csv", 7, start=1)
    vae(tmp_path, "train", *TABLE, "dataset.path=x.csv")
    said = vae(tmp_path, "encode", "run=run", "input=new.csv", "format=csv", "output=codes.csv")
    assert "labels: column kind, 3 classes (iris, lily, rose)" in said
    expected = [(KINDS[(i + 1) % 3], str(i)) for i in range(7)]
    assert [(row["label_name"], row["row"]) for row in table_of(tmp_path / "codes.csv")] == expected
    vae(tmp_path, "reconstruct", "run=run", "input=new.csv", "format=csv", "output=r.csv")
    assert [(row["label_name"], row["row"]) for row in table_of(tmp_path / "r.csv")] == expected
    vae(tmp_path, "evaluate", "run=run", "input=new.csv", "k=2", "scores=csv", "output=e.json")
    assert [(row["label_name"], row["row"]) for row in table_of(tmp_path / "e.scores.csv")] == expected
    vae(tmp_path, "encode", "run=run", "input=new.csv", "output=codes.npz")
    with np.load(tmp_path / "codes.npz") as codes:
        assert codes["label_names"][codes["labels"]].tolist() == [kind for kind, _ in expected]
        assert codes["rows"].tolist() == list(range(7))
    own = table_of(tmp_path / "x.csv")
    vae(tmp_path, "evaluate", "run=run", "k=2", "scores=csv", "output=own.json")
    assert all(own[int(row["row"])]["kind"] == row["label_name"] for row in table_of(tmp_path / "own.scores.csv"))


def test_a_file_without_the_labels(tmp_path: Path) -> None:
    flowers(tmp_path / "x.csv", 60)
    (tmp_path / "new.csv").write_text("c,b,a\n1,2,3\n4,5,6\n")
    vae(tmp_path, "train", *TABLE, "dataset.path=x.csv")
    vae(tmp_path, "encode", "run=run", "input=new.csv", "format=csv", "output=codes.csv")
    assert list(table_of(tmp_path / "codes.csv")[0]) == ["loc_1", "loc_2", "scale_1", "scale_2", "row"]


@pytest.mark.slow
def test_files_of_pictures(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(pixels(6, 6, seed=i)).save(tmp_path / "photos" / kind / f"{i}.png")
    said = vae(tmp_path, "train", "dataset=images", "dataset.path=photos", "decoder=gaussian", *SMALL)
    assert "photos: 16 pictures of 6x6 pixels, grey, of 16 files" in said
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(8)]
    seen = set()
    for part in ("train", "val", "test"):
        vae(tmp_path, "encode", "run=run", f"split={part}", "format=csv", "output=codes.csv")
        rows = table_of(tmp_path / "codes.csv")
        assert all(row["file"] == names[int(row["row"])] and row["file"].startswith(row["label_name"]) for row in rows)
        seen |= {row["file"] for row in rows}
    assert seen == set(names)
    vae(tmp_path, "encode", "run=run", "input=photos", "format=csv", "output=codes.csv")
    rows = table_of(tmp_path / "codes.csv")
    assert [row["file"] for row in rows] == names
    assert [row["label_name"] for row in rows] == ["cat"] * 8 + ["dog"] * 8
    titles = read_input(load_run(str(tmp_path / "run"), device="cpu"), str(tmp_path / "photos")).titles()
    assert titles[7:9] == ["7 (7.png, cat)", "8 (0.png, dog)"]
    (text,) = written("interpolate", "run=run", "input=photos", "from=7", "to=8", "output=path.png", cwd=tmp_path)
    assert "observations 7 (7.png, cat) and 8 (0.png, dog) of photos" in " ".join(text.split())
    (text,) = written("reconstruct", "run=run", "input=photos", "indices=[7,8]", "output=r.png", cwd=tmp_path)
    assert "7\n7.png\ncat\nELBO" in text
    vae(tmp_path, "evaluate", "run=run", "input=photos/dog", "k=2", "scores=true", "output=e.json")
    with np.load(tmp_path / "e.scores.npz") as scores:
        assert scores["files"].tolist() == [f"{i}.png" for i in range(8)]


def series(path: Path, n: int = 1000) -> np.ndarray:
    """Values that say where they are."""
    x = np.arange(n, dtype=np.float64)
    np.save(path, x)
    return x


def test_windows_of_a_series(tmp_path: Path) -> None:
    series(tmp_path / "x.npy")
    assert "dataset.window=64 dataset.stride=16" in refused(tmp_path, "data", "input=x.npy")
    said = vae(tmp_path, "train", *TABLE, "dataset.path=x.npy", "dataset.window=20", "dataset.stride=3")
    assert "windows of 20 values: one every 3 values to train on, without overlap to validate and test" in said
    assert "261 to train, 5 to validate, 5 to test (the first values to train on, the last to test)" in said
    for part, first, last, step in (("train", 0, 800, 3), ("val", 800, 900, 20), ("test", 900, 1000, 20)):
        vae(tmp_path, "reconstruct", "run=run", f"split={part}", "n=1000", "format=npz", "output=seen.npz")
        with np.load(tmp_path / "seen.npz") as seen:
            starts = np.arange(first, last - 19, step)
            assert (seen["x"] == starts[:, None] + np.arange(20)).all()  # no value in two splits
            assert seen["rows"].tolist() == starts.tolist()
    np.save(tmp_path / "new.npy", np.arange(50.0))
    said = vae(tmp_path, "reconstruct", "run=run", "input=new.npy", "format=npz", "output=seen.npz")
    assert (
        "2 windows of 20 values, without overlap; the last 10 values are too few for a window and are left out" in said
    )
    with np.load(tmp_path / "seen.npz") as seen:
        assert (seen["x"] == np.arange(40).reshape(2, 20)).all()
        assert seen["rows"].tolist() == [0, 20]
    vae(tmp_path, "sample", "run=run", "n=4", "format=csv", "output=made.csv")
    vae(tmp_path, "encode", "run=run", "input=made.csv", "format=csv", "output=codes.csv")
    assert len(table_of(tmp_path / "codes.csv")) == 4


def test_the_default_decoder_takes_a_series_in_its_own_units(tmp_path: Path) -> None:
    series(tmp_path / "x.npy")
    words = [word for word in TABLE if not word.startswith(("decoder", "dataset.standardize"))]
    vae(tmp_path, "train", *words, "dataset.path=x.npy", "dataset.window=20")
    config = load_run(str(tmp_path / "run")).config
    assert config["decoder"]["name"] == "gaussian"
    assert config["dataset"]["standardize"] is True
    vae(tmp_path, "sample", "run=run", "n=20", "format=npz", "output=made.npz")
    with np.load(tmp_path / "made.npz") as made:
        assert abs(made["x"].mean() - 400) < 200  # the mean of the values to train on


def test_the_default_decoder_keeps_to_the_units_asked_for(tmp_path: Path) -> None:
    series(tmp_path / "x.npy")
    words = [word for word in TABLE if not word.startswith(("decoder", "dataset.standardize"))]
    said = refused(tmp_path, "train", *words, "dataset.path=x.npy", "dataset.window=20", "dataset.standardize=false")
    assert "decoder=bernoulli scores values in [0, 1], but the data lie in [0, 799]" in said


def test_windows_of_a_column(tmp_path: Path) -> None:
    x = np.sin(np.arange(400) / 9).round(4)
    (tmp_path / "x.csv").write_text("day,flow,level\n" + "".join(f"d{i},{v},{-v}\n" for i, v in enumerate(x)))
    words = ("dataset.path=x.csv", "dataset.window=16")
    said = refused(tmp_path, "train", *TABLE, *words)
    assert "a row of this file holds 2 numbers; choose one, as in 'dataset.columns=[flow]'" in said
    vae(tmp_path, "train", *TABLE, *words, "dataset.columns=[level]")
    vae(tmp_path, "reconstruct", "run=run", "input=x.csv", "n=9", "format=npz", "output=seen.npz")
    with np.load(tmp_path / "seen.npz") as seen:
        assert np.allclose(seen["x"], -x[: 9 * 16].reshape(9, 16), atol=1e-6)


@pytest.mark.parametrize(("words", "said"), [
    (("dataset.stride=3",), "has no effect without dataset.window"),
    (("dataset.window=900",), "needs at least 900 values in every split"),
    (("dataset.window=9", "dataset.labels=y"), "windows of a series have no labels"),
])  # fmt: skip
def test_windows_that_cannot_be(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    series(tmp_path / "x.npy")
    assert said in refused(tmp_path, "data", "input=x.npy", *words)


def parts_of_pages(folder: Path) -> dict[str, set[str]]:
    """The files and pages in each part."""
    found = {}
    for part in ("train", "val", "test"):
        vae(folder, "encode", "run=run", f"split={part}", "format=csv", "output=codes.csv")
        found[part] = {row["file"] for row in table_of(folder / "codes.csv")}
    return found


def test_a_stack_is_in_one_split(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    for i in range(6):
        stack(tmp_path / "stacks" / f"{i}.tif", 4 + i)
    words = ("train", "dataset=images", "dataset.path=stacks", "decoder=gaussian", *SMALL)
    assert "(whole files drawn by dataset.split_seed=0)" in vae(tmp_path, *words)
    parts = parts_of_pages(tmp_path)
    files = {part: {name.split("[")[0] for name in names} for part, names in parts.items()}
    assert sum(map(len, files.values())) == 6
    assert sum(map(len, parts.values())) == sum(4 + i for i in range(6))
    assert set().union(*parts.values()) == {f"{i}.tif[{page}]" for i in range(6) for page in range(4 + i)}


@pytest.mark.slow
def test_pages_of_one_stack_are_split_in_their_order(tmp_path: Path) -> None:
    stack(tmp_path / "x.tif", 20)
    words = ("train", "dataset=images", "dataset.path=x.tif", "decoder=gaussian", *SMALL)
    assert "the pages in their order, because there are too few files to draw from" in vae(tmp_path, *words)
    expected = {"train": range(16), "val": (16, 17), "test": (18, 19)}
    assert parts_of_pages(tmp_path) == {part: {f"x.tif[{i}]" for i in pages} for part, pages in expected.items()}


def test_grey_is_seen(tmp_path: Path) -> None:
    for name, colours in (("grey", "L"), ("plain", "RGB"), ("palette", "P"), ("alpha", "LA")):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(pixels(6, 6, seed=i)).convert(colours).save(tmp_path / name / f"{i}.png")
        assert look(tmp_path / name, "images")["shape"] == [1, 6, 6]
        assert look(tmp_path / name, "images", colour="rgb")["shape"] == [3, 6, 6]
    assert "saved in colour, but every pixel is grey" in vae(tmp_path, "data", "input=plain")
    Image.fromarray(pixels(6, 6, 3)).save(tmp_path / "grey" / "9.png")
    assert look(tmp_path / "grey", "images")["shape"] == [3, 6, 6]


def test_pictures_of_many_channels(tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "sat").mkdir()
    x = pixels(10, 6, 6, 5, top=1000, kind="u2")
    for i, one in enumerate(x):
        planes = {"planarconfig": "separate"} if i % 2 else {"planarconfig": "contig"}
        tifffile.imwrite(tmp_path / "sat" / f"{i}.tif", one.transpose(2, 0, 1) if i % 2 else one,
                         photometric="minisblack", **planes)  # fmt: skip
    words = ("dataset=images", "dataset.path=sat", "dataset.white=1000", "decoder=gaussian", "images.channels=[3,2,1]")
    assert "10 pictures of 6x6 pixels, 5 channels, of 10 files" in vae(tmp_path, "train", *words, *SMALL)
    vae(tmp_path, "reconstruct", "run=run", "input=sat", "format=npz", "output=seen.npz")
    with np.load(tmp_path / "seen.npz") as seen:
        assert np.allclose(seen["x"], x.transpose(0, 3, 1, 2) / 1000, atol=1e-6)
    vae(tmp_path, "reconstruct", "run=run", "images.channels=[4,0,2]", "output=seen.png")
    Image.fromarray(pixels(6, 6)).save(tmp_path / "sat" / "grey.tif")
    assert "different numbers of channels" in refused(tmp_path, "data", "input=sat")
