"""`vae alarm` and `vae report`, as they are typed."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command_line import called, trained

import vaecli
from vaecli.analysis.table_fit import table_fit
from vaecli.commands.report import summary
from vaecli.utils.columns import ColumnKind


def rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1))
    return np.hstack([z, 2 * z, -z, np.zeros((n, 1))]) + 0.1 * rng.normal(size=(n, 4))


def write(path: Path, x: np.ndarray) -> Path:
    np.savetxt(path, x, "%.4f", ",", header="a,b,<c>,d", comments="")
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("alarm")
    path = write(here / "x.csv", rows(600, 0))
    return trained(here, "dataset=arrays", f"dataset.path={path}", "latent_dim=1", "dataset.calibration_fraction=0.3",
                   "epochs=60", "batch_size=32", "architecture.hidden=[16]", "images.every_epochs=60")  # fmt: skip


def test_odd_rows_are_flagged_with_their_columns(run: Path, tmp_path: Path) -> None:
    x = rows(40, 1)
    x[3, 3], x[7, 1] = 90.0, -x[7, 1] + 8  # one column alone is far off; two columns contradict each other
    new = write(tmp_path / "new.csv", x)
    done = called("alarm", f"run={run}", f"input={new}", "rate=0.02", "k=100", "output=odd.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compared with 180 rows that were not trained on" in done.stdout
    assert "of 40 rows have a Pareto k above 0.5: their log p(x) is less accurate" in done.stdout
    table = read(tmp_path / "odd.csv")
    assert [row["row"] for row in table] == [str(i) for i in range(40)]
    scores = vaecli.load(run).log_prob(np.loadtxt(new, delimiter=",", skiprows=1), k=100)
    np.testing.assert_allclose([float(row["log_px"]) for row in table], scores, rtol=1e-5)
    flagged = {int(row["row"]) for row in table if row["flagged"] == "1"}
    assert {3, 7} <= flagged
    assert len(flagged) < 8
    assert all((float(row["p_value"]) <= 0.02) == (row["flagged"] == "1") for row in table)
    assert max("ab", key=lambda name: float(table[7][name])) == "b"
    assert max(["a", "b", "<c>", "d"], key=lambda name: float(table[3][name])) == "d"
    assert all(row["d"] == "" for row in table if row["flagged"] == "0")
    assert (tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")


def test_a_line_says_that_the_gaps_differ(run: Path, tmp_path: Path) -> None:
    x = rows(60, 3)
    holes = np.random.default_rng(0).random(x.shape) < 0.2
    said = {}
    for name, gaps in {"none": False, "many": holes}.items():
        np.savetxt(tmp_path / f"{name}.csv", np.where(gaps, np.nan, x), "%.4f", ",", header="a,b,<c>,d", comments="")
        done = called("alarm", f"run={run}", f"input={name}.csv", "k=20", f"output={name}_odd.csv", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout
    assert "missing, but" not in said["none"]
    assert (
        f"note: {100 * holes.mean():.2g} % of the cells are missing, but 0 % in the rows compared with" in said["many"]
    )


def test_false_discovery_rate_and_what_it_needs(run: Path, tmp_path: Path) -> None:
    x = rows(400, 2)
    new = write(tmp_path / "new.csv", x)
    args = ("alarm", f"run={run}", f"input={new}", "k=20")
    done = called(*args, "control=fdr", "rate=0.01", "output=a.csv", cwd=tmp_path)
    assert "a.csv: 0 of 400 rows flagged" in done.stdout
    assert "control=fdr flags nothing unless 221 rows are odder than all of them" in done.stdout
    done = called(*args, "rate=0.005", "output=b.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "rate=0.005: needs 199 rows that were not trained on, but there are 180: give rate=0.0056 or more"
        in done.stderr
    )
    assert not (tmp_path / "b.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [((), "input has no value"), (("input=none.csv",), "no such file"), (("input=x.csv", "rate=0"), "greater than 0"),
     (("input=x.csv", "control=all"), "rate"), (("input=x.csv", "output=a.png"), ".png")],
)  # fmt: skip
def test_what_is_refused(run: Path, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    write(tmp_path / "x.csv", rows(3, 3))
    done = called("alarm", f"run={run}", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_images_have_no_columns(digits_run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, (5, 1, 8, 8)).astype("float32"))
    done = called("alarm", f"run={digits_run}", "input=x.npy", "k=20", "rate=0.1", "output=o.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(read(tmp_path / "o.csv")[0]) == ["row", "p_value", "flagged", "log_px"]


def test_a_report_is_one_file_without_markup_of_the_data(run: Path, tmp_path: Path) -> None:
    done = called("report", f"run={run}", "n=200", "k=20", "odd=3", "output=r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "&lt;c&gt;" in page
    assert "<c>" not in page
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r"(src|href)=.(?!data:)", page)
    assert page.count("<tr>") == 1 + 4 + 1 + 3  # the fit of four columns and three odd rows, below two headers
    assert "200 samples against 200 training rows." in page


def test_the_spread_in_a_report_is_that_of_columns_of_numbers() -> None:
    """Half as wide as the data, beside two categories with the data's own shares."""
    rng = np.random.default_rng(0)
    data = np.stack([rng.integers(0, 2, 400), rng.integers(0, 2, 400), rng.normal(size=400)], 1).astype(float)
    samples = data * [1, 1, 0.5]
    kinds = [ColumnKind("binary"), ColumnKind("binary"), ColumnKind("real")]
    x, y = torch.tensor(data), torch.tensor(samples)
    assert (
        "columns of numbers: median relative error 0.500." in summary(x, y, table_fit(data, samples, kinds), kinds)[1]
    )
    assert "Spread" not in summary(x[:, :2], y[:, :2], table_fit(data, samples, kinds)[:2], kinds[:2])[1]


def test_a_report_is_for_tables(digits_run: Path, tmp_path: Path) -> None:
    done = called("report", f"run={digits_run}", "output=r.html", cwd=tmp_path)
    assert done.returncode == 1
    assert "was trained on no table" in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_a_file_of_training_rows_is_called_one(run: Path, tmp_path: Path) -> None:
    words = ("alarm", f"run={run}", "rate=0.1", "k=5", f"output={tmp_path / 'odd.csv'}")
    own = called(*words, f"input={run.parent / 'x.csv'}", cwd=tmp_path)
    assert own.returncode == 0, own.stderr
    assert own.stdout.count("they look less odd to it than new rows would") == 1
    assert own.stdout.count("x.csv: 600 rows") == 1  # what was read
    new = called(*words, f"input={write(tmp_path / 'new.csv', rows(20, 3))}", cwd=tmp_path)
    assert "less odd to it" not in new.stdout


@pytest.mark.slow
def test_a_report_writes_numbers_as_its_pictures_do(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "pay,a\n" + "".join(f"{20000 + 997 * i % 31000},{i % 13 - 6.5}\n" for i in range(90))
    )
    run = trained(
        tmp_path, "dataset=arrays", "dataset.path=x.csv", "latent_dim=1", "epochs=1", "architecture.hidden=[8]"
    )
    done = called("report", f"run={run}", "n=50", "k=5", "odd=1", "output=r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "decoder.hide=0.1" in (tmp_path / "r.html").read_text()
    line = re.search("<tr><td>pay</td>.*", (tmp_path / "r.html").read_text())
    assert line is not None
    assert re.search(r"<td>[0-9.]+k ± [0-9.]+k</td>", line[0])
    assert "e+" not in line[0]
