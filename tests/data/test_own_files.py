"""A table of files as people have them: what `vae data` reads of each, or says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.looking import look, printed
from support.own_files import (
    KINDS,
    A,
    B,
    C,
    N,
    Write,
    archive,
    array,
    deep_png,
    lines,
    parquet,
    pictures,
    pixels,
    raw,
    saved,
    sparse,
    stack,
    text,
)

from vaecli.utils.errors import UserError

ABC = {"a": (0.5, 23.5), "b": (-46, 0), "c": (0, 132.25)}
X123 = dict(zip(("x_1", "x_2", "x_3"), ABC.values(), strict=True))
R012 = dict(zip("012", ABC.values(), strict=True))


def ranges(found: dict[str, Any]) -> dict[str, tuple[float, float]]:
    return {column["name"]: (column["low"], column["high"]) for column in found["columns"]}


def psql() -> str:
    body = [f" {a} | {b:>5} | {c:>8} " for a, b, c in zip(A, B, C, strict=True)]
    return "\n".join(["  a   |   b   |    c     ", "------+-------+----------", *body, f"({N} rows)", ""])


def markdown() -> str:
    body = [f"| {a} | {b} | {c} |" for a, b, c in zip(A, B, C, strict=True)]
    return "\n".join(["| a | b | c |", "|---|---|---|", *body, ""])


def fortran() -> str:
    return "".join(f"  {a:12.5e}  {b:6d}  {c:14.7e}\n".replace("e", "D") for a, b, c in zip(A, B, C, strict=True))


def r_table() -> str:
    body = [f'"{i + 1}" {a} {b} {c}' for i, (a, b, c) in enumerate(zip(A, B, C, strict=True))]
    return "\n".join(['"a" "b" "c"', *body, ""])


def instrument() -> str:
    body = "\n".join(f"{a}\t{b}\t{c}".replace(".", ",") for a, b, c in zip(A, B, C, strict=True))
    return f"Instrument: HP 8453\nOperator\tMüller\n\na\tb\tc\n(s)\t(mV)\t(nm)\n{body}\n"


def grouped() -> str:
    body = "\n".join(f'{a},{b},"{1000 * (i + 1):,}"' for i, (a, b) in enumerate(zip(A, B, strict=True)))
    return f"a,b,c\n{body}\n"


# what a spreadsheet or a program wrote, the columns that are read, and what is said of it
TEXTS: dict[str, tuple[Write, dict[str, tuple[float, float]], list[str]]] = {
    "Excel": (text(lines(end="\r\n")), ABC, ["comma-separated; header"]),
    "Excel, German": (text(lines(";", ",", "\r\n")), ABC, ["semicolon-separated; header; decimal commas"]),
    "Excel, French numbers": (text(lines(";", ",").replace("132,25", "1 132,25")), {**ABC, "c": (0, 1132.25)}, []),
    "SPSS, 999 for missing": (text(lines().replace("\n7.5,", "\n999,")), {**ABC, "a": (0.5, 999)},
                              ["column a holds 999 in 1 row, read as a number; the others are 0.5 to 23.5",
                               "'dataset.missing_values=[\"999\"]' dataset.missing=mask reads it as missing"]),
    "Excel, CSV UTF-8": (text("\ufeff" + lines(end="\r\n")), ABC, ["header"]),
    "Excel, Unicode text": (text(lines("\t", end="\r\n"), "utf-16"), ABC, ["tab-separated; header; utf-16"]),
    "Excel, sep=": (text("sep=;\r\n" + lines(";", end="\r\n")), ABC, ["semicolon-separated; header"]),
    "LibreOffice, all in quotes": (text("\n".join(",".join(f'"{cell}"' for cell in line.split(","))
                                                  for line in lines().splitlines())), ABC, ["header"]),
    "Excel, lines above the table": (text("Report,,\nprinted 2024-01-02,,\n,,\n" + lines()), ABC,
                                     ["2 lines before the table left out (Report,,, printed 2024-01-02,,)"]),
    "a name with %": (text(lines(header="%a,b,c")), {"%a": ABC["a"], "b": ABC["b"], "c": ABC["c"]}, []),
    "empty rows and columns": (text(lines().replace("\n", ",,\n") + ",,,,\n" * 3), ABC, [f"{N} rows of 3"]),
    "separator at the end": (text(lines().replace("\n", ",\n")), ABC, ["header"]),
    "separator at the end of rows": (text("a,b,c\n" + lines(header=None).replace("\n", ",\n")), ABC, ["header"]),
    "pandas": (text(lines(header=",a,b,c", row="{i},")), ABC, ["left out: '' (counts the rows)"]),
    "pandas, an array": (text(lines(header="0,1,2")), R012, ["(0, 1, 2) is read as names; dataset.header=false"]),
    "pandas, an array and its index": (text(lines(header=",0,1,2", row="{i},")), R012, ["is read as names"]),
    "R, write.csv": (text(lines(header='"","a","b","c"', row='"{i}",')), ABC, ["counts the rows"]),
    "R, write.table": (text(r_table()), ABC, ["the first column is read as row names"]),
    "numpy.savetxt": (lambda path: np.savetxt(path, np.c_[A, B, C]), X123, ["space-separated; no header"]),
    "numpy.savetxt, header": (lambda path: np.savetxt(path, np.c_[A, B, C], header="a b c"), ABC, ["from a comment"]),
    "numpy.savetxt, commas": (lambda path: np.savetxt(path, np.c_[A, B, C], "%g", ",", header="made by me\na,b,c"),
                              ABC, ["names from a comment"]),
    "Fortran": (text(fortran()), X123, ["space-separated; no header"]),
    "MATLAB": (text(lines("\t", header=None)), X123, ["tab-separated; no header"]),
    "psql": (text(psql()), ABC, ["pipe-separated", "1 comment line skipped"]),
    "Markdown": (text(markdown()), ABC, ["pipe-separated"]),
    "an instrument": (text(instrument()), ABC, [
        "2 lines before the table left out (Instrument: HP 8453, ", "1 line of units below the names left out ((s)"]),
    "gnuplot": (text("# run 7\n" + lines(" ", header=None).replace("4.5 ", "# a pause\n\n4.5 ", 1)), X123,
                ["1 comment line skipped"]),
    "an old Macintosh": (text(lines(end="\r")), ABC, ["header"]),
    "blanks behind commas": (text(lines().replace(",", ", ")), ABC, ["header"]),
    "wavelengths for names": (text(lines(header="400.0,400.5,401.0").replace("401.0\n", "401.0,401.5,402\n")
                                   .replace("\n", ",1,7\n").replace("402,1,7", "402")),
                              {**dict(zip(("400.0", "400.5", "401.0"), ABC.values(), strict=True)),
                               "401.5": (1, 1), "402": (7, 7)}, ["is read as names"]),
    "thousands": (text(grouped()), {**ABC, "c": (1000, 24000)}, ["1,000 as 1000; dataset.decimal=comma"]),
    "pandas, two lines of names": (text(lines(header="a,b,c\nmean,std,mean")), ABC, ["(mean,std,mean)"]),
    "names twice": (text(lines(header="a,a,c")), dict(zip(("a", "a_2", "c"), ABC.values(), strict=True)),
                    ["more than one column is called a; the later ones are a_2"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_text_layouts(kind: str, tmp_path: Path) -> None:
    write, columns, said = TEXTS[kind]
    write(tmp_path / "x.csv")
    found = look(tmp_path / "x.csv")
    assert ranges(found) == columns
    assert found["observations"] == N
    lines = "\n".join(printed(tmp_path / "x.csv").splitlines()[:3])
    assert all(one in lines for one in said), lines


def test_texts_of_several_lines(tmp_path: Path) -> None:
    """In a file of several blocks, each of which may end within one."""
    rows = "".join(f'{i},{i % 7},"kind {i % 3}\nof the, {i % 3}"\n' for i in range(60_000))
    (tmp_path / "x.csv").write_text(f"a,b,kind\n{rows}")
    found = look(tmp_path / "x.csv")
    assert (found["observations"], ranges(found)) == (60_000, {"a": (0, 59_999), "b": (0, 6)})
    assert found["labels"]["counts"] == {f"kind {k}\nof the, {k}": 20_000 for k in range(3)}


# --- labels and missing cells


CELLS: dict[str, tuple[str, int]] = {  # in the place of a cell of column c, and how many are then missing
    "empty": ("", 1), "NA": ("NA", 1), "pandas' NA": ("<NA>", 1), "a blank before NA": (" NA", 1),
    "Excel's": ("#N/A", 1), "R's NaN": ("NaN", 1), "null": ("null", 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", CELLS)
def test_missing_cells(kind: str, tmp_path: Path) -> None:
    cell, missing = CELLS[kind]
    (tmp_path / "x.csv").write_text(lines().replace("12.25\n", f"{cell}\n", 1))
    found = look(tmp_path / "x.csv", missing="mask")
    assert (found["missing_cells"], found["columns"][2]["missing"]) == (missing, missing)
    assert ranges(found) == ABC
    with pytest.raises(UserError, match=r"1 value is NaN or infinite, at \[7, 2\] \(column c\)"):
        look(tmp_path / "x.csv", missing="refuse")
    assert look(tmp_path / "x.csv")["missing_cells"] == missing  # of a table they are missing values


@pytest.mark.parametrize("cell", ["-", "<0.1", "n.d.", "5%", "3 kg", "error", ".", "1.2.3"])
def test_a_cell_that_is_no_number_is_asked_about(cell: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines().replace("12.25\n", f"{cell}\n", 1))
    with pytest.raises(UserError) as refused:
        look(tmp_path / "x.csv")
    assert f"column c: 1 of {N} cells is not a number: '{cell}' in row 8; correct it, or " in str(refused.value)
    found = look(tmp_path / "x.csv", missing="mask", missing_values=[cell])
    assert found["missing_cells"] == 1
    assert set(ranges(look(tmp_path / "x.csv", leave_out=["c"]))) == {"a", "b"}


def test_a_number_may_stand_for_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines().replace("12.25\n", "-999\n", 1).replace("9.0\n", "-999.0\n", 1))
    found = look(tmp_path / "x.csv", missing="mask", missing_values=[-999])
    assert found["missing_cells"] == 2
    assert ranges(found) == ABC


LABELS: dict[str, tuple[list[str], dict[str, int] | None, str]] = {  # a fourth column: its cells, the classes, a word
    "classes": ([KINDS[i % 3] for i in range(N)], {"cat": 8, "cow": 8, "dog": 8}, "labels: column d, 3 classes"),
    "with gaps": (["" if i == 3 else KINDS[i % 2] for i in range(N)], {"cat": 12, "dog": 11, "missing": 1}, "labels"),
    "none among them": ([["none", "mild"][i % 2] for i in range(N)], {"mild": 12, "none": 12}, "labels: column d"),
    "names of rows": ([f"patient {i}" for i in range(N)], None, "left out: d (24 different texts in 24 rows"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_text_that_looks_like_classes(kind: str, tmp_path: Path) -> None:
    cells, classes, said = LABELS[kind]
    rows = lines().splitlines()
    (tmp_path / "x.csv").write_text("\n".join(",".join(pair) for pair in zip(rows, ["d", *cells], strict=True)))
    found = look(tmp_path / "x.csv")
    assert ranges(found) == ABC
    assert (found["labels"] and found["labels"]["counts"]) == classes
    assert said in printed(tmp_path / "x.csv")
    taken = look(tmp_path / "x.csv", labels="d")
    assert taken["labels"]["classes"] == len(set(cells))


# --- what may be read in two ways, and the key that says which


BOTH: dict[str, tuple[str, dict[str, Any], dict[str, tuple[float, float]], dict[str, Any], dict[str, Any]]] = {
    "header": ("0,1,2\n" + lines(header=None), {}, R012, {"header": False},
               {"x_1": (0, 23.5), "x_2": (-46, 1), "x_3": (0, 132.25)}),
    "separator": ("1,5;2,5\n3,5;4,5\n" * 6, {}, {"x_1": (1.5, 3.5), "x_2": (2.5, 4.5)},
                  {"separator": "comma", "decimal": "point", "leave_out": ["x_2"]}, {"x_1": (1, 3), "x_3": (5, 5)}),
    "decimal": ("a;b\n" + "1,234;2\n5,678;3\n" * 6, {"decimal": "comma"}, {"a": (1.234, 5.678), "b": (2, 3)},
                {"decimal": "point"}, {"a": (1234, 5678), "b": (2, 3)}),
    "one column": ("3,7\n4,1\n" * 6, {}, {"x_1": (3, 4), "x_2": (1, 7)}, {"decimal": "comma"}, {"x_1": (3.7, 4.1)}),
    "curve": ("0,1\n0.1,0.9\n0.2,0.8\n0.3,0.75\n", {}, {"x_1": (0, 0.3), "x_2": (0.75, 1)}, {"header": True},
              {"0": (0.1, 0.3), "1": (0.75, 0.9)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOTH)
def test_two_readings(kind: str, tmp_path: Path) -> None:
    content, keys, first, others, second = BOTH[kind]
    (tmp_path / "x.csv").write_text(content)
    assert ranges(look(tmp_path / "x.csv", **keys)) == first
    assert ranges(look(tmp_path / "x.csv", **others)) == second


def test_commas_that_could_be_either_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a;b\n" + "1,234;2\n5,678;3\n" * 6)
    with pytest.raises(UserError, match=r"decimal=point reads 1,234 as 1234, dataset.decimal=comma as 1.234"):
        look(tmp_path / "x.csv")


# --- encodings: names and labels come through, or the way to say it is named


NAMES = {"utf-8": "Größe 日本", "utf-8-sig": "Größe", "utf-16": "Größe 日本", "utf-16-le": "Größe", "utf-32": "Größe",
         "windows-1252": "Größe €", "latin-1": "Größe", "mac_roman": "Größe", "shift_jis": "日本", "gb18030": "日本语",
         "koi8-r": "Рост", "cp437": "Größe"}  # fmt: skip
MARKED = ("utf-8", "utf-8-sig", "utf-16", "utf-32")  # what the file itself says


@pytest.mark.parametrize("encoding", NAMES)
def test_encodings(encoding: str, tmp_path: Path) -> None:
    name = NAMES[encoding]
    rows = lines(header=f"{name},b,c").splitlines()
    labels = ["town", *(f"{name[0]}{i % 2}" for i in range(N))]
    content = "\n".join(",".join(pair) for pair in zip(rows, labels, strict=True))
    (tmp_path / "x.csv").write_bytes(content.encode(encoding))
    if encoding not in MARKED:
        with pytest.raises(UserError, match=r"is not UTF-8 text.* give dataset.encoding="):
            look(tmp_path / "x.csv")
    found = look(tmp_path / "x.csv", **({} if encoding in MARKED else {"encoding": encoding}))
    assert list(ranges(found)) == [name, "b", "c"]
    assert found["labels"]["counts"] == {f"{name[0]}0": 12, f"{name[0]}1": 12}


def test_a_byte_far_down(tmp_path: Path) -> None:
    rows = [f"{'Zürich' if i == 3000 else 'Bern'},{i * 0.5},{i % 7}" for i in range(4000)]
    (tmp_path / "x.csv").write_bytes(("town,b,c\n" + "\n".join(rows) + "\n").encode("latin-1"))
    said = r"line 3,002 holds 'Z\\xfcrich' \(it would be 'Zürich' in windows-1252, .*give dataset.encoding=windows-1252"
    with pytest.raises(UserError, match=said):
        look(tmp_path / "x.csv")
    found = look(tmp_path / "x.csv", encoding="windows-1252")
    assert found["labels"]["counts"] == {"Bern": 3999, "Zürich": 1}
    assert ranges(look(tmp_path / "x.csv", labels=False, columns=["b"])) == {"b": (0, 1999.5)}


# --- arrays


def image_range(found: dict[str, Any]) -> tuple[list[int], int, list[float]]:
    return found["shape"], found["levels"], found["range"]


ARRAYS: dict[str, tuple[Write, dict[str, Any], Any, str]] = {  # kind: file, keys, (shape, levels, range), said
    "float64 vectors": (array(np.c_[A, B, C]), {}, ([3], 1, [-46, 132.25]), "24 vectors of 3 numbers"),
    "channels last": (array(pixels(9, 6, 8, 3)), {}, ([3, 6, 8], 255, [0, 255]), "9 pictures of 8x6 pixels, in colour"),
    "channels first": (array(pixels(9, 3, 6, 8)), {}, ([3, 6, 8], 255, [0, 255]), "in colour"),
    "one channel last": (array(pixels(9, 6, 8, 1)), {}, ([1, 6, 8], 255, [0, 255]), "grey"),
    "grey": (array(pixels(9, 6, 8)), {}, ([1, 6, 8], 255, [0, 255]), "255 stands for 1.0"),
    "truth values as bytes": (array(pixels(9, 6, 8, top=2)), {}, ([1, 6, 8], 1, [0, 1]), "grey"),
    "bool": (array(pixels(9, 5, top=2).astype(bool)), {}, ([5], 1, [0, 1]), "bool of shape 9x5"),
    "12 bits in uint16": (array(pixels(9, 6, 8, top=4096, kind="u2")), {"white": 4095}, ([1, 6, 8], 4095, [0, 4095]),
                          "4095 stands for 1.0"),
    "big-endian": (array(np.c_[A, B, C].astype(">f4")), {}, ([3], 1, [-46, 132.25]), "vectors"),
    "Fortran order": (array(np.asfortranarray(np.c_[A, B, C])), {}, ([3], 1, [-46, 132.25]), "24 vectors"),
    "float16": (array(np.c_[A, B].astype("f2")), {}, ([2], 1, [-46, 23.5]), "float16"),
    "int64": (array(np.c_[B, B]), {}, ([2], 1, [-46, 0]), "int64"),
    "fits both, last": (array(pixels(9, 3, 5, 3)), {"channels": "last"}, ([3, 3, 5], 255, [0, 255]), "5x3 pixels"),
    "fits both, first": (array(pixels(9, 3, 5, 3)), {"channels": "first"}, ([3, 5, 3], 255, [0, 255]), "3x5 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind: str, tmp_path: Path) -> None:
    write, keys, (shape, levels, (low, high)), said = ARRAYS[kind]
    write(tmp_path / "x.npy")
    found = look(tmp_path / "x.npy", **keys)
    assert (found["shape"], found["levels"]) == (shape, levels)
    assert found["range"] == [low, high]
    assert said in printed(tmp_path / "x.npy", **keys)


def test_archives_and_tables_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.c_[A, B], y=np.array(KINDS * 8), z=np.zeros(3))
    found = look(tmp_path / "x.npz")
    assert (found["shape"], found["labels"]["counts"]) == ([2], {"cat": 8, "cow": 8, "dog": 8})
    assert found["notes"] == ["the observations are x, not z"]
    sparse(tmp_path / "s.npz")
    found = look(tmp_path / "s.npz")
    assert (found["observations"], found["shape"], found["range"]) == (N, [30], [0, 24])
    assert "a sparse matrix (csr, 3.3% of it not zero), expanded a batch at a time" in printed(tmp_path / "s.npz")
    fields = np.zeros(N, [("a", "f8"), ("b", "i4"), ("kind", "U3")])
    fields["a"], fields["b"], fields["kind"] = A, B, KINDS * 8
    np.save(tmp_path / "f.npy", fields)
    found = look(tmp_path / "f.npy")
    assert ranges(found) == {"a": (0.5, 23.5), "b": (-46, 0)}
    assert found["labels"]["classes"] == 3
    parquet(tmp_path / "p.parquet", a=A, b=B, code=["1", "2"] * 12, __index_level_0__=np.arange(N))
    found = look(tmp_path / "p.parquet")
    assert ranges(found) == {"a": (0.5, 23.5), "b": (-46, 0)}
    assert found["labels"]["counts"] == {"1": 12, "2": 12}  # the file says that it is text


# --- images


def test_classes_in_folders(tmp_path: Path) -> None:
    pictures(tmp_path / "p")
    found = look(tmp_path / "p", "images")
    assert (found["observations"], found["shape"], found["files"]) == (8, [3, 6, 8], 8)
    assert found["labels"]["counts"] == {"cat": 4, "dog": 4}


@pytest.mark.parametrize("ending", ["jpg", "jfif", "jpe", "webp", "bmp", "gif", "tif", "PNG"])
def test_endings(ending: str, tmp_path: Path) -> None:
    kind = {"jfif": "JPEG", "jpe": "JPEG"}.get(ending)
    pictures(tmp_path / "p", ending=ending, **({"format": kind} if kind else {}))
    assert look(tmp_path / "p", "images")["observations"] == 8


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    pictures(tmp_path / "p")
    for name in ("1.heic", "2.HEIC", "1.ppm", "notes.txt", "README", ".DS_Store", "Thumbs.db"):
        (tmp_path / "p" / "cat" / name).write_bytes(b"x")
    shutil.copy(tmp_path / "p/cat/1.png", tmp_path / "p/cat/._1.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "p" / "linked").symlink_to(tmp_path / "elsewhere")
    found = look(tmp_path / "p", "images")
    expected = {
        ".heic": 2,
        ".ppm": 1,
        ".txt": 1,
        "files without an ending": 1,
        "hidden pictures": 1,
        "linked folder": 1,
    }
    assert found["passed_over"] == expected
    assert "skipped: 2 .heic, " in printed(tmp_path / "p", "images")


def test_a_picture_beside_the_folders(tmp_path: Path) -> None:
    pictures(tmp_path / "p")
    shutil.copy(tmp_path / "p/cat/1.png", tmp_path / "p/1.png")
    found = look(tmp_path / "p", "images")
    assert found["labels"]["counts"] == {"cat": 4, "dog": 4, "no folder": 1}
    assert found["notes"] == ["1 picture lies in no folder, labelled 'no folder'"]


SPELLINGS = {
    "train val": (("train", "val"), {"train": 7, "val": 8, "test": 1}),
    "train test": (("train", "test"), {"train": 7, "val": 1, "test": 8}),
    "train valid test": (("train", "valid", "test"), {"train": 8, "val": 8, "test": 8}),
    "Train Validation TEST": (("Train", "Validation", "TEST"), {"train": 8, "val": 8, "test": 8}),
    "training validation testing": (("training", "validation", "testing"), {"train": 8, "val": 8, "test": 8}),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_folders_that_are_splits(kind: str, tmp_path: Path) -> None:
    folders, parts = SPELLINGS[kind]
    for folder in folders:
        pictures(tmp_path / "p" / folder)
    found = look(tmp_path / "p", "images")
    assert {name: part["n"] for name, part in found["splits"].items()} == parts
    assert found["labels"]["counts"].keys() == {"cat", "dog"}
    assert found["splits"]["train"]["whence"] == (
        f"folder {folders[0]}" if len(folders) > 2 else found["splits"]["train"]["whence"]
    )
    as_labels = look(tmp_path / "p", "images", subfolders="labels")
    assert as_labels["labels"]["counts"].keys() == set(folders)


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    for folder in ("train", "val", "valid"):
        pictures(tmp_path / "p" / folder)
    with pytest.raises(UserError, match="holds val and valid, of which only one can be the val split; rename one"):
        look(tmp_path / "p", "images")


def test_a_limit_takes_some_of_every_class(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        pictures(tmp_path / "p" / folder, n=5, names=("cat", "cow", "dog"))
    found = look(tmp_path / "p", "images", limit=4, val_fraction=0)
    assert {name: part["n"] for name, part in found["splits"].items()} == {"train": 4, "test": 4}
    assert min(found["labels"]["counts"].values()) >= 2


def test_sixteen_bits(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for i in range(4):
        Image.fromarray(pixels(6, 8, top=4096, seed=i, kind="u2")).save(tmp_path / "p" / f"{i}.png")
    found = look(tmp_path / "p", "images", colour="grey")
    assert (found["bits"], found["white"]) == (16, 65535)
    assert 4000 < found["range"][1] < 4096
    assert "as in pictures of 12 bits: dataset.white=4095 makes that white" in found["notes"][0]
    assert look(tmp_path / "p", "images", colour="grey", white=4095)["white"] == 4095
    with pytest.raises(UserError, match=r"holds 4,\d\d\d, beyond dataset.white=100"):
        look(tmp_path / "p", "images", colour="grey", white=100)


def test_sixteen_bits_in_colour_keep_them(tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "p").mkdir()
    values = pixels(6, 8, 3, top=65536, kind="u2")
    deep_png(tmp_path / "p" / "a.png", values, 2)
    tifffile.imwrite(tmp_path / "p" / "b.tif", values, photometric="rgb")
    tifffile.imwrite(tmp_path / "p" / "c.tif", values, photometric="rgb", compression="zlib")
    tifffile.imwrite(tmp_path / "p" / "e.tif", values, photometric="rgb", compression="lzw")
    tifffile.imwrite(
        tmp_path / "p" / "d.tif", values.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"
    )
    from vaecli.datasets.images import Images

    splits = Images(str(tmp_path / "p")).load()
    for part in splits:
        for x in part.batch(slice(None)):
            assert torch.equal((x * 65535).round().int(), torch.from_numpy(values.astype(np.int32)).permute(2, 0, 1))


def test_a_tag_says_what_is_white(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for i in range(4):
        Image.fromarray(pixels(6, 8, top=1024, seed=i, kind="u2")).save(
            tmp_path / "p" / f"{i}.tif", tiffinfo={281: 1023}
        )
    assert look(tmp_path / "p", "images", colour="grey")["white"] == 1023


def test_stacks(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for i in range(3):
        stack(tmp_path / "p" / f"{i}.tif", 3)
    said = printed(tmp_path / "p", "images", colour="grey")
    assert "9 pictures of 8x6 pixels, grey, of 3 files" in said
    assert "3 files with 9 pages in all, read as observations" in said
    assert "dataset.pages=channels reads the pages of a file" in said
    channels = look(tmp_path / "p", "images", pages="channels")
    assert (channels["observations"], channels["shape"]) == (3, [3, 6, 8])
    one = look(tmp_path / "p" / "0.tif", "images", colour="grey")
    assert (one["observations"], one["shape"]) == (3, [1, 6, 8])
    with pytest.raises(UserError, match=r"has 3 pages, but dataset.pages=channels with dataset.colour=grey needs 1"):
        look(tmp_path / "p", "images", pages="channels", colour="grey")


@pytest.mark.parametrize("bits", ["u1", "u2"])
def test_a_stack_with_one_entry(bits: str, tmp_path: Path) -> None:
    """As ImageJ writes large ones: the other pages lie behind the first."""
    import tifffile

    values = pixels(5, 6, 8, top=200, kind=bits)
    tifffile.imwrite(tmp_path / "x.tif", values, truncate=True)
    with Image.open(tmp_path / "x.tif") as image:
        assert getattr(image, "n_frames", 1) == 1
    from vaecli.datasets.images import Images

    dataset = Images(str(tmp_path / "x.tif"), colour="grey", white=None)
    splits = dataset.load()
    top = 255 if bits == "u1" else 65535
    found = torch.cat([part.batch(slice(None)) for part in splits]) * top
    assert sorted(found.sum((1, 2, 3)).round().tolist()) == sorted(values.sum((1, 2)).astype(float).tolist())


def test_an_animation_and_thumbnails(tmp_path: Path) -> None:
    frames = [Image.fromarray(pixels(6, 8, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert look(tmp_path / "x.gif", "images", colour="grey")["observations"] == 3


# --- defects


def html(path: Path) -> None:
    path.write_text("<!DOCTYPE html>\n<html><body>Please log in</body></html>\n")


DEFECTS: dict[str, tuple[str, Write, dict[str, Any], str]] = {
    "a workbook": ("x.csv", raw(b"PK\x03\x04" + bytes(50)), {}, r"is a workbook \(.xlsx, .ods\).*save it as .csv"),
    "an old workbook": ("x.csv", raw(b"\xd0\xcf\x11\xe0" + bytes(50)), {}, "is an old workbook"),
    "compressed": ("x.csv", raw(b"\x1f\x8b\x08" + bytes(50)), {}, "is compressed"),
    "a web page": ("x.csv", html, {}, "is a web page"),
    "JSON": ("x.csv", text('{"a": [1, 2]}\n'), {}, "is JSON, not a table"),
    "an array by another name": ("x.csv", raw(saved(np.eye(3))), {}, "is a .npy file"),
    "noise": ("x.csv", raw(bytes(range(256)) * 4), {}, "is not"),
    "empty": ("x.csv", text("\n\n"), {}, "is empty"),
    "only a header": ("x.csv", text("a,b,c\n"), {}, "there are no observations in it"),
    "a longer row": ("x.csv", text(lines().replace("12.25\n", "12.25,7\n", 1)), {},
                     r"line 9 has 4 cells, where 3 were expected \(comma-separated\): '7.5,-14,12.25,7'; correct it"),
    "a row cut short": ("x.csv", text(lines()[:-12]), {}, "line 25 has (1 cell|2 cells), where 3 were expected"),
    "an open quotation mark": ("x.csv", text(lines().replace("7.5,", '"7.5,', 1)), {}, "line 9 has a quotation mark"),
    "percent": ("x.csv", text(lines().replace("\n", "%\n").replace("c%", "c")), {},
                r"column c: its cells are not plain numbers: '0.0%' in row 1, .*write plain numbers \(5, not 5%\)"),
    "dates with points": ("x.csv", text(lines(header="day,a,b,c", row="{i:02d}.03.2024,")), {},
              r"column day: holds dates: '00.03.2024' in row 1, .*write them as numbers"),
    "units": ("x.csv", text(lines().replace("\n", " mm\n").replace("c mm", "c")), {}, "not plain numbers: '0.0 mm' in"),
    "dates": ("x.csv", text("a,when\n" + "".join(f"{i},2020-01-{i + 1:02d}\n" for i in range(20))), {},
              "column when: not all numbers, but '2020-01-01' in row 1; write dates as numbers .* or leave it out"),
    "two files in one": ("x.csv", text(lines() + lines()), {},
                         "column a: the header is repeated in row 25; remove that row"),
    "two of text": ("x.csv", text("a,b,c\n" + "".join(f"{i},{'xy'[i % 2]},{'pq'[i % 2]}\n" for i in range(20))), {},
                    r"columns b, c: not all numbers, but 'x' in row 1; leave them out \('dataset.leave_out=\[b,c\]'\)"),
    "a separator that is not there": ("x.csv", text(lines()), {"separator": "semicolon"},
                                      "there is no semicolon in 'a,b,c'; leave dataset.separator=semicolon out"),
    "an encoding that it is not in": ("x.csv", text(lines(header="ä,b,c"), "latin-1"), {"encoding": "utf-8"},
                                      "is not UTF-8 text: line 1 holds"),
    "a column that is not there": ("x.csv", text(lines()), {"leave_out": ["d"]}, r"has no column d \(dataset.leave"),
    "cut array": ("x.npy", raw(saved(np.eye(40))[:900]), {}, "it is cut short: 900 bytes of 12,928"),
    "objects": ("x.npy", raw(saved(np.array([None, 1]))), {}, "holds Python objects.*save numbers"),
    "channels either way": ("x.npy", array(pixels(9, 3, 5, 3)), {}, "give dataset.channels=first or dataset.channels="),
    "beyond white": ("x.npy", array(pixels(9, 6, 8, top=999, kind="u2")), {"white": 255}, "beyond dataset.white=255"),
    "an archive without x": ("x.npz", archive(a=np.eye(3), b=np.eye(3)), {}, "holds a, b; save the observations under"),
    "a sparse matrix that lies": ("x.npz", archive(indices=np.array([99]), indptr=np.array([0, 1]), shape=[1, 3],
                                  format=np.array(b"csr"), data=[1.0]), {}, "a sparse matrix whose indices do not fit"),
    "a huge sparse matrix": ("x.npz", archive(indices=np.array([0]), indptr=np.array([0, 1]), shape=[10**9, 10**9],
                             format=np.array(b"csr"), data=[1.0]), {}, "would take"),
    "cut parquet": ("x.parquet", raw(b"PAR1" + bytes(90)), {}, "it is damaged, cut short or of another format"),
}  # fmt: skip
WORDS = ("Arrow", "CSV parse", "codec", "NumPy", "Traceback", "allow_pickle", "zipfile", "Thrift")  # libraries' own


@pytest.mark.parametrize("kind", DEFECTS)
def test_defects(kind: str, tmp_path: Path) -> None:
    name, write, keys, message = DEFECTS[kind]
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as refused:
        look(tmp_path / name, **keys)
    said = str(refused.value)
    assert said.startswith(f"dataset.path={tmp_path / name}: ")
    assert len(said.splitlines()) <= 2
    assert not [word for word in WORDS if word in said]


BROKEN: dict[str, tuple[Write, str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:90]), "cut short|damaged"),
    "no image": (text("no image"), "not an image"),
    "empty": (raw(b""), "not an image"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_pictures(kind: str, tmp_path: Path) -> None:
    pictures(tmp_path / "p")
    spoil, message = BROKEN[kind]
    spoil(tmp_path / "p/cat/2.png")
    with pytest.raises(UserError, match=rf"1 of 8 images cannot be read: cat/2.png \(({message})\); repair"):
        look(tmp_path / "p", "images")


def test_threads_of_the_parser_hold_no_function_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that such a thread released while Python ends would abort the process."""
    from pyarrow import csv

    ways, parse = [], csv.read_csv

    def watched(source: Any, read: Any, parsing: Any, converting: Any) -> Any:
        ways.append((read.use_threads, parsing.invalid_row_handler is not None))
        return parse(source, read, parsing, converting)

    monkeypatch.setattr(csv, "read_csv", watched)
    (tmp_path / "x.csv").write_text(lines() + "# the end\n")
    assert "1 comment line skipped" in printed(tmp_path / "x.csv")
    assert ways == [(True, False), (False, True)]


def test_a_row_of_sums_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines(header="town,a,b,c", row="t{i},") + "Total:,1,-2,3\n")
    assert look(tmp_path / "x.csv")["observations"] == N + 1
    assert "the last row is an observation, and column town calls it 'Total:'" in printed(tmp_path / "x.csv")
