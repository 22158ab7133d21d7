"""The kinds of a table's columns: the rule, what the user gives instead, and what a later file may hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support.command_line import called
from support.small_runs import refused, vae

from vaecli.commands import _outputs
from vaecli.commands._decimals import rounded
from vaecli.commands._outputs import cells_of, write_table
from vaecli.datasets.arrays import Arrays
from vaecli.datasets.kinds import find_kinds
from vaecli.datasets.mixed import possible
from vaecli.utils.columns import ColumnKind
from vaecli.utils.errors import UserError

RNG = np.random.default_rng(0)
N = 200
FAST = ("architecture.hidden=[8]", "latent_dim=2", "epochs=1", "images.every_epochs=9", "device=cpu", "output=run")
RULE: dict[str, tuple[Any, ColumnKind]] = {
    "normal": (RNG.normal(size=N), ColumnKind("real")),
    "size": (RNG.lognormal(size=N), ColumnKind("positive")),
    "rain": (np.maximum(RNG.normal(size=N), 0), ColumnKind("positive", zeros=True)),
    "share": (RNG.beta(0.5, 0.5, N), ColumnKind("interval", low=0, high=1)),
    "small": (RNG.uniform(0.1, 0.2, N), ColumnKind("positive")),  # not near 0 and 1: no share of a whole
    "full share": (np.clip(RNG.normal(0.5, 0.5, N), 0, 1), ColumnKind("interval", low=0, high=1, zeros=True)),
    "fat in %": (RNG.uniform(10, 40, N), ColumnKind("interval", low=0, high=100)),
    "two": (RNG.choice([1, 2], N), ColumnKind("binary", levels=2)),
    "few": (RNG.choice([1, 3, 4], N), ColumnKind("category", levels=3)),
    "visits": (RNG.poisson(9, N), ColumnKind("count", whole=True)),
    "age": (RNG.integers(18, 90, N), ColumnKind("positive", whole=True)),
    "people": (RNG.integers(0, 10**8, N) * 0 + RNG.integers(1, 10**8, N), ColumnKind("positive", whole=True)),
    "change": (RNG.integers(-50, 50, N), ColumnKind("real", whole=True)),
    "same": (np.full(N, 3.5), ColumnKind("constant", low=3.5)),
    "share of rent": (np.linspace(0.2, 0.7, N), ColumnKind("interval", low=0, high=1)),
}


def found(values: Any, name: str = "x", texts: Any = None, **asked: str) -> ColumnKind:
    x = torch.tensor(np.asarray(values, "f4")).reshape(-1, 1)
    return find_kinds(x, [name], [texts], asked)[0].column


@pytest.mark.parametrize("name", RULE)
def test_the_rule(name: str) -> None:
    values, expected = RULE[name]
    assert found(values, name) == expected


@pytest.mark.parametrize("name", ["pct", "PCT", "fat_pct", "pct_fat", "pct1", "fatPct", "pctFat", "fat-pct", "Percent"])
def test_names_that_say_percent(name: str) -> None:
    assert found(np.linspace(10, 40, N), name).kind == "interval"


@pytest.mark.parametrize("name", ["pctures", "upct", "fat"])
def test_names_that_do_not_say_percent(name: str) -> None:
    assert found(np.linspace(10, 40, N), name).kind == "positive"


def test_text_is_binary_or_a_category() -> None:
    assert found(RNG.choice(2, N), texts=("a", "b")) == ColumnKind("binary", levels=2)
    assert found(RNG.choice(3, N), texts=("a", "b", "c")) == ColumnKind("category", levels=3)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (RNG.integers(1, 40, N), "real", ColumnKind("real", whole=True)),
        (np.arange(N) % 39, "ordered", ColumnKind("ordered", levels=39)),
        (RNG.lognormal(size=N) + 3, "real", ColumnKind("real")),
        (RNG.uniform(2, 5, N), "interval", ColumnKind("interval", low=0, high=100)),
        (RNG.uniform(-2, 5, N).round(2), "interval", ColumnKind("interval", low=-2, high=5, zeros=True, decimals=2)),
    ],
)
def test_what_is_asked_for(values: Any, kind: str, expected: ColumnKind) -> None:
    column = found(values, x=kind)
    ends = {} if kind != "interval" or expected.high == 100 else {"low": column.low, "high": column.high}
    assert column == ColumnKind(**{**expected.values(), **ends})


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([-1.0, 2], "positive", "its lowest value is -1; use real"),
        ([0.5, 2], "count", "counts are whole numbers from 0 on"),
        ([1.0, 2, 3], "binary", "it has 3 different values; category takes more"),
        ([1.0, 2], "constant", "it has 2 different values; dataset.leave_out leaves it out"),
        ([1.0, 2], "numeric", "x:numeric: should be one of real, positive"),
        (range(2000), "category", "more than 1,000 categories; leave it out"),
    ],
)
def test_what_cannot_be_is_refused(values: Any, kind: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(values, x=kind)


def write(path: Path, columns: dict[str, Any]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])


def people(n: int = 120) -> dict[str, list[Any]]:
    t = RNG.normal(size=n)
    return {
        "age": np.rint(40 + 10 * t).astype(int).tolist(), "sex": np.where(t > 0, "female", "male").tolist(),
        "income": np.exp(9 + t).round(2).tolist(), "city": RNG.choice(["Rome", "Oslo", "São, Paulo"], n).tolist(),
        "visits": RNG.poisson(4, n).tolist(), "stars": RNG.integers(1, 6, n).tolist(), "country": ["IT"] * n,
        "score": t.round(3).tolist(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with gaps, and a run on it with the default options."""
    here = tmp_path_factory.mktemp("people")
    table = people()
    for name, row in (("age", 3), ("city", 4), ("sex", 5), ("score", 6)):
        table[name][row] = ""
    write(here / "x.csv", table)
    said = vae(here, "train", "dataset=arrays", "dataset.path=x.csv", *FAST)
    (here / "said.txt").write_text(said)
    return here


def test_the_first_lines_show_the_kinds(folder: Path) -> None:
    said = (folder / "said.txt").read_text()
    heading, *lines = [line.split(maxsplit=2) for line in said.splitlines() if line.startswith("  ")][:9]
    assert heading == ["column", "kind", "why"]
    assert [line[:2] for line in lines] == [
        ["age", "positive"], ["sex", "binary"], ["income", "positive"], ["city", "category"], ["visits", "count"],
        ["stars", "category"], ["country", "constant"], ["score", "real"],
    ]  # fmt: skip
    assert lines[3][2] == "3 different texts"
    stored = (folder / "run/config.yaml").read_text()
    for text in ("name: columns", "missing: mask", "São, Paulo"):
        assert text in stored


def test_samples_come_out_as_the_table_went_in(folder: Path) -> None:
    vae(folder, "sample", "run=run", "n=300", "format=csv", "output=s.csv")
    with (folder / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(people())
    for row in rows:
        assert row["sex"] in ("female", "male")
        assert row["city"] in ("Rome", "Oslo", "São, Paulo")
        assert row["country"] == "IT"
        assert int(row["age"]) >= 1
        assert int(row["visits"]) >= 0
        assert int(row["stars"]) in range(1, 6)
        assert float(row["income"]) > 0
        assert decimals(row["income"]) <= 2
        assert decimals(row["score"]) <= 3
    assert max(decimals(row["score"]) for row in rows) == 3
    vae(folder, "sample", "run=run", "given={score:0.12345}", "n=3", "format=csv", "output=s.csv")
    with (folder / "s.csv").open(newline="") as file:
        assert [row["score"] for row in csv.DictReader(file)] == ["0.12345"] * 3


def test_other_decoders_write_the_decimals_of_the_data(tmp_path: Path) -> None:
    """Those of whole numbers have none, except means of counts and of answers 0 and 1; unknown data: all digits."""
    columns = {"a": RNG.normal(3, 1, N).round(2), "b": RNG.normal(0, 500, N).round(1), "c": RNG.integers(0, 90, N)}
    np.savetxt(tmp_path / "t.csv", np.column_stack(list(columns.values())), "%.8g", ",", header="a,b,c", comments="")
    np.savetxt(tmp_path / "n.csv", RNG.poisson(4, (N, 2)), "%d", ",", header="m,n", comments="")
    options = ("decoder=gaussian", "dataset.standardize=true")
    vae(tmp_path, "train", "dataset=arrays", "dataset.path=t.csv", *options, *FAST)
    vae(tmp_path, "sample", "run=run", "n=50", "format=csv", "output=s.csv")
    assert most_decimals(tmp_path / "s.csv") == {"a": 2, "b": 1, "c": 0}
    vae(tmp_path, "reconstruct", "run=run", "format=csv", "output=r.csv")
    written = most_decimals(tmp_path / "r.csv")
    assert [written[f"{name}_reconstruction"] for name in columns] == [2, 1, 0]
    (tmp_path / "t.csv").unlink()
    vae(tmp_path, "sample", "run=run", "n=50", "format=csv", "output=s.csv")
    assert min(most_decimals(tmp_path / "s.csv").values()) > 2
    count = ("decoder=poisson", *FAST[:-1], "output=counts")
    vae(tmp_path, "train", "dataset=arrays", "dataset.path=n.csv", *count)
    vae(tmp_path, "sample", "run=counts", "n=50", "mode=mean", "format=csv", "output=s.csv")
    assert most_decimals(tmp_path / "s.csv") == {"m": 4, "n": 4}
    vae(tmp_path, "sample", "run=counts", "n=50", "mode=draw", "format=csv", "output=s.csv")
    assert most_decimals(tmp_path / "s.csv") == {"m": 0, "n": 0}


def most_decimals(path: Path) -> dict[str, int]:
    """The most decimals of a cell in each column of a table."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: max(decimals(row[name]) for row in rows) for name in rows[0]}


def decimals(cell: str) -> int:
    return len(cell.partition(".")[2])


@pytest.mark.parametrize(("values", "expected"), [
    ([0.5, 2, 1], 1), ([158.54, 0.3], 2), ([-1e-6, 2.5], 6), ([1e-7, 2.5], None), ([123456.78, 0.01], 2),
])  # fmt: skip
def test_the_decimals_of_a_column(values: list[float], expected: int | None) -> None:
    column = found(values * 30, x="real")
    assert column.decimals == expected
    double = torch.tensor(values, dtype=torch.float64).reshape(-1, 1)
    assert find_kinds(double, ["x"], [None], {"x": "real"})[0].column.decimals == expected


def test_rounded_values_are_still_possible() -> None:
    x = torch.tensor([0.004, 0.996, 0.5049, torch.nan])
    for kind, low, high in (("positive", 0.01, 1.0), ("interval", 0.01, 0.99), ("real", 0.0, 1.0)):
        ends = {"low": 0.0, "high": 1.0} if kind == "interval" else {}
        column = ColumnKind(kind, decimals=2, **ends)  # type: ignore[arg-type]
        y = rounded(x, column)
        torch.testing.assert_close(y, torch.tensor([low, high, 0.5, torch.nan]), equal_nan=True, rtol=0, atol=0)
        assert bool(possible(y[:3], column).all())
    whole = torch.tensor([0.3, 1.6, 99.7])
    assert rounded(whole, ColumnKind("positive", whole=True)).tolist() == [1, 2, 100]
    assert rounded(whole, ColumnKind("positive", zeros=True, whole=True)).tolist() == [0, 2, 100]
    assert rounded(whole, ColumnKind("interval", low=0.0, high=100.0, whole=True)).tolist() == [1, 2, 99]


def test_a_long_table_is_written_in_parts_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"x": torch.arange(23.0) / 8, "text": [f"row {i}" for i in range(23)], "left out": None}
    write_table(tmp_path / "whole.csv", columns)
    monkeypatch.setattr(_outputs, "WRITTEN_AT_ONCE", 5)
    write_table(tmp_path / "parts.csv", columns)
    whole = (tmp_path / "whole.csv").read_text()
    assert (tmp_path / "parts.csv").read_text() == whole
    assert whole.splitlines()[::23] == ["x,text", "2.75,row 22"]
    with pytest.raises(ValueError, match="longer"):
        write_table(tmp_path / "uneven.csv", {"x": torch.zeros(4), "y": torch.zeros(6)})
    assert not (tmp_path / "uneven.csv").exists()


def test_no_cell_is_minus_zero() -> None:
    assert cells_of(torch.tensor([-0.0, -0.004, -1.5]).round(decimals=2)) == ["0", "0", "-1.5"]


def test_vae_data_shows_types_and_kinds(folder: Path) -> None:
    said = vae(folder, "data", "input=x.csv", "rows=1")
    headings = [line.split() for line in said.splitlines() if line.startswith("  column ")]
    assert headings == [["column", "kind", "why"], ["column", "type", "lowest", "highest", "missing"]]
    with (folder / "x.csv").open(newline="") as file:
        assert said.splitlines()[-1].split()[:3] == ["0", *next(list(row)[:2] for row in list(csv.reader(file))[1:])]


def test_vae_data_shows_a_table_whose_dates_training_refuses(tmp_path: Path) -> None:
    rows = [f"{i / 7:.3f},2020-01-{i + 1:02d},{i + 1:02d}.01.2020,{'xy'[i % 2]}" for i in range(30)]
    (tmp_path / "x.csv").write_text("\n".join(["size,day,until,city", *rows]))
    said = vae(tmp_path, "data", "input=x.csv")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines() if line.startswith("  ")}
    assert said.startswith("x.csv: 30 rows of 2 columns (size, city)")
    assert lines["day"] == "refused '2020-01-01' is no number"
    assert lines["until"] == "refused dates"
    assert "note: training stops with dataset.path=x.csv: column until: holds dates" in said
    stored = json.loads(vae(tmp_path, "data", "input=x.csv", "format=json"))
    assert [kind["kind"] for kind in stored["kinds"]] == ["positive", "binary", "refused", "refused"]
    message = refused(tmp_path, "train", "dataset=arrays", "dataset.path=x.csv")
    assert f"training stops with {message.removeprefix('error: ').strip()}" in said
    keys = ("dataset=arrays", "dataset.path=x.csv", "dataset.leave_out=[until,day]")
    assert "refused" not in vae(tmp_path, "data", *keys)
    (tmp_path / "y.csv").write_text("\n".join(["until", *(row.split(",")[2] for row in rows)]))
    assert "column until: holds dates" in refused(tmp_path, "data", "input=y.csv")


def test_every_command_reads_such_a_run(folder: Path) -> None:
    vae(folder, "reconstruct", "run=run", "n=3", "format=csv", "output=r.csv")
    text = (folder / "r.csv").read_text()
    assert "city_reconstruction" in text
    write(folder / "fine.csv", {**people(1), "score": [0.12345]})
    vae(folder, "reconstruct", "run=run", "input=fine.csv", "format=csv", "output=r.csv")
    with (folder / "r.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["score"] == "0.12345"  # its own digits; below, the run's
    assert decimals(row["score_reconstruction"]) <= 3
    vae(folder, "evaluate", "run=run", "k=20", "output=e.json")
    vae(folder, "encode", "run=run", "input=x.csv", "output=c.npz")
    vae(folder, "sample", "run=run", "output=s.png")
    assert len(np.load(folder / "c.npz")["loc"]) == 120


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"city": "Lima"}, "column city: 'Lima' in row 1 is not one of the run's categories (Oslo, Rome, São, Paulo)"),
        ({"income": -5}, "column income: -5 in row 1 should be above 0, as in the run's data"),
        ({"visits": 2.5}, "column visits: 2.5 in row 1 should be a whole number from 0 on"),
        ({"country": "FR"}, "column country: 'FR' in row 1 is not one of the run's categories (IT)"),
        (
            {"age": "old"},
            "column age: 1 of 30 cells is not a number: 'old' in row 1; in the data trained on they are",
        ),
        ({"income": "2024-05-01"}, "column income: 1 of 30 cells is not a number: '2024-05-01' in row 1; in the"),
        ({"age": ["old", "young"] * 15}, "column age: not all numbers, but 'old' in row 1; in the data trained on"),
        ({"income": [True, False] * 15}, "column income: "),
        ({"stars": 7}, "column stars: '7' in row 1 is not one of the run's categories (1, 2, 3, 4, 5)"),
    ],
)
def test_what_the_run_never_saw_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    table = people(30)
    for name, value in change.items():
        table[name] = value if isinstance(value, list) else [value, *table[name][1:]]
    write(folder / "new.csv", table)
    done = called("encode", "run=run", "input=new.csv", "output=n.npz", cwd=folder)
    assert done.returncode == 1
    assert f"input=new.csv: {message}" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_truth_values_in_a_column_of_numbers_are_refused(folder: Path) -> None:
    frame = pd.DataFrame({**people(30), "income": [True, False] * 15})
    frame.to_parquet(folder / "truth.parquet")
    done = called("encode", "run=run", "input=truth.parquet", "output=n.npz", cwd=folder)
    assert done.returncode == 1
    assert "input=truth.parquet: column income: its cells are true or false; in the data trained on" in done.stderr


def test_another_order_and_one_row_are_read_a_missing_column_is_not(folder: Path) -> None:
    table = people(1)
    write(folder / "one.csv", dict(reversed(table.items())))
    vae(folder, "encode", "run=run", "input=one.csv", "output=o.npz")
    table.pop("sex")
    write(folder / "less.csv", table)
    done = called("encode", "run=run", "input=less.csv", "output=o.npz", cwd=folder)
    assert "input=less.csv: has no column sex" in done.stderr
    write(folder / "other.csv", {"q": table[next(iter(table))]})
    done = called("encode", "run=run", "input=other.csv", "output=o.npz", cwd=folder)
    n, first = len(table) + 1, ", ".join(list(people(1))[:5])
    assert done.stderr == (
        f"error: input=other.csv: lacks {n} of {n} columns (dataset.columns): {first} and {n - 5} more\n"
        "It has column q\n"
    )


def test_other_decoders_read_as_before(tmp_path: Path) -> None:
    """A table's only column of classes is its labels unless the decoder asks for kinds."""
    write(tmp_path / "x.csv", {"a": RNG.normal(size=60).tolist(), "kind": ["p", "q"] * 30})
    plain, asked = Arrays(str(tmp_path / "x.csv")), Arrays(str(tmp_path / "x.csv"))
    asked.wants_kinds = True
    assert plain.load().train.x_shape == (1,)
    assert plain.label_names == ("p", "q")
    assert asked.load().train.x_shape == (2,)
    assert asked.label_names is None
    assert asked.categories == [None, ["p", "q"]]


def test_kinds_from_a_file_and_for_names_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", {"mean radius": RNG.lognormal(size=60).tolist(), "b": RNG.normal(size=60).tolist()})
    (tmp_path / "kinds.yaml").write_text("mean radius: real\n")
    data = Arrays(str(tmp_path / "x.csv"), kinds=str(tmp_path / "kinds.yaml"))
    data.wants_kinds = True
    data.load()
    assert [one.kind for one in data.column_kinds or ()] == ["real", "real"]
    data = Arrays(str(tmp_path / "x.csv"), kinds={"radius": "real"})
    data.wants_kinds = True
    with pytest.raises(UserError, match=r"dataset\.kinds: there is no column radius"):
        data.load()


def test_infinite_numbers_are_refused_or_missing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(60)) + "1,inf\n")
    words = ("dataset=arrays", "dataset.path=x.csv", *FAST)
    done = called("train", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: dataset.path=x.csv: 1 value is infinite, at [60, 1] (column b); remove them, "
        "or, in a text file, read them as missing with dataset.missing_values=[inf]\n"
    )
    assert "1 cell missing" in vae(tmp_path, "train", *words, "dataset.missing_values=[inf]")


def test_an_array_for_a_table_of_named_columns_is_checked_by_position(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(60, 2))
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{a:.3f},{b * b:.3f}" for a, b in numbers) + "\n")
    words = ("dataset=arrays", "dataset.path=t.csv", "epochs=1", "latent_dim=2", "output=run")
    assert called("train", *words, cwd=tmp_path).returncode == 0
    np.save(tmp_path / "x.npy", np.array([[0.5, -1.0], [0.1, 2.0]]))
    done = called("evaluate", "run=run", "input=x.npy", "k=2", cwd=tmp_path)
    assert done.returncode == 1
    assert "column x_2: -1 in row 1 should be above 0" in done.stderr
    np.save(tmp_path / "x.npy", np.array([[0.5, 1.0], [0.1, 2.0]]))
    done = called("evaluate", "run=run", "input=x.npy", "k=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
