"""The user's own data: what is read from files, what is refused, and the whole way through the command line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import resource
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from support.command_line import called
from support.configurations import composed
from support.making import instantiate, prepare
from support.own_files import read_image
from support.processes import in_child

from vaecli import __main__ as cli
from vaecli.analysis.latent_search import fit
from vaecli.commands._inputs import read_input
from vaecli.datasets.arrays import Arrays
from vaecli.datasets.images import Images
from vaecli.datasets.own import split_rows
from vaecli.datasets.reading import numpy_files
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.files import read
from vaecli.datasets.split import FileSplit, Split, Splits
from vaecli.decoders.wrapped import Standardizer
from vaecli.models.load import load_run, load_split
from vaecli.runs.access import absolute_paths
from vaecli.utils import memory
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("without_hydra")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)


def load(path: Path, **options: Any) -> Splits:
    return Arrays(str(path), **options).load()


def parts(splits: Splits) -> list[Split]:
    return [part for part in splits if part is not None]


def everything(splits: Splits) -> np.ndarray:
    """All rows of all parts, sorted."""
    x = torch.cat([part.batch(slice(None)) for part in parts(splits)]).numpy()
    return x[np.lexsort(x.T[::-1])]


def table(*columns: str, rows: int = 40, header: str | None = None) -> str:
    """A csv of the columns, each an expression of i, the row, and x, a number of its own."""
    lines = [
        ",".join(str(eval(c, {"i": i, "x": float(X[i % 40, k % 3])})) for k, c in enumerate(columns))
        for i in range(rows)
    ]
    return "\n".join([header] * (header is not None) + lines) + "\n"


# --- arrays


def test_all_rows_are_in_one_part_each(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    splits = load(tmp_path / "x.npy", val_fraction=0.2, test_fraction=0.25)
    assert [len(part) for part in parts(splits)] == [22, 8, 10]
    assert np.array_equal(everything(splits), X[np.lexsort(X.T[::-1])])


def test_splits_depend_on_split_seed_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    config = [f"dataset.path={tmp_path / 'x.npy'}", "dataset=arrays"]
    hashes = [
        instantiate(composed(*config, *more), "dataset").load().sha256()
        for more in ([], ["seed=7"], ["dataset.split_seed=1"])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_test_part_is_the_same_for_any_val_part(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    one, other = (load(tmp_path / "x.npy", val_fraction=f) for f in (0.0, 0.3))
    assert one.val is None
    assert torch.equal(one.test.x, other.test.x)


def test_files_of_their_own_for_validation_and_test(tmp_path: Path) -> None:
    for name, part in (("a", X[:20]), ("b", X[20:25]), ("c", X[25:])):
        np.save(tmp_path / f"{name}.npy", part)
    given = {key: str(tmp_path / f"{name}.npy") for key, name in (("val_path", "b"), ("test_path", "c"))}
    splits = load(tmp_path / "a.npy", **given)
    assert [len(part) for part in parts(splits)] == [20, 5, 15]
    assert np.array_equal(splits.test.x.numpy(), X[25:])  # in the file's order
    assert [len(part) for part in parts(load(tmp_path / "a.npy", **given, limit=3))] == [3, 3, 3]


@pytest.mark.parametrize(
    ("shape", "dtype", "x_shape", "levels"),
    [
        ((9, 5), "float64", (5,), 1), ((9, 5), "int16", (5,), 1), ((9, 5), "bool", (5,), 1), ((9, 5), ">f4", (5,), 1),
        ((9, 6, 7), "uint8", (1, 6, 7), 255), ((9, 3, 6, 7), "uint8", (3, 6, 7), 255),
        ((9, 6, 7, 3), "uint8", (3, 6, 7), 255), ((9, 1, 6, 7), "float16", (1, 6, 7), 1),
    ],
)  # fmt: skip
def test_shapes_and_types(
    shape: tuple[int, ...], dtype: str, x_shape: tuple[int, ...], levels: int, tmp_path: Path
) -> None:
    values = (RNG.random(shape) * {"uint8": 255, "int16": 255}.get(dtype, 1)).round().astype(dtype)
    np.save(tmp_path / "x.npy", values)
    splits = load(tmp_path / "x.npy")
    assert splits.train.x_shape == x_shape
    assert splits.train.levels == levels
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    expected = values.astype(np.float32)[int(order[0])] / levels
    expected = expected.transpose(2, 0, 1) if shape[-1] == 3 else expected
    np.testing.assert_allclose(splits.test.batch(slice(None))[0].numpy(), expected.reshape(x_shape), rtol=1e-6)


def test_bytes_of_zeros_and_ones_are_truth_values(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", (RNG.random((20, 4, 4)) > 0.5).astype(np.uint8))
    train = load(tmp_path / "x.npy").train
    assert train.range.binary
    assert train.range == (0.0, 1.0, True)


# --- files that stay where they are


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "MAP_ABOVE", 0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_a_mapped_file_gives_what_reading_it_gives(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = (RNG.random((50, 3, 4, 4)) * 200).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    whole = load(tmp_path / "x.npy", limit=30)
    monkeypatch.setattr(numpy_files, "MAP_ABOVE", 0)
    mapped = load(tmp_path / "x.npy", limit=30)
    for one, other in zip(parts(whole), parts(mapped), strict=True):
        assert isinstance(other, FileSplit)
        assert len(one) == len(other)
        assert one.x_shape == other.x_shape
        index = torch.randperm(len(one))
        assert torch.equal(one.batch(index), other.batch(index))
        assert torch.equal(one.head(2).batch(slice(None)), other.head(2).batch(slice(None)))
        assert one.range == other.range
        torch.testing.assert_close(one.mean(), other.mean())
    if dtype != "float64":  # which is float32 in memory
        assert whole.sha256() == mapped.sha256()


@pytest.mark.usefixtures("small_is_large")
def test_a_mapped_file_is_not_copied(tmp_path: Path) -> None:
    """A file of 2 GB, all hole: what is read of it takes memory, the file does not."""
    path = tmp_path / "x.npy"
    n, d = 2_000_000, 256
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n, d)})
        start = file.tell()
        file.truncate(start + 4 * n * d)

    def look() -> None:
        """A copy of the file would not fit."""
        data = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        most = 1024 * int(data.split()[1]) + 300 * 10**6
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        x = read("x", path, ReadOptions()).x
        split = FileSplit(x, rows=split_rows("x", len(x), 0.1, 0.1, 0).train)
        split.batch(torch.arange(128))
        assert split.head(5000).moments.n.tolist() == [5000] * d

    assert in_child(look) == 0


@pytest.mark.usefixtures("small_is_large")
def test_training_from_a_mapped_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    job = prepare(composed("dataset=arrays", f"dataset.path={tmp_path / 'x.npy'}", "decoder=gaussian",
                           "dataset.standardize=true", "device=cpu"))  # fmt: skip
    assert isinstance(job.splits.train, FileSplit)
    x = job.splits.train.batch(torch.arange(10))
    assert torch.isfinite(job.objective(job.model, x, 0).loss)


# --- tables


def test_a_typical_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(table("i", "x", "10*x", "'abc'[i%3]", header=",height,width,kind"))
    dataset = Arrays(str(tmp_path / "x.csv"))
    assert dataset.names == ("height", "width")  # the row numbers are left out
    splits = dataset.load()
    assert dataset.label_names == ("a", "b", "c")
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.as_tensor(splits.test.y), order[:4] % 3)
    np.testing.assert_allclose(splits.test.x[:, 0], X[order[:4], 1], rtol=1e-6)
    np.testing.assert_allclose(splits.test.x[:, 1], 10 * X[order[:4], 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "names", "labels"),
    [
        (table("x", "x"), ("x_1", "x_2"), None),
        (table("x", "x", "'ab'[i%2]"), ("x_1", "x_2"), ("a", "b")),
        (table("x", "x", header="a,b"), ("a", "b"), None),
        (table("x", "x", header="# a,b"), ("a", "b"), None),
        (table("x", "x", header="\ufeffa,b"), ("a", "b"), None),
        (table("x", "x", header="a,b").replace(",", ";"), ("a", "b"), None),
        (table("x", "x", header="a,b").replace("\n", "\r\n"), ("a", "b"), None),
        (table("x", "x").replace(",", " "), ("x_1", "x_2"), None),
        (table("x", "i>3", header='"a, b",c'), ("a, b", "c"), None),
    ],
)
def test_headers_and_separators(text: str, names: tuple[str, ...], labels: Any, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode())
    dataset = Arrays(str(tmp_path / "x.csv"))
    splits = dataset.load()
    assert dataset.names == names
    assert dataset.label_names == labels
    assert sum(map(len, parts(splits))) == 40
    first = sorted(torch.cat([part.x[:, 0] for part in parts(splits)]).tolist())
    np.testing.assert_allclose(first, sorted(X[:, 0]), rtol=1e-6)


def test_columns_and_labels_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(table("x", "x", "i%4", "'ab'[i%2]", header="a,b,label,kind"))
    assert Arrays(str(tmp_path / "x.csv"), labels="kind").names == ("a", "b", "label")
    assert Arrays(str(tmp_path / "x.csv"), columns=["b", "a"]).names == ("b", "a")
    dataset = Arrays(str(tmp_path / "x.csv"), columns=["b"])
    assert set(torch.as_tensor(dataset.load().train.y).tolist()) == {0, 1, 2, 3}
    assert load(tmp_path / "x.csv", columns=["b"], labels=False).train.y is None


def test_labels_are_coded_alike_in_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(table("x", "'bc'[i%2]", header="a,kind"))
    (tmp_path / "b.csv").write_text("kind,a\n" + "\n".join(f"{'ab'[i % 2]},{i}" for i in range(9)))
    dataset = Arrays(str(tmp_path / "a.csv"), test_path=str(tmp_path / "b.csv"))
    splits = dataset.load()
    assert dataset.label_names == ("a", "b", "c")
    assert torch.as_tensor(splits.test.y).tolist() == [i % 2 for i in range(9)]
    assert splits.test.x[:, 0].tolist() == list(range(9))  # by its name, not its place


def test_parquet(tmp_path: Path) -> None:
    columns = {"a": X[:, 0], "b": np.arange(40), "kind": pa.array(["u", "v"] * 20).dictionary_encode()}
    parquet.write_table(pa.table({**columns, "__index_level_0__": np.arange(40)}), tmp_path / "x.parquet")
    dataset = Arrays(str(tmp_path / "x.parquet"))
    assert dataset.load().train.x_shape == (2,)
    assert dataset.names == ("a", "b")
    assert dataset.label_names == ("u", "v")


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(40), z=np.zeros(5))
    splits = load(tmp_path / "x.npz")
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.as_tensor(splits.test.y), order[:4])
    np.savez(tmp_path / "y.npz", measured=X, kind=np.array(["p", "q"] * 20))
    dataset = Arrays(str(tmp_path / "y.npz"), labels="kind")
    assert dataset.load().train.x_shape == (3,)
    assert dataset.label_names == ("p", "q")


# --- what is refused


def bomb() -> bytes:
    """An archive of a few kilobytes that claims 2 TB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**11, 3)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(10**6))
    return file.getvalue()


def saved(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def archived(**values: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **values)
    return file.getvalue()


def gap(value: float) -> np.ndarray:
    x = X.copy()
    x[7, 2] = value
    return x


BAD: list[tuple[str, bytes | str, dict[str, Any], str]] = [
    ("a.npy", saved(gap(np.nan)), {}, "1 value is NaN or infinite, at [7, 2]; remove them, or give"),
    ("a.npy", saved(gap(np.inf)), {"missing": "mask"}, "1 value is infinite, at [7, 2]; remove them"),
    ("a.npy", saved(np.full((9, 2), 1e300) * np.arange(2)), {}, "9 values are NaN or infinite, the first at [0, 1]"),
    ("a.npy", saved(np.array([None, 1])), {}, "it holds Python objects"),
    ("a.npy", saved(np.array(["a"])), {}, "holds text; expected an array of real numbers"),
    ("a.npy", saved(X + 1j), {}, "holds complex numbers"),
    ("a.npy", saved(np.zeros((0, 3))), {}, "has shape (0, 3): it is empty"),
    ("a.npy", saved(np.zeros(9)), {}, "has shape (9,); expected (N, d), (N, H, W) or (N, C, H, W)"),
    ("a.npy", saved(np.zeros((2, 2, 2, 2, 2))), {}, "expected (N, d)"),
    ("a.npy", saved(X[:2]), {}, "2 observations are too few: 1 to test and 1 to validate leave none to train on"),
    ("a.npy", saved(X)[:200], {}, "cannot be read as .npy"),
    ("a.npy", saved(X).replace(b"(40, 3)", b"(40000000000, 3)"), {}, "cannot be read as .npy"),
    ("a.npy", b"", {}, "cannot be read as .npy"),
    ("a.npy", b"something else", {}, "or not an array"),
    ("a.npy", archived(x=X), {}, "is an .npz archive"),
    ("a.npz", archived(x=X, y=np.arange(39)), {}, "has 40 observations and 39 labels"),
    ("a.npz", archived(a=X, b=X), {}, "holds a, b; save the observations under the name x"),
    ("a.npz", archived(x=X), {"labels": "q"}, "holds no labels q; there are x"),
    ("a.npz", archived(x=X)[:300], {}, "is not an .npz archive, or is cut short"),
    ("a.npz", bomb(), {}, "cannot be read as .npz"),
    ("a.csv", "", {}, "is empty"),
    ("a.csv", "a,b\n", {}, "there are no observations in it"),
    ("a.csv", b"\x89PNG\0", {}, "is not UTF-8 text"),
    ("a.csv", "a,b\n1,2\n1,2,3\n", {}, "line 3 has 3 cells, where 2 were expected (comma-separated): '1,2,3'"),
    ("a.csv", table("x", "'Rome'", "'x'", header="a,city,code"), {},
     "columns city, code: not all numbers, but 'Rome' in row 1; leave them out ('dataset.leave_out=[city,code]') or, "
     "if one of them is the labels, name it (dataset.labels=city)"),
    ("a.csv", table("x", "'2020-01-01'", header="a,when"), {},
     "column when: not all numbers, but '2020-01-01' in row 1"),
    ("a.csv", table("x", "x", header="a,b"), {"columns": ["a", "bb"]}, "has no column bb (dataset.columns); did you"),
    ("a.csv", table("x", "x", header="a,b"), {"labels": "kind"}, "has no column kind (dataset.labels); it has"),
    ("a.csv", table("x", "'NA' if i==4 else x", header="a,b"), {"missing": "refuse"},
     "1 value is NaN or infinite, at [4, 1] (column b)"),
    ("a.csv", table("x", "'NA'", header="a,b"), {"missing": "mask"}, "b is missing in all of the training"),
    ("a.parquet", b"PAR1nothing", {}, "cannot be read as .parquet"),
    ("a.xyz", "", {}, "expected a .npy, .npz, .csv, .tsv, .txt, .dat, .parquet or .h5ad file"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "options", "message"), BAD)
def test_refused(name: str, content: bytes | str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as refused:
        load(path, **options)
    said = str(refused.value)
    assert message in said
    assert said.startswith(f"dataset.path={path}: ")
    assert len(said.splitlines()) == 1
    assert "allow_pickle" not in said


def test_memory_is_not_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 100)
    np.savez(tmp_path / "x.npz", x=X)
    (tmp_path / "x.csv").write_text(table("x"))
    for name in ("x.npz", "x.csv"):
        with pytest.raises(UserError, match="of memory, and 100 bytes are free: save it as float32"):
            load(tmp_path / name)


def test_other_files_must_hold_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "wide.npy", np.ones((5, 4)))
    np.save(tmp_path / "bytes.npy", np.full((5, 3), 9, np.uint8))
    for name, message in (
        ("wide", r"holds observations of shape \(4,\), but"), ("bytes", "holds torch.uint8"), ("no", "there is no"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=rf"dataset.val_path=.*{name}.npy: {message}"):
            load(tmp_path / "x.npy", val_path=str(tmp_path / f"{name}.npy"))


def test_a_folder_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; dataset=images reads folders"):
        load(tmp_path)
    with pytest.raises(UserError, match="there is no such file"):
        load(tmp_path / "x.npy")


# --- images


def draw(path: Path, *size: int, mode: str = "RGB", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8), mode).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(12):
        draw(tmp_path / "pics" / "ab"[i % 2] / f"{i}.{'png' if i % 3 else 'bmp'}", 9, 8, seed=i)
    draw(tmp_path / "pics" / ".hidden" / "x.png", 5, 5)
    return tmp_path / "pics"


def test_images_below_a_folder(pictures: Path) -> None:
    dataset = Images(str(pictures), val_fraction=0.25, test_fraction=0.25)
    splits = dataset.load()
    assert [len(part) for part in parts(splits)] == [6, 3, 3]
    assert splits.train.x.shape == (6, 3, 8, 9)
    assert splits.train.x.dtype == torch.uint8
    assert dataset.label_names == ("a", "b")
    found = torch.cat([part.x for part in parts(splits)])
    labels = torch.cat([torch.as_tensor(part.y) for part in parts(splits)])
    for i in range(12):  # every image once, in its own class
        expected = np.random.default_rng(i).integers(0, 256, (8, 9, 3)).astype(np.uint8).transpose(2, 0, 1)
        same = [k for k in range(12) if np.array_equal(found[k], expected)]
        assert [int(labels[k]) for k in same] == [i % 2]


def test_images_of_another_size_and_colour(pictures: Path) -> None:
    draw(pictures / "a" / "tall.png", 4, 20)
    with pytest.raises(UserError, match=r"1 of 13 images .*\(.*is 9x8 and a/tall.png is 4x20 pixels\): give dataset"):
        Images(str(pictures)).load()
    assert Images(str(pictures), size=6, colour="grey").load().train.x_shape == (1, 6, 6)
    assert Images(str(pictures), size=[6, 10]).load().train.x_shape == (3, 6, 10)
    binary = Images(str(pictures), size=8, binarize="threshold").load()
    assert all(part.range.binary for part in parts(binary))


def test_scaling_keeps_the_proportions_and_the_centre(tmp_path: Path) -> None:
    x = np.zeros((20, 60), np.uint8)
    x[:, 20:40] = 255  # the middle third, which is all that is left
    Image.fromarray(x).save(tmp_path / "x.png")
    assert (read_image(tmp_path / "x.png", "grey", (10, 10))[:, :, 1:9] > 250).all()


def test_what_a_pixel_is(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535, 32896]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png", "grey").ravel().tolist() == [0, 1, 255, 128]
    clear = np.array([[[255, 0, 0, 255], [9, 9, 9, 0]]], np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", "rgb")[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]


def test_folders_that_are_splits(tmp_path: Path) -> None:
    for part, n in (("train", 8), ("val", 3), ("test", 4)):
        for i in range(n):
            draw(tmp_path / part / "ab"[i % 2] / f"{i}.png", 5, 5, mode="L", seed=i)
    assert [len(part) for part in parts(Images(str(tmp_path)).load())] == [8, 3, 4]
    assert [len(part) for part in parts(Images(str(tmp_path), limit=2).load())] == [2, 2, 2]


def test_images_that_are_refused(tmp_path: Path, pictures: Path) -> None:
    for i in range(5):
        (pictures / f"broken{i}.jpg").write_bytes(b"no image")
    whole = (pictures / "a" / "2.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        UserError, match=r"6 of 18 images cannot be read: broken.\.jpg \(.*\), broken.*, \.\.\.; repair"
    ):
        Images(str(pictures), size=8).load()
    (tmp_path / "empty").mkdir()
    for place, message in ((tmp_path / "empty", "no image in it"), (tmp_path / "no", "there is no such folder"),
                           (pictures / "a" / "2.png", "is a file; expected a folder")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            Images(str(place)).load()


# --- runs


def here(folder: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line in this process, which saves the seconds that a new one takes to start."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["vae", *line.split()])
    with contextlib.suppress(SystemExit):  # with exit code 0; otherwise what it should have written is not there
        cli.main()


def test_paths_are_stored_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = {"name": "arrays", "path": "a.csv", "val_path": None, "test_path": "b/c.csv", "limit": 3}
    paths = {"path": str(tmp_path / "a.csv"), "test_path": str(tmp_path / "b/c.csv")}
    assert absolute_paths(dataset) == {**dataset, **paths}


def test_standardize_needs_a_decoder_of_real_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RNG.random((40, 3)))
    config = ["dataset=arrays", f"dataset.path={tmp_path / 'x.npy'}", "dataset.standardize=true"]
    for decoder in (["decoder=bernoulli"], ["decoder=gaussian", "decoder.loc=sigmoid"]):
        with pytest.raises(UserError, match="needs a decoder of all real numbers: use decoder=gaussian"):
            prepare(composed(*config, *decoder))
    assert prepare(composed(*config, "decoder=gaussian")).warning is None


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table with a header, an index, gaps and a column of labels, in units far apart."""
    folder = tmp_path_factory.mktemp("table")
    u = RNG.normal(size=(200, 1))
    x = u * [1, 1000, -0.01] + [5, 1e4, 0] + 0.1 * RNG.normal(size=(200, 3)) * [1, 1000, 0.01]
    lines = [
        f"{i}," + ",".join("" if RNG.random() < 0.1 else f"{v:.6g}" for v in row) + f",{'lo' if row[0] < 5 else 'hi'}"
        for i, row in enumerate(x)
    ]
    (folder / "x.csv").write_text("\n".join([",length,mass,charge,kind", *lines]))
    done = called("train", "dataset=arrays", "dataset.path=x.csv", "decoder=gaussian", "dataset.standardize=true",
               "dataset.missing=mask", "latent_dim=1", "epochs=100", "optimizer.lr=0.01", "architecture.hidden=[32]",
               "batch_size=64", "images.every_epochs=100", "checkpoint.every_epochs=100", "validate.every_epochs=20",
               "output=run", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.slow
def test_every_command_on_a_table(table_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (
        "sample format=npz n=500", "reconstruct", "encode format=csv", "evaluate k=5000 exact=true limit=2",
        "traverse", "interpolate from=0 to=3", "fit index=1", "export format=torch",
    ):  # fmt: skip
        here(table_run.parent, f"{command} run=run", monkeypatch)
    x = np.load(table_run / "samples.npz")["x"]
    np.testing.assert_allclose(x.mean(0), [5, 1e4, 0], rtol=0.1, atol=0.005)  # the data's own units
    np.testing.assert_allclose(x.std(0), [1, 1000, 0.01], rtol=0.4)
    figures = json.loads((table_run / "evaluation_test_limit2.json").read_text())
    assert abs(figures["nll"] - figures["exact_nll"]) < 5 * figures["nll_mc_stderr"] + 1e-3
    assert figures["bits_per_dim"] is None


def table_of(path: Path) -> dict[str, list[str]]:
    """The columns of a .csv file."""
    with open(path, newline="") as file:
        heading, *lines = csv.reader(file)
    return dict(zip(heading, map(list, zip(*lines, strict=True)), strict=True))


def test_tables_are_written_as_tables(table_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the columns' names; what comes from the file says from which of its rows."""
    for command in ("sample n=7", "reconstruct n=20", "encode"):
        here(table_run.parent, f"{command} format=csv run=run output={command.split()[0]}.csv", monkeypatch)
    given = table_of(table_run.parent / "x.csv")
    sample, again, codes = (table_of(table_run.parent / f"{name}.csv") for name in ("sample", "reconstruct", "encode"))
    names = ["length", "mass", "charge"]
    assert list(sample) == names
    assert len(sample["mass"]) == 7
    rows = [int(row) for row in again["row"]]
    assert len(set(rows)) == 20
    assert again["index"] == [str(i) for i in range(20)]
    for name in names:
        for row, there, mean in zip(rows, again[name], again[f"{name}_reconstruction"], strict=True):
            assert (there == "") == (given[name][row] == "")
            assert float(mean) == float(mean)
    assert {"elbo", "log_px", "kl"} <= again.keys()
    assert [given["kind"][int(row)] for row in codes["row"]] == codes["label_name"]
    here(table_run.parent, "encode run=run output=codes.npz", monkeypatch)
    found = np.load(table_run.parent / "codes.npz")
    assert [given["kind"][row] for row in found["rows"]] == [found["label_names"][k] for k in found["labels"]]


def test_scores_of_a_whole_file(table_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = table_run.parent / "x.csv"
    here(tmp_path, f"evaluate run={table_run} input={given} k=50 scores=csv output=e.json", monkeypatch)
    scores = table_of(tmp_path / "e.scores.csv")
    assert scores["index"] == [str(i) for i in range(200)]
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["nll"] == pytest.approx(np.mean([float(value) for value in scores["nll"]]), rel=1e-5)
    assert (found["protocol"]["split"], found["protocol"]["input"]) == (None, str(given))


def test_columns_are_known_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text(table("x", "x", "5*x", header="row,kl,b"))
    words = "dataset=arrays dataset.path=a.csv decoder=gaussian epochs=1 latent_dim=1 output=run"
    here(tmp_path, f"train {words}", monkeypatch)
    (tmp_path / "other.csv").write_text("b,row,kl\n5,1,2\n")
    here(tmp_path, "reconstruct run=run input=other.csv format=csv output=before.csv", monkeypatch)
    (tmp_path / "a.csv").unlink()
    here(tmp_path, "reconstruct run=run input=other.csv format=csv output=after.csv", monkeypatch)
    before, after = table_of(tmp_path / "before.csv"), table_of(tmp_path / "after.csv")
    assert before == after
    assert [after[name] for name in ("row", "kl", "b", "index")] == [["1"], ["2"], ["5"], ["0"]]
    assert after["kl_2"] != ["2"]  # the term of the ELBO


def test_images_make_no_table(
    tmp_path: Path, digits_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("sample", "reconstruct"):
        here(tmp_path, f"{command} format=csv run={digits_run} output=a.csv", monkeypatch)
        assert "format=csv: is for tables and curves" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_distances_of_a_table_are_in_standard_units(table_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mass, in thousands, does not drown the others."""
    here(table_run.parent, "evaluate k=10 limit=20 run=run output=units.json", monkeypatch)
    assert json.loads((table_run.parent / "units.json").read_text())["mse"] < 1
    run = load_run(str(table_run), device="cpu")
    x = load_split(run, "train").batch(torch.arange(20))
    x = x[~x.isnan().any(1)][0]
    found = fit(run.model, x)
    scale = next(part for part in run.model.modules() if isinstance(part, Standardizer)).scale.double()
    assert found.norm == pytest.approx(float(((found.x - x) / scale).norm()), rel=1e-5)
    assert found.norm < 1


def test_gaps_are_filled_in(table_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns follow one factor: what is missing comes back close to what it was, from what is there."""
    x = np.array([-1.0, 0.0, 1.0])[:, None] * [1, 1000, -0.01] + [5, 1e4, 0]
    holes = np.repeat(x[None], 3, 0)
    for column in range(3):
        holes[column, :, column] = np.nan
    cells = [",".join("" if np.isnan(v) else str(v) for v in row) for row in holes.reshape(9, 3)[:, [2, 0, 1]]]
    (tmp_path / "holes.csv").write_text("\n".join(["charge,length,mass", *cells]))
    here(tmp_path, f"reconstruct run={table_run} input=holes.csv format=npz output=a.npz", monkeypatch)
    found = np.load(tmp_path / "a.npz")
    assert np.array_equal(np.isnan(found["x"]), np.isnan(holes.reshape(9, 3)))
    assert np.isfinite(found["elbo"]).all()
    error = (found["reconstruction"].reshape(3, 3, 3) - x) / [1, 1000, 0.01]
    for column in range(3):
        assert np.abs(error[column, :, column]).max() < 0.5, column


def test_commands_without_the_data(table_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = table_run.parent / "x.csv"
    data.rename(tmp_path / "moved.csv")
    try:
        here(tmp_path, f"sample run={table_run} output=a.png", monkeypatch)
        run = load_run(str(table_run), device="cpu")
        with pytest.raises(UserError, match=r"was trained on: dataset\.path=.*: there is no such file"):
            load_split(run, "test")
    finally:
        (tmp_path / "moved.csv").rename(data)


def test_input_in_the_data_s_own_units(table_run: Path, tmp_path: Path) -> None:
    run = load_run(str(table_run), device="cpu")
    values = np.array([[5.0, 1e4, 0.0], [6.0, 1.1e4, -0.01]], np.float32)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", x=values)
    (tmp_path / "x.csv").write_text("mass,length,charge,note\n10000,5,0,a\n11000,6,-0.01,b\n")
    for name in ("x.npy", "x.npz", "x.csv"):
        assert np.array_equal(read_input(run, str(tmp_path / name)).x, values)
    np.save(tmp_path / "one.npy", values[0])
    assert read_input(run, str(tmp_path / "one.npy")).x.shape == (1, 3)
    np.save(tmp_path / "wide.npy", np.ones((2, 4)))
    (tmp_path / "other.csv").write_text("mass,width\n1,2\n3,4\n")
    for name, message in (
        ("wide.npy", r"expected \(N, 3\)"),
        ("other.csv", "lacks 2 of 3 columns .*: length, charge"),
        ("a", "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            read_input(run, str(tmp_path / name))


def test_grey_values_off_any_grid_are_not_told_of_levels(tmp_path: Path) -> None:
    """5 channels of real numbers, as of a satellite: discretized_logistic would refuse them."""
    np.save(tmp_path / "x.npy", RNG.random((20, 5, 6, 6), dtype=np.float32))
    small = ("train", "dataset=arrays", "dataset.path=x.npy", "epochs=1", "architecture.hidden=[8]", "device=cpu")
    done = called(*small, "output=a", cwd=tmp_path)
    assert "For a likelihood of the grey data use decoder=gaussian\n" in done.stdout  # no key `binarize` in arrays
    assert "warning" not in called(*small, "decoder=gaussian", "output=b", cwd=tmp_path).stdout


@pytest.mark.parametrize("data", ["array", "folder"])
def test_the_way_through(data: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images, from an array of real numbers and from a folder."""
    np.save(tmp_path / "x.npy", 5 + 3 * RNG.normal(size=(60, 8, 8)))
    args, given = {
        "array": ("dataset=arrays dataset.path=x.npy decoder=gaussian dataset.standardize=true", "x.npy"),
        "folder": (
            "dataset=images dataset.path=pics dataset.size=12 architecture=conv",
            next(pictures.glob("a/*.png")),
        ),
    }[data]
    here(tmp_path, f"train {args} epochs=2 latent_dim=2 output=run", monkeypatch)
    for command in ("sample", f"reconstruct input={given}", "encode", "evaluate k=10 limit=20", "manifold n=4"):
        here(tmp_path, f"{command} run=run", monkeypatch)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "completed"


def test_the_command_line(table_run: Path, tmp_path: Path) -> None:
    done = called("sample", f"run={table_run}", "output=a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "a.png").size[0] > 100
