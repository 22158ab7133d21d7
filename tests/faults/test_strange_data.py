"""Files from strangers that are no files, start other programs, or stand for far more memory than they have bytes."""

from __future__ import annotations

import ast
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import EpsImagePlugin, Image
from pyarrow import parquet
from support.checkpoints import State, make, write_run
from support.command_line import called
from support.mnist_files import fake
from support.mutations import cut, drop, flip, flip_at_an_end, repeat, splice
from support.own_files import read_image
from support.processes import in_time, run_command

import vaecli
from vaecli.analysis.latent_space import encode
from vaecli.analysis.metrics import mean_squared_error
from vaecli.commands._inputs import read_input, read_latents
from vaecli.commands.reconstruct import reconstruct
from vaecli.datasets.arrays import Arrays
from vaecli.datasets.images import Images
from vaecli.datasets.mnist import FILES, MNIST
from vaecli.datasets.reading import pictures as images
from vaecli.datasets.reading.files import READERS
from vaecli.datasets.reading.pictures import UNREADABLE
from vaecli.models.inference import decode_all
from vaecli.models.load import load_run
from vaecli.runs import checkpoint
from vaecli.runs.folder import RunFolder
from vaecli.runs.records import Summary
from vaecli.utils import memory
from vaecli.utils.errors import UserError
from vaecli.utils.memory import MemoryBudget, available

pytestmark = pytest.mark.usefixtures("without_hydra")

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
COMMANDS = (
    "sample format=csv",
    "sample",
    "evaluate k=2",
    "encode",
    "reconstruct",
    "traverse",
    "interpolate",
    "manifold",
)


@pytest.fixture(scope="module")
def table_state() -> State:
    """Of a run on a table, whose file the tests put in place."""
    return make("dataset=beta", "dataset.size=50", "dataset.points=3", "decoder=gaussian_identity")


def run_on(path: Path, state: State, folder: Path) -> Path:
    data = {"_target_": "vaecli.datasets.arrays.Arrays", "name": "arrays", "path": str(path)}
    return write_run(folder, {**state, "config": {**state["config"], "dataset": data}})


# --- images: the formats that the README lists, and no others


def test_an_eps_file_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, victim, pictures = tmp_path / "bin" / "gs", tmp_path / "victim", tmp_path / "pictures"
    program.parent.mkdir()
    pictures.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {victim}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    for i in range(6):
        Image.fromarray(PIXELS).save(pictures / f"{i}.png", "EPS" if i == 5 else "PNG")
    with suppress(*UNREADABLE), Image.open(pictures / "5.png") as image:
        image.load()
    assert victim.exists()  # the file does what it is meant to do
    victim.unlink()
    for size in (None, 8):
        with pytest.raises(UserError, match=r"1 of 6 images cannot be read: 5\.png \(not an image\)"):
            Images(str(pictures), size=size).load()
    assert not victim.exists()


@pytest.mark.parametrize("kind", ["PPM", "PCX", "ICO", "SGI", "DDS", "TGA", "ICNS", "IM", "SPIDER", "DIB"])
def test_other_formats_are_not_opened(kind: str, tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS).resize((32, 32))
    (picture.convert("F") if kind == "SPIDER" else picture).save(tmp_path / "x.bin", kind)
    (tmp_path / "x.bin").rename(tmp_path / "x.png")
    with pytest.raises(UNREADABLE, match="cannot identify"):
        read_image(tmp_path / "x.png", "rgb")


@pytest.mark.parametrize("kind", images.FORMATS)
def test_formats_of_the_readme_are_opened(kind: str, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png", kind)  # whatever the name says
    assert read_image(tmp_path / "x.png", "rgb").shape == (3, 20, 30)


@pytest.mark.parametrize("method", ["raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"])
def test_compressions_of_the_readme_are_read(method: str, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.tif", compression=method)
    assert np.array_equal(read_image(tmp_path / "x.tif", "rgb").transpose(1, 2, 0), PIXELS)


@pytest.mark.parametrize("method", ["jpeg", "group3", "group4", "tiff_ccitt", "lzma", "zstd", "webp"])
def test_other_compressions_are_not_decoded(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(PIXELS)
    bilevel = method in ("group3", "group4", "tiff_ccitt")
    try:
        (picture.convert("1") if bilevel else picture).save(tmp_path / "x.tif", compression=method)
    except (OSError, RuntimeError):
        pytest.skip("this libtiff does not write it")
    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match="is a TIFF with compression"):
        read_image(tmp_path / "x.tif", "rgb")


def test_images_are_opened_in_one_place() -> None:
    found = []
    for path in Path(vaecli.__file__).parent.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found += [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith("Image.open")]
    assert found == ["Image.open(path, formats=FORMATS)"]


# --- what is no file


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


IRREGULAR: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (make_pipe, "is a pipe"),
    "link to a pipe": (make_linked_pipe, "is a pipe"),
    "link to /dev/zero": (make_endless, "is a device"),
    "socket": (make_socket, "is a socket"),
    "folder": (Path.mkdir, "is a folder"),
}
irregular = pytest.mark.parametrize("kind", IRREGULAR)


@irregular
@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "tsv", "txt", "parquet", "png", "tif"])
def test_what_is_no_file_is_not_read(kind: str, ending: str, digits_run: Path, tmp_path: Path) -> None:
    path, (place, message) = tmp_path / f"x.{ending}", IRREGULAR[kind]
    place(path)
    run = load_run(str(digits_run), device="cpu")
    with in_time():
        with pytest.raises(UserError, match=message):
            read_input(run, str(path))
        with pytest.raises(UserError, match=message if ending == "npy" else "expected a .npy file"):
            read_latents(run, str(path))
        if ending not in ("png", "tif"):
            np.save(tmp_path / "whole.npy", np.eye(30))
            for paths in ({"path": path}, {"path": tmp_path / "whole.npy", "test_path": path}):
                with pytest.raises(UserError, match=message):
                    Arrays(**{key: str(value) for key, value in paths.items()}).load()
            assert Arrays(str(path)).display_range == (0.0, 1.0)
            assert Arrays(str(path)).names is None


@irregular
def test_the_image_walk_reads_no_pipe(kind: str, tmp_path: Path) -> None:
    for i in range(5):
        Image.fromarray(PIXELS).save(tmp_path / f"{i}.png")
    place, message = IRREGULAR[kind]
    place(tmp_path / "5.png")
    with in_time():
        if kind == "folder":  # one to walk into
            assert len(Images(str(tmp_path)).load().train) == 3
            return
        with pytest.raises(UserError, match=rf"1 of 6 images cannot be read: 5\.png \({message}, not a file\)"):
            Images(str(tmp_path)).load()


@irregular
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist_reads_no_pipe(kind: str, ending: str, tmp_path: Path) -> None:
    folder = fake(tmp_path, "MNIST")
    (folder / FILES[0]).unlink()
    place, message = IRREGULAR[kind]
    place(folder / f"{FILES[0]}{ending}")
    with in_time(), pytest.raises(UserError, match=f"cannot be read .*{message}"):
        MNIST("MNIST", str(tmp_path), val_size=6).load()


@irregular
def test_a_run_s_own_files_are_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, message = IRREGULAR[kind]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    place(tmp_path / "it")
    for name in ("checkpoints/best.safetensors", "checkpoints/last.safetensors",
                 "summary.json", "config.yaml", "metrics.jsonl", "evaluation.json"):  # fmt: skip
        (tmp_path / "run" / name).symlink_to(tmp_path / "it")
    with in_time():
        with pytest.raises(UserError, match=message):
            checkpoint.load(tmp_path / "run" / "checkpoints" / "best.safetensors")
        assert RunFolder(tmp_path / "run").known_summary() == Summary()
        for words in (["sample", f"run={tmp_path / 'run'}"], ["train", f"resume={tmp_path / 'run'}"],
                      ["train", f"repeat={tmp_path / 'run/config.yaml'}"]):  # fmt: skip
            with pytest.raises(SystemExit):
                run_command(monkeypatch, *words)
        run_command(monkeypatch, "runs", f"path={tmp_path}")


@pytest.mark.parametrize("kind", ["pipe", "link to /dev/zero"])
def test_commands_on_a_run_whose_data_are_no_file(
    kind: str, table_state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that need no data go without their names and range, the others say what is wrong."""
    folder = run_on(tmp_path / "x.csv", table_state, tmp_path / "run")
    IRREGULAR[kind][0](tmp_path / "x.csv")
    for command in COMMANDS:
        with in_time(), suppress(SystemExit):
            where = f"dataset.path={tmp_path / 'x.csv'}"  # a run that was not trained here reads what is named
            run_command(monkeypatch, *command.split(), f"run={folder}", "device=cpu", where)
        printed = capsys.readouterr()
        assert "wrote" in printed.out or IRREGULAR[kind][1] in printed.err, command


# --- memory


def limited(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(memory, "available", lambda: n)


@contextmanager
def address_space(more: int) -> Any:
    """Within it this process cannot take more than so many bytes beside what it has."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused_within(megabytes: int, path: Path, **options: Any) -> str:
    """What is said of a file; MemoryError where that takes more than so much."""
    with address_space(megabytes * 10**6), pytest.raises(UserError) as error:
        Arrays(str(path), **options).load()
    return str(error.value)


def test_a_long_label_is_held_once(tmp_path: Path) -> None:
    """A file of 110 kB, which as an array of NumPy's own texts takes 2 GB."""
    lines = [f"{i % 7},{'b' * (90_000 if i == 3 else 1)}" for i in range(5000)]
    (tmp_path / "x.csv").write_text("\n".join(["a,kind", *lines]))
    said = refused_within(700, tmp_path / "x.csv")
    assert "column kind: holds a text of 90,000 characters, too long for a label (at most 1,000); name other" in said
    splits = Arrays(str(tmp_path / "x.csv"), labels=False, columns=["a"]).load()
    assert splits.train.y is None
    (tmp_path / "x.csv").write_text("\n".join(["a,kind", *(line[:900] for line in lines)]))
    assert Arrays(str(tmp_path / "x.csv")).load().train.y is not None


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_text_in_parquet_is_held_once(store_schema: bool, tmp_path: Path) -> None:
    """A file of a few kB, which decoded takes 9 GB."""
    n, texts = 900_000, ["x" * 10_000]
    kind = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), texts)
    table = pa.table({"a": np.arange(n) % 7, "kind": kind})
    parquet.write_table(table, tmp_path / "x.parquet", compression="zstd", store_schema=store_schema)
    assert (tmp_path / "x.parquet").stat().st_size < 60_000
    assert "a text of 10,000 characters, too long" in refused_within(700, tmp_path / "x.parquet")
    assert "not all numbers, but 'xxx" in refused_within(700, tmp_path / "x.parquet", labels=False)


def test_lists_in_parquet_are_not_read(tmp_path: Path) -> None:
    """A file of a few kB with 600 million numbers in lists; one is no number, so nothing is lost."""
    n, each = 20, 3_000_000
    lists = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * each, pa.array(np.zeros(n * each, np.int8)))
    nested = pa.StructArray.from_arrays([pa.array(np.arange(n))], ["b"])
    table = pa.table({"a": np.arange(n) % 7, "l": lists, "s": nested})
    parquet.write_table(table, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 60_000
    del lists, table
    said = refused_within(50, tmp_path / "x.parquet")
    assert "columns l, s: not numbers, but lists or the like; leave them out ('dataset.leave_out=[l,s]')" in said
    assert "columns l, s: not" in refused_within(50, tmp_path / "x.parquet", labels="l")
    assert Arrays(str(tmp_path / "x.parquet"), columns=["a"]).load().train.x_shape == (1,)


@pytest.mark.parametrize(
    ("name", "needed"), [("x.npy", "90 kB"), ("b.npy", "30 kB"), ("x.npz", "80 kB"), ("x.parquet", "2"), ("x.csv", "4")]
)
def test_copies_are_counted(name: str, needed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 becomes float32, in all and once more in the parts; a cell of a table is a character or less."""
    x = np.random.default_rng(0).integers(0, 9, (1000, 10)).astype(np.int8)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "b.npy", x.astype(np.uint8))
    np.savez(tmp_path / "x.npz", x=x)
    parquet.write_table(pa.table({f"c{i}": x[:, i] for i in range(10)}), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(str, row)) for row in x.tolist()))
    limited(monkeypatch, 29_000)
    with pytest.raises(UserError, match=rf"would take {needed}.* of memory, and 29 kB are free: save it as float32"):
        Arrays(str(tmp_path / name)).load()


def test_threads_share_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of 30x20 pixels at a time where there is room for two, none where there is room for none."""
    for i in range(12):
        Image.fromarray(PIXELS).save(tmp_path / f"{i}.png")
    one, running, most = images.BYTES_PER_PIXEL * (600 + 64), 0, 0
    lock, flat = threading.Lock(), images.flat

    def counting(image: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return flat(image)

    monkeypatch.setattr(images, "flat", counting)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    limited(monkeypatch, int(2.5 * one))
    assert len(Images(str(tmp_path), size=8).load().train) == 10
    assert most == 2
    limited(monkeypatch, 12_000)
    with pytest.raises(UserError, match=r"an image of 30x20 pixels would take 18\.6 kB of memory, and 9\.7 kB are fr"):
        Images(str(tmp_path), size=8).load()
    with pytest.raises(UserError, match=r"an image of 30x20 pixels would take"):
        Images(str(tmp_path)).load()


def test_a_room_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 100)
    room = MemoryBudget(reserved=40)
    with suppress(ValueError), room.taken(60, "it", "less"):
        assert room.free == 0
        raise ValueError
    assert room.free == room.most == 60
    with pytest.raises(UserError, match="it would take 61 bytes of memory, and 60 bytes are free: less"), \
            room.taken(61, "it", "less"):  # fmt: skip
        pass


LARGE = ("architecture=conv", "architecture.channels=[8,8,8,8,8,8,8,8,8,8,8,8]", "architecture.hidden=8")


def test_convolutions_are_measured_before_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of some kB, whose weights fit images of any size: 4096x4096 pixels here."""
    folder = write_run(tmp_path / "run", {**make(*LARGE), "x_shape": [1, 4096, 4096]})
    assert (folder / "checkpoints" / "best.safetensors").stat().st_size < 400_000
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1, 1, 4096, 4096), np.uint8))
    limited(monkeypatch, 10**9)
    given = f"input={tmp_path / 'x.npz'}"
    for words in (["sample", "n=9"], ["reconstruct", given], ["export", "format=torch", "part=encoder"]):
        with address_space(900 * 10**6), pytest.raises(SystemExit):
            run_command(monkeypatch, *words, f"run={folder}")
        printed = capsys.readouterr().err
        assert "of memory, and 1 GB are free: ask for fewer" in printed, (words, printed)


def test_a_step_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("dataset=digits", "dataset.limit=1000", "batch_size=1000", "samples=3000", f"output={tmp_path / 'run'}")
    limited(monkeypatch, 10**9)
    done = called("train", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert "decoding 3,000,000 observations at once would take" in done.stderr
    assert not (tmp_path / "run").exists()


def test_large_observations_go_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pass takes stays below 2 GB, and the figures are those of larger parts."""
    state = make(*LARGE)
    small, large = (load_run(str(write_run(tmp_path / str(n), state)), device="cpu") for n in range(2))
    rows = []
    for run, most in ((small, 1), (large, 10**6)):
        monkeypatch.setattr(run.model, "rows_at_once", lambda most=most: most)
    monkeypatch.setattr(small.model, "check_batch_fits", lambda encoded=0, decoded=0: rows.append(encoded + decoded))
    x = large.dataset.load().test.batch(slice(0, 2))
    split = large.dataset.load().test.head(2)
    assert torch.allclose(encode(small.model, split).loc, encode(large.model, split).loc, atol=1e-6)
    assert mean_squared_error(small.model, split) == pytest.approx(mean_squared_error(large.model, split))
    z = torch.randn(4, 2)
    with torch.no_grad():
        assert torch.allclose(decode_all(small.model, z), decode_all(large.model, z), atol=1e-6)
        one, other = (reconstruct(run, x).terms for run in (small, large))
    assert set(rows) == {1}
    assert torch.allclose(one["elbo"], other["elbo"], atol=0.5)
    assert load_run(str(write_run(tmp_path / "2", state)), device="cpu").model.rows_at_once() > 10**5


@pytest.mark.parametrize("n", [10**9, 10**12])
def test_more_samples_than_fit_are_refused(
    n: int, digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limited(monkeypatch, 10**9)
    for kind in ("png", "npz"):
        with pytest.raises(SystemExit):
            run_command(monkeypatch, "sample", f"run={digits_run}", f"n={n}", f"format={kind}", f"output={tmp_path}/x")
        assert f"n={n} would take" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- what is free in a container

GROUPS = {
    "version 2": ("0::/a/b\n", {"a/memory.max": "5000", "a/memory.current": "4000", "a/b/memory.max": "max",
                                "a/b/memory.current": "3000",
                                "a/memory.stat": "anon 9\ninactive_file 700\nactive_file 300\nshmem 1\n"}, 2000),
    "version 1": ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "6000",
                                          "memory/a/memory.usage_in_bytes": "5000",
                                          "memory/a/memory.stat": "inactive_file 9\ntotal_inactive_file 500\n"}, 1500),
    "in a container": ("0::/\n", {"memory.max": "5000", "memory.current": "1000"}, 4000),
    "named from outside": ("9:cpu,memory:/docker/3f\n", {"memory/memory.limit_in_bytes": "5000",
                                                         "memory/memory.usage_in_bytes": "2000"}, 3000),
    "the tightest": ("0::/a\n", {"a/memory.max": "5000", "a/memory.current": "1000", "memory.max": "4500",
                                 "memory.current": "4400"}, 100),
    "over its limit": ("0::/\n", {"memory.max": "500", "memory.current": "600"}, 0),
    "no limit": ("0::/a\n", {"a/memory.max": "max", "a/memory.current": "1000"}, 8192),
    "the machine is fuller": ("0::/a\n", {"a/memory.max": "99999", "a/memory.current": "0"}, 8192),
    "none": ("", {}, 8192),
    "nonsense": ("x\n0:/\n", {"memory.max": "many"}, 8192),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_the_limit_of_a_container_counts(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups, files, expected = GROUPS[kind]
    files = {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable:          8 kB\n", "proc/self/cgroup": groups,
             **{f"sys/{name}": text for name, text in files.items()}}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "sys")
    assert available() == expected


def test_this_machine_has_memory() -> None:
    room = available()
    assert room is None or 2**20 < room < 2**50
    assert torch.zeros(1).isfinite().all()


# --- damaged at random

FLIPS = (flip, flip_at_an_end, splice, cut, repeat, drop)


def whole_files(folder: Path) -> list[Path]:
    """One of each kind that is read."""
    for kind in images.FORMATS:
        Image.fromarray(PIXELS).save(folder / f"x.{kind.lower()}", kind)
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x, y=np.array(["a", "b", "c"] * 10))
    (folder / "x.csv").write_text("\n".join(["a,b,c,d,kind", *(",".join(map(str, [*row, "v"])) for row in x)]))
    columns = {"a": x[:, 0], "b": np.arange(30), "kind": ["u", "v", None] * 10}
    parquet.write_table(pa.table(columns), folder / "x.parquet", compression="zstd")
    return sorted(folder.iterdir())


def mutate_data(folder: Path, n: int) -> Counter[str]:
    """n damaged files: each ends in one line, or in numbers, in seconds and without much memory."""
    whole, counts = whole_files(folder), Counter[str]()
    contents = {path.name: path.read_bytes() for path in whole}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(n):
        rng, path = random.Random(seed), whole[seed % len(whole)]
        path.write_bytes(FLIPS[seed // len(whole) % len(FLIPS)](contents[path.name], rng, contents["x.png"]))
        with in_time():
            counts[attempt(path)] += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    return counts


def attempt(path: Path) -> str:
    try:
        if path.suffix in READERS:
            Arrays(str(path)).load()
        else:
            assert read_image(path, "rgb").ndim == 3
    except UserError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  (a message or numbers)
        return "refused in a message"
    except UNREADABLE:
        return "refused in a message"
    return "read"


def test_a_sample_of_damaged_data(tmp_path: Path) -> None:
    counts = mutate_data(tmp_path, 150)
    assert counts["read"] > 10
    assert counts["refused in a message"] > 50


@pytest.mark.faults
def test_damaged_data(tmp_path: Path, measured: Callable[[str], None]) -> None:
    counts = mutate_data(tmp_path, 3000)
    measured("3000 damaged images, arrays and tables: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))


@pytest.mark.faults
def test_images_of_169_million_pixels(tmp_path: Path, measured: Callable[[str], None]) -> None:
    """Six in eight threads, with memory for one: less than that is taken."""
    Image.new("L", (13_000, 13_000)).save(tmp_path / "0.png")
    for i in range(1, 6):
        os.link(tmp_path / "0.png", tmp_path / f"{i}.png")
    code = (
        "import os, resource; from vaecli.utils import memory; from vaecli.datasets.images import Images;"
        "memory.available = lambda: 5 * 10**9; os.cpu_count = lambda: 8;"
        f"assert len(Images({str(tmp_path)!r}, size=8).load().train) == 4;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    measured(f"6 images of 13000x13000 pixels in 8 threads, with 5 GB: {int(done.stdout) / 1e6:.1f} GB")
    assert int(done.stdout) < 5e6  # kB
    assert not done.stderr
