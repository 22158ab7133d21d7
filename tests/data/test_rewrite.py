"""Tables that are written again with their gaps filled, and the order and spelling of their categories."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from vaecli.datasets.arrays import Arrays
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.columns import in_order
from vaecli.datasets.reading.rewrite import as_file, read_rewritable


def test_parquet_gaps_are_filled_and_types_stay(tmp_path: Path) -> None:
    sizes = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), pa.array(["S", "L"]), ordered=True)
    table = pa.table({
        "age": pa.array([1, None, 3], pa.int16()), "share": pa.array([0.5, None, float("nan")]),
        "yes": pa.array([None, True, False]), "size": sizes, "note": pa.array(["a", None, None]),
    })  # fmt: skip
    path = tmp_path / "x.parquet"
    parquet.write_table(table, path)
    cells = {(1, "age"): "2.4", (1, "share"): "0.25", (2, "share"): "0.75", (0, "yes"): "true", (1, "size"): "L",
             (2, "note"): "b"}  # fmt: skip
    path.write_bytes(read_rewritable("x", path, ReadOptions(), 3).with_cells(cells))
    filled = parquet.read_table(path)
    assert filled.schema.equals(table.schema)
    assert filled.to_pydict() == {"age": [1, 2, 3], "share": [0.5, 0.25, 0.75], "yes": [True, True, False],
                                  "size": ["L", "L", "S"], "note": ["a", None, "b"]}  # fmt: skip


def test_numbers_are_filled_in_with_the_decimal_sign_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a;b;c\n1,5;x;2\n2,5;y;3\n;;4\n3,5;z;5\n")
    filled = read_rewritable("x", path, ReadOptions(), 4).with_cells({(2, "a"): "7.25", (2, "b"): "v.1"})
    assert filled.decode() == "a;b;c\n1,5;x;2\n2,5;y;3\n7,25;v.1;4\n3,5;z;5\n"


def test_formats_are_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("# a comment\na;b;c;d\n1,5;x;2;\n2,5;'y';3;\n;;4;5\n")
    cells = {(2, "a"): "7.25", (0, "d"): "8"}
    (tmp_path / "y.parquet").write_bytes(as_file(read_rewritable("x", path, ReadOptions(), 3), cells, ".parquet"))
    table = parquet.read_table(tmp_path / "y.parquet")
    assert table.to_pydict() == {"a": [1.5, 2.5, 7.25], "b": ["x", "'y'", None], "c": [2, 3, 4], "d": [8, None, 5]}
    assert [str(kind) for kind in table.schema.types] == ["double", "string", "int64", "int64"]
    again = as_file(read_rewritable("y", tmp_path / "y.parquet", ReadOptions(), 3), {(2, "b"): "z, w"}, ".csv")
    assert again.decode() == "a,b,c,d\n1.5,x,2,8\n2.5,'y',3,\n7.25,\"z, w\",4,5\n"


@pytest.mark.parametrize(("cells", "expected"), [
    (["High", "Low", "Medium"], ["Low", "Medium", "High"]),
    (["XL", "M", "S"], ["S", "M", "XL"]),
    (["high", "low"], ["high", "low"]),
    (["high", "low", "other"], ["high", "low", "other"]),
])  # fmt: skip
def test_known_scales_are_in_order(cells: list[str], expected: list[str]) -> None:
    assert in_order(cells, pa.chunked_array([cells])) == expected


def test_scales_are_ordered_and_truth_values_keep_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f"{('Low', 'High', 'Medium')[i % 3]},{i % 4 == 0},{i / 7:.3f}" for i in range(60)]
    path.write_text("\n".join(["risk,smokes,x", *lines]))
    data = Arrays(str(path), standardize=True)
    data.wants_kinds = True
    data.load()
    assert [one.kind for one in data.column_kinds or ()] == ["ordered", "binary", "positive"]
    assert data.categories == [["Low", "Medium", "High"], ["False", "True"], None]
    assert data.reading is not None
    assert any("dataset.standardize has no effect" in note for note in data.reading.files["path"].notes)
