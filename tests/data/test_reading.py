"""What is trained on is what every later command reads: through the command line, with the right values."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from PIL import Image
from support.own_files import pictures, pixels, sparse, stack
from support.small_runs import SMALL, TABLE, refused, vae

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.files import read
from vaecli.utils.errors import UserError

IMAGES = ("dataset=images", "decoder=gaussian_fixed", *SMALL)
RNG = np.random.default_rng(0)


def table_of(path: Path) -> dict[str, list[str]]:
    with open(path, newline="") as file:
        heading, *rows = csv.reader(file)
    return dict(zip(heading, map(list, zip(*rows, strict=True)), strict=True))


def seen(folder: Path, *words: str) -> np.ndarray:
    """The observations that `vae reconstruct` shows, in the units of the data."""
    vae(folder, "reconstruct", "run=run", "n=1000", "format=npz", "output=seen.npz", *words)
    found: np.ndarray = np.load(folder / "seen.npz")["x"]
    return found


def write_csv(path: Path, header: str, rows: np.ndarray, index: bool = False) -> None:
    lines = [(f"{i}," if index else "") + ",".join(map(str, row)) for i, row in enumerate(rows.tolist())]
    path.write_text("\n".join([header, *lines]) + "\n")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    x = np.c_[RNG.normal(0, 1, 60), RNG.normal(1000, 50, 60), RNG.normal(5, 1, 60)].round(3)
    write_csv(tmp_path / "x.csv", "temp,temp,hum", x)
    said = vae(tmp_path, "train", *TABLE, "dataset.path=x.csv")
    assert "x.csv: 60 rows of 3 numbers (temp, temp_2, hum)" in said.splitlines()[0]
    assert "note: more than one column is called temp; the later ones are temp_2" in said
    assert np.allclose(seen(tmp_path, "input=x.csv"), x, rtol=1e-6)
    vae(tmp_path, "evaluate", "run=run", "k=200", "output=e.json")
    trained = json.loads((tmp_path / "run/summary.json").read_text())["test"]["elbo"]
    assert json.loads((tmp_path / "e.json").read_text())["elbo"] == pytest.approx(trained, abs=0.5)
    vae(tmp_path, "reconstruct", "run=run", "n=3", "format=csv", "output=r.csv")
    found = table_of(tmp_path / "r.csv")
    assert [float(found["temp_2"][0])] == pytest.approx([x[int(found["row"][0]), 1]])


@pytest.mark.parametrize("index", [False, True])
def test_names_that_are_numbers(index: bool, tmp_path: Path) -> None:
    x = RNG.normal(size=(30, 4)).round(3)
    write_csv(tmp_path / "x.csv", ",0,1,2,3" if index else "0,1,2,3", x, index)
    said = vae(tmp_path, "train", *TABLE, "dataset.path=x.csv", "dataset.missing=mask")
    assert "0, 1, 2" in said
    assert "is read as names; dataset.header=false reads it as an observation" in said
    assert np.allclose(seen(tmp_path, "input=x.csv"), x, atol=1e-6)
    vae(tmp_path, "sample", "run=run", "n=2", "format=csv", "output=s.csv")
    assert list(table_of(tmp_path / "s.csv")) == ["0", "1", "2", "3"]
    vae(tmp_path, "evaluate", "run=run", "input=s.csv", "k=2")  # what is written is read again


def test_keys_of_the_run_hold_for_input(tmp_path: Path) -> None:
    """A file that only its keys make sense of, and what vaecli writes, which needs none of them."""
    rows = "\n".join(f"1,{200 + i};{i};-" if i == 5 else f"1,{200 + i};{i};{i % 7}" for i in range(30))
    (tmp_path / "x.csv").write_text(rows + "\n")
    keys = (
        "dataset.separator=semicolon",
        "dataset.decimal=comma",
        "dataset.header=false",
        "dataset.missing_values=[-]",
    )
    vae(tmp_path, "train", *TABLE, "dataset.path=x.csv", "dataset.missing=mask", *keys)
    x = seen(tmp_path, "input=x.csv")
    assert np.allclose(x[:, 0], [1 + (200 + i) / 1000 for i in range(30)])
    assert np.isnan(x[5, 2])
    vae(tmp_path, "sample", "run=run", "n=4", "mode=draw", "format=csv", "output=s.csv")
    samples = table_of(tmp_path / "s.csv")
    assert np.allclose(seen(tmp_path, "input=s.csv").T, [list(map(float, column)) for column in samples.values()])
    (tmp_path / "y.csv").write_text("1.2|3|4\n1.3|5|6\n")
    other = ("dataset.separator=pipe", "dataset.decimal=point")
    assert np.allclose(seen(tmp_path, "input=y.csv", *other), [[1.2, 3, 4], [1.3, 5, 6]])


def test_a_number_that_is_none_never_makes_labels(tmp_path: Path) -> None:
    x = RNG.normal(5, 1, (30, 3)).round(2)
    write_csv(tmp_path / "x.csv", "a,b,c", x)
    whole = (tmp_path / "x.csv").read_text()
    (tmp_path / "x.csv").write_text(whole.replace(f"{x[7, 2]}\n", "<0.1\n", 1))
    said = refused(tmp_path, "train", *TABLE, "dataset.path=x.csv")
    assert "column c: 1 of 30 cells is not a number: '<0.1' in row 8; correct it, or" in said
    assert """'dataset.missing_values=["<0.1"]' dataset.missing=mask reads it as missing""" in said
    assert not (tmp_path / "run").exists()
    vae(tmp_path, "train", *TABLE, "dataset.path=x.csv", 'dataset.missing_values=["<0.1"]', "dataset.missing=mask")
    assert np.isnan(seen(tmp_path, "input=x.csv")).sum() == 1


def test_validation_folders(tmp_path: Path) -> None:
    for folder, n in (("Train", 10), ("valid", 3), ("test", 2)):
        pictures(tmp_path / "p" / folder, n=n)
    said = vae(tmp_path, "train", *IMAGES, "dataset.path=p")
    assert "20 to train (folder Train); 6 to validate (folder valid); 4 to test (folder test)" in said
    vae(tmp_path, "encode", "run=run", "split=val", "format=csv", "output=v.csv")
    assert sorted(table_of(tmp_path / "v.csv")["label_name"]) == ["cat"] * 3 + ["dog"] * 3
    kept = json.loads((tmp_path / "run/summary.json").read_text())["reading"]
    assert kept["splits"]["val"] == {"n": 6, "whence": "folder valid"}


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    values = [pixels(8, 8, top=4096, seed=i, kind="u2") for i in range(12)]
    for i, one in enumerate(values):
        Image.fromarray(one).save(tmp_path / "p" / f"{i:02d}.tif")
    said = vae(tmp_path, "train", *IMAGES, "dataset.path=p", "dataset.colour=grey", "dataset.white=4095")
    assert "16 bits a channel, 4,095 is white" in said
    x = seen(tmp_path, "input=p")
    assert np.allclose(x[:, 0] * 4095, np.stack(values), atol=1e-2)
    assert np.allclose(seen(tmp_path, "input=p/03.tif")[0, 0] * 4095, values[3], atol=1e-2)


def test_white_of_the_files_is_kept_for_others(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    values = [pixels(8, 8, top=1024, seed=i, kind="u2") for i in range(12)]
    for i, one in enumerate(values):
        Image.fromarray(one).save(tmp_path / "p" / f"{i:02d}.tif", tiffinfo={281: 1023})
    vae(tmp_path, "train", *IMAGES, "dataset.path=p", "dataset.colour=grey")
    Image.fromarray(values[0]).save(tmp_path / "no_tag.tif")
    assert np.allclose(seen(tmp_path, "input=no_tag.tif")[0, 0] * 1023, values[0], atol=1e-2)


def test_stacks(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for i in range(4):
        stack(tmp_path / "p" / f"{i}.tif", 10)
    said = vae(tmp_path, "train", *IMAGES, "dataset.path=p", "dataset.colour=grey")
    assert "40 pictures of 8x6 pixels, grey, of 4 files" in said
    assert len(seen(tmp_path, "input=p/0.tif")) == 10
    expected = np.stack([pixels(6, 8, seed=i) for i in range(10)])
    assert np.allclose(seen(tmp_path, "input=p/0.tif")[:, 0] * 255, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 8, 8, 3), (40, 8, 8, 1), (40, 8, 8)])
def test_arrays_of_pictures_are_given_as_they_were_trained_on(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = pixels(*shape)
    np.save(tmp_path / "x.npy", values)
    said = vae(tmp_path, "train", "dataset=arrays", "decoder=gaussian_fixed", *SMALL, "dataset.path=x.npy")
    assert f"40 pictures of 8x8 pixels, {'in colour' if shape[-1] == 3 else 'grey'}" in said
    expected = values.reshape(40, 8, 8, -1).transpose(0, 3, 1, 2) / 255
    assert np.allclose(seen(tmp_path, "input=x.npy"), expected, atol=1e-6)
    np.save(tmp_path / "one.npy", values[3])
    np.save(tmp_path / "dark.npy", values // 128)  # nothing but 0 and 1, and yet of 255
    assert np.allclose(seen(tmp_path, "input=one.npy"), expected[3:4], atol=1e-6)
    assert seen(tmp_path, "input=dark.npy").max() == pytest.approx(1 / 255)


def test_sparse_matrices(tmp_path: Path) -> None:
    sparse(tmp_path / "x.npz")
    said = vae(tmp_path, "train", "dataset=arrays", "decoder=poisson", *SMALL, "dataset.path=x.npz")
    assert "24 vectors of 30 numbers" in said
    assert np.array_equal(seen(tmp_path, "input=x.npz"), np.diag(np.arange(1.0, 31.0))[:24])


def test_a_sparse_matrix_is_whole_a_batch_at_a_time(tmp_path: Path) -> None:
    """The same run as of the whole matrix; and of a matrix that would take a terabyte as a whole, the first rows."""
    sparse(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.pad(np.diag(np.arange(1.0, 25.0)), ((0, 0), (0, 6))))
    elbo = []
    for name in ("x.npz", "x.npy"):
        said = vae(
            tmp_path, "train", "dataset=arrays", "decoder=poisson", *SMALL, f"dataset.path={name}", f"output={name[2:]}"
        )
        elbo.append(re.findall(r"test ELBO (\S+)", said))
    assert elbo[0] == elbo[1] != []
    wide = scipy.sparse.csr_matrix(([7.0], ([999_999], [123_456])), (1_000_000, 250_000))
    scipy.sparse.save_npz(tmp_path / "wide.npz", wide)
    content = read("x", tmp_path / "wide.npz", ReadOptions())
    last: Any = content.x[torch.tensor([999_999])]
    assert (tuple(content.x.shape), float(last.sum()), float(last[0, 123_456])) == ((1_000_000, 250_000), 7, 7)


def test_annotated_data(tmp_path: Path) -> None:
    """Names of the columns and labels come from the file; without anndata it is said what to install."""
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    counts = scipy.sparse.csr_matrix(rng.poisson(1.0, (40, 6)).astype("f4"))
    found = anndata.AnnData(counts)
    found.var_names = [f"gene {i}" for i in range(6)]
    found.obs["label"] = ["a", "b"] * 20
    settings = getattr(anndata, "settings", None)
    if hasattr(settings, "allow_write_nullable_strings"):  # what the texts of pandas 3 need in anndata 0.12
        settings.allow_write_nullable_strings = True
    found.write_h5ad(tmp_path / "x.h5ad")
    content = read("x", tmp_path / "x.h5ad", ReadOptions())
    assert content.names == tuple(f"gene {i}" for i in range(6))
    assert np.array_equal(content.x[torch.arange(40)].numpy(), counts.toarray())
    assert content.labels.counts == {"a": 20, "b": 20}


def test_annotated_data_without_anndata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anndata", None)
    (tmp_path / "x.h5ad").write_bytes(b"\x89HDF")
    with pytest.raises(UserError, match=r"need anndata; install it with pip install 'vaecli\[h5ad\]'"):
        read("x", tmp_path / "x.h5ad", ReadOptions())


@pytest.mark.parametrize("kind", ["csv", pytest.param("npy", marks=pytest.mark.slow)])
def test_times_stay_apart(kind: str, tmp_path: Path) -> None:
    t = 1_700_000_000 + 60 * np.arange(400)
    x = np.c_[t, np.sin(np.arange(400) / 50)]
    if kind == "npy":
        np.save(tmp_path / "x.npy", x)
    else:
        (tmp_path / "x.csv").write_text("time,load\n" + "".join(f"{a:.0f},{b:.4f}\n" for a, b in x))
    said = vae(tmp_path, "train", *TABLE, f"dataset.path=x.{kind}")
    assert "float64 until the mean is subtracted" in said
    again = seen(tmp_path, f"input=x.{kind}")
    assert again.dtype == np.float64
    assert np.array_equal(again[:, 0], t)
    vae(tmp_path, "reconstruct", "run=run", "n=300", "split=train", "format=csv", "output=r.csv")
    found = table_of(tmp_path / "r.csv")
    name = "time" if kind == "csv" else "x_1"
    assert [int(v) for v in found[name]] == [1_700_000_000 + 60 * int(row) for row in found["row"]]
    vae(tmp_path, "sample", "run=run", "n=50", "mode=draw", "format=npz", "output=s.npz")
    samples = np.load(tmp_path / "s.npz")["x"]
    assert samples.dtype == np.float64
    assert len(np.unique(samples[:, 0] % 128)) > 10  # float32 holds multiples of 128 alone
    vae(tmp_path, "evaluate", "run=run", "k=5", "limit=1", "exact=true")
    vae(tmp_path, "train", "resume=run", "epochs=2")
    vae(tmp_path, "fit", "run=run", "index=0", "restarts=1")
    assert "input   x float64 (N, 2)" in vae(tmp_path, "export", "run=run", "part=encoder", "format=torch")


def test_digits_that_float32_lacks_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("time,load\n" + "".join(f"{1_700_000_000 + 60 * i},{i}\n" for i in range(40)))
    said = vae(tmp_path, "data", "input=x.csv")
    assert "float32 has too few digits to distinguish all numbers; dataset.standardize=true keeps them distinct" in said
    assert "float64" in vae(tmp_path, "data", "input=x.csv", "dataset.standardize=true")


def test_what_was_read_is_said_and_kept(tmp_path: Path) -> None:
    x = RNG.normal(size=(30, 2)).round(3)
    lines = [f"{a},{'NA' if i == 3 else b},{'xy'[i % 2]}" for i, (a, b) in enumerate(x.tolist())]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,kind", *lines]) + "\n")
    (tmp_path / "y.csv").write_text("\n".join(["a,b,kind", *lines[:4]]) + "\n")
    words = ("dataset.path=x.csv", "dataset.test_path=y.csv", "dataset.missing=mask")
    said = vae(tmp_path, "train", *TABLE, *words).splitlines()
    assert said[0] == ("x.csv: 30 rows of 2 numbers (a, b); labels: column kind, 2 classes (x, y)"
                       " | y.csv: 4 rows of 2 numbers (a, b); labels: column kind, 2 classes (x, y)")  # fmt: skip
    assert said[1].startswith("comma-separated; header; 1 cell missing; ")
    assert said[1].endswith("27 to train, 3 to validate (drawn by dataset.split_seed=0); 4 to test (dataset.test_path)")
    kept: dict[str, Any] = json.loads((tmp_path / "run/summary.json").read_text())["reading"]
    asked = json.loads(vae(tmp_path, "data", "dataset=arrays", *words, "format=json", "kinds=false"))
    for one in (kept, asked):  # the run's paths are absolute
        one["name"] = ""
        for file in one["files"].values():
            file["path"] = ""
    assert kept == asked
    for command in (
        "evaluate k=2",
        "encode",
        "fit index=0 restarts=1",
    ):
        printed = vae(tmp_path, *command.split(), "run=run").splitlines()
        assert printed[0].startswith(f"{tmp_path}/x.csv: 30 rows of 2 numbers (a, b)"), command
    assert vae(tmp_path, "evaluate", "run=run", "k=2", "input=y.csv").startswith("y.csv: 4 rows of 2 numbers (a, b)")


def test_vae_data_draws_what_it_reads(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", ",".join(f"c{i}" for i in range(5)), RNG.normal(size=(40, 5)).round(2))
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 5)))
    pictures(tmp_path / "p")
    for name in ("x.csv", "x.npy", "p"):
        assert f"wrote {name}.png" in vae(tmp_path, "data", f"input={name}", f"output={name}.png")
        assert min(Image.open(tmp_path / f"{name}.png").size) > 50
    assert json.loads(vae(tmp_path, "data", "input=p", "format=json", "output=q.png"))["files"]["path"]["files"] == 8
    assert "input has no value: give input=FILE" in refused(tmp_path, "data")
    assert "give one of them" in refused(tmp_path, "data", "input=x.csv", "dataset.path=x.npy")


@pytest.mark.parametrize("d", [1_000, pytest.param(150_000, marks=pytest.mark.slow)])
def test_a_wide_table(d: int, tmp_path: Path) -> None:
    rows = [
        "\t".join(f"gene_{i}" for i in range(d)),
        *("\t".join(str((i + k) % 7) for i in range(d)) for k in range(6)),
    ]
    (tmp_path / "x.tsv").write_text("\n".join(rows) + "\n")
    found = json.loads(vae(tmp_path, "data", "input=x.tsv", "format=json"))["files"]["path"]
    assert (found["observations"], found["shape"], found["n_columns"]) == (6, [d], d)
    assert found["columns"][3] == {"name": "gene_3", "type": "whole numbers", "low": 0, "high": 6, "missing": 0}
