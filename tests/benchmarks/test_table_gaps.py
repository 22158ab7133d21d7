"""The figures of gaps that benchmarks/tables.py takes, for cells filled with a known error."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.pages import ROOT

sys.path.append(str(ROOT / "benchmarks"))


def test_errors_of_numbers_leave_out_columns_that_are_filled_as_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    import table_parts

    rng = np.random.default_rng(0)
    whole = pd.DataFrame(
        {"size": rng.normal(size=400), "visits": rng.poisson(9.0, 400), "sex": rng.integers(1, 3, 400)}
    )
    known, test = whole.iloc[:200].reset_index(drop=True), whole.iloc[200:].reset_index(drop=True)
    spread = known.std()

    def fill(*words: str) -> None:
        """Half a standard deviation too much for `size`, one and a half for `visits`, and the wrong `sex`."""
        path = {word.partition("=")[0]: word.partition("=")[2] for word in words}
        filled = test + spread * [0.5, 1.5, 0.0]
        filled["sex"] = 3 - test["sex"]
        filled.to_csv(path["output"], index=False)
        rows, columns = np.nonzero(pd.read_csv(path["input"]).isna().to_numpy())
        cells = pd.DataFrame({"row": rows, "column": test.columns[columns]})
        at = {"size": (-np.inf, np.inf), "visits": (99.0, 100.0), "sex": (np.nan, np.nan)}
        cells["low"], cells["high"] = zip(*(at[column] for column in cells["column"]), strict=True)
        cells.to_csv(Path(path["output"]).with_suffix(".intervals.csv"), index=False)

    monkeypatch.setattr(table_parts, "vae", fill)
    found = table_parts.gaps(0, tmp_path, known, test)
    n = pd.read_csv(tmp_path / "gaps.csv").isna().sum()
    squares = 0.25 * n["size"] + 2.25 * n["visits"]
    assert found["error of numbers, vae impute"] == pytest.approx((squares / (n["size"] + n["visits"])) ** 0.5)
    assert found["error, vae impute"] == pytest.approx(((squares + n["sex"] / spread["sex"] ** 2) / n.sum()) ** 0.5)
    assert found["right, sex, vae impute"] == 0
    assert found["coverage of decimals"] == 1
    assert found["coverage of whole numbers"] == 0
    assert found["coverage"] == pytest.approx(n["size"] / (n["size"] + n["visits"]))
