"""`vae impute` and `vae sample given=`, as they are typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from support.command_line import called
from support.small_runs import vae

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.rewrite import read_text_table

TEXT = """# measured by hand
age;sex;income;note;city
39;f;"1 234,5";;Rome
NA;m;99,25;b;"Os;lo"
51; ;7,5;c; Rome
44;f;?;d;NULL
"""


def test_all_else_stays_byte_for_byte(tmp_path: Path) -> None:
    """Comments, quotes, blanks, decimal commas and ends of line stay; a text with the separator is quoted."""
    path = tmp_path / "x.csv"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode("latin-1"))
    table = read_text_table("x", path, ReadOptions(), 4)
    assert table.with_cells({}) == path.read_bytes()
    cells = {(1, "age"): "40", (2, "sex"): "m", (3, "income"): "8,5", (3, "city"): "Os;lo"}
    expected = TEXT.replace("NA;m", "40;m").replace("51; ;", "51;m;").replace("f;?;d;NULL", 'f;8,5;d;"Os;lo"')
    assert table.with_cells(cells) == expected.replace("\n", "\r\n").encode("latin-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("impute")
    rng = np.random.default_rng(0)
    t = rng.normal(size=400)
    columns = {
        "age": np.rint(40 + 10 * t).astype(int).astype(str), "sex": np.where(t > 0, "female", "male"),
        "income": np.exp(9 + t).round(2).astype(str), "id": np.array([f"row {i}" for i in range(400)]),
        "score": (2 * t).round(3).astype(str),
    }  # fmt: skip
    with (here / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    for name in ("age", "sex", "income", "score"):
        columns[name] = np.where(rng.random(400) < 0.15, "", columns[name])
    with (here / "gaps.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    vae(here, "train", "dataset=arrays", "dataset.path=x.csv", "latent_dim=2", "architecture.hidden=[32]", "epochs=60",
        "images.every_epochs=99", "device=cpu", "output=run")  # fmt: skip
    return here


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_gaps_are_filled_and_nothing_else(folder: Path) -> None:
    said = vae(folder, "impute", "run=run", "input=gaps.csv", "output=filled.csv", "k=200", "complete=2")
    before, after, truth = (rows(folder / f"{name}.csv") for name in ("gaps", "filled", "x"))
    gaps = [(i, name) for i, row in enumerate(before) for name, cell in row.items() if not cell]
    assert f"{len(gaps)} cells filled" in said
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        assert all(new[name] == cell for name, cell in old.items() if cell), i
        assert all(new.values())
        assert new["sex"] in ("female", "male")
        assert int(new["age"]) > 0
    intervals = rows(folder / "filled.intervals.csv")
    assert [(int(one["row"]), one["column"]) for one in intervals] == gaps
    inside = [float(one["low"]) <= float(truth[int(one["row"])][one["column"]]) <= float(one["high"])
              for one in intervals if one["low"]]  # fmt: skip
    assert 0.75 < np.mean(inside) <= 1
    numbers = [float(after[i]["score"]) - float(truth[i]["score"]) for i, name in gaps if name == "score"]
    assert np.std(numbers) < 0.8 * np.std([float(row["score"]) for row in truth])
    first, second = ((folder / f"filled.{i}.csv").read_text() for i in (1, 2))
    assert first != second
    vae(folder, "impute", "run=run", "input=gaps.csv", "output=alone.csv", "k=200")
    assert (folder / "alone.csv").read_bytes() == (folder / "filled.csv").read_bytes()


def test_parquet_becomes_text_and_text_parquet(folder: Path) -> None:
    """Cells that were known have the same values in all formats, and so have the filled ones."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(folder / "gaps.csv")
    frame["income"] = frame["income"].astype("float32")
    frame.to_parquet(folder / "gaps.parquet")
    keys = ("impute", "run=run", "k=50")
    vae(folder, *keys, "input=gaps.csv", "output=a.parquet", "complete=1")
    vae(folder, *keys, "input=gaps.parquet", "output=b.csv", "complete=1")
    vae(folder, *keys, "input=gaps.parquet", "output=b.parquet")
    texts, other = rows(folder / "b.csv"), pandas.read_parquet(folder / "a.parquet")
    for old, one, two in zip(frame.itertuples(), texts, other.itertuples(), strict=True):
        for name in ("age", "sex", "income", "score", "id"):
            cell, known = one[name], getattr(old, name)
            assert cell
            assert not cell.endswith(".0")
            assert str(getattr(two, name)) == cell or float(cell) == pytest.approx(getattr(two, name), rel=1e-6)
            assert known != known or cell == str(known) or float(cell) == pytest.approx(known, rel=1e-6)
    assert list(other.dtypes.astype(str))[::2] == ["int64", "float64", "float64"]
    assert pandas.read_parquet(folder / "b.parquet").dtypes.equals(frame.dtypes)
    assert {path.name for path in folder.glob("[ab].1.*")} == {"a.1.parquet", "b.1.csv"}


def test_a_file_without_gaps_comes_out_as_it_is(folder: Path) -> None:
    vae(folder, "impute", "run=run", "input=x.csv", "output=same.csv", "k=10")
    assert (folder / "same.csv").read_bytes() == (folder / "x.csv").read_bytes()


def test_samples_given_some_columns(folder: Path) -> None:
    vae(folder, "sample", "run=run", "given={age:60,sex:female}", "n=200", "k=4000", "format=csv", "output=g.csv")
    found = rows(folder / "g.csv")
    assert len(found) == 200
    assert {row["age"] for row in found} == {"60"}
    assert {row["sex"] for row in found} == {"female"}
    assert np.mean([float(row["score"]) for row in found]) > 1
    vae(folder, "sample", "run=run", "given={age:60}", "n=50", "k=400", "output=g.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sample", "given={old:1}"), "given: there is no column old"),
        (("sample", "given={sex:other}"), "given: column sex: other is not one of its categories (female, male)"),
        (("sample", "given={income:-3}"), "given: column income: -3 should be above 0, as in the run's data\n"),
        (("sample", "given={age:inf}"), "given: column age: inf is not a number"),
        (("sample", "given={age:null}"), "given: column age: null: expected one value; leave out what is not known"),
        (("sample", "given={sex:true}"), "given: column sex: true is not one of its categories (female, male)"),
        (("sample", "given={age:x}"), "given: column age: x is not a number"),
        (("sample", "given={age:40}", "mode=mean"), "leave z, mode and temperature out"),
        (("impute", "input=run/config.yaml"), "input=run/config.yaml: expected a"),
        (("impute", "input=new.csv"), "column sex: 'other' in row 2 is not one of the run's categories (female, male)"),
        (("alarm", "input=new.csv", "rate=0.1"), "column sex: 'other' in row 2 is not one of the run's categories"),
    ],
)
def test_what_is_refused(folder: Path, words: tuple[str, ...], message: str) -> None:
    (folder / "new.csv").write_text("sex,age,income,score\nmale,,1,\nother,40,2,1\n")
    done = called(*words, "run=run", cwd=folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    "words",
    [
        ("impute", "input=gaps.csv", "output=gaps.csv"),
        ("impute", "input=f.1.csv", "output=f.csv", "complete=2"),  # also under the names that follow from output=
        ("alarm", "input=gaps.csv", "output=./gaps.csv", "rate=0.1"),
        ("encode", "input=gaps.csv", "output=link.csv", "format=csv"),
        ("sample", "n=3", "format=csv", "output=x.csv"),  # what the run was trained on
        ("reconstruct", "input=gaps.csv", "output=gaps.csv", "format=csv"),
        ("evaluate", "input=e.scores.csv", "output=e.json", "scores=csv", "k=5"),
    ],
)
def test_a_file_that_is_read_is_never_replaced(folder: Path, words: tuple[str, ...]) -> None:
    for name in ("f.1.csv", "e.scores.csv"):
        (folder / name).write_bytes((folder / "gaps.csv").read_bytes())
    (folder / "link.csv").unlink(missing_ok=True)
    (folder / "link.csv").symlink_to("gaps.csv")
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    done = called(*words, "run=run", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "this file is read, and would be replaced; choose another output" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before


@pytest.mark.parametrize("words", [(), ("input=gaps.csv",)])
def test_no_indices_are_refused(folder: Path, words: tuple[str, ...]) -> None:
    done = called("reconstruct", "run=run", "indices=[]", *words, cwd=folder)
    assert done.returncode == 1
    assert done.stderr == "error: indices=[]: expected at least one index, as in indices=[3,14]\n"


def test_no_squared_error_over_columns_of_different_units(folder: Path) -> None:
    said = vae(folder, "evaluate", "run=run", "k=5", "limit=20", "output=figures.json")
    assert "mean squared error" not in said
    assert json.loads((folder / "figures.json").read_text())["mse"] is None
    assert "status" in vae(folder, "runs", "path=run")  # and the file is read again
