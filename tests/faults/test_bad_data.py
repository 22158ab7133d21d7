"""Data that are missing, damaged or unfit: which file, what was expected, what was found, what to do."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torchvision
from support.configurations import composed
from support.making import prepare
from support.mnist_files import SOURCES, fake, write_idx

from vaecli.datasets.mnist import FILES, MNIST
from vaecli.datasets.split import Splits
from vaecli.utils.errors import UserError

IMAGES, LABELS = FILES[:2]
SMALL = ("dataset=digits", "architecture.hidden=[4]", "latent_dim=2", "device=cpu")


def refused(*overrides: str) -> str:
    """What `vae train` says of these settings before it has written anything."""
    with pytest.raises(UserError) as error:
        prepare(composed(*SMALL, *overrides))
    assert len(str(error.value).splitlines()) <= 2
    return str(error.value)


def change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(edit((folder / name).read_bytes()))


def as_folder(folder: Path) -> None:
    (folder / IMAGES).unlink()
    (folder / IMAGES).mkdir()


# how a file of 30 images (23,536 bytes) or labels (38 bytes) is damaged, and what the message must say
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no images file": (lambda f: (f / IMAGES).unlink(), "are not there and cannot be downloaded"),
    "no labels file": (lambda f: (f / LABELS).unlink(), f"{LABELS}.gz"),
    "a folder instead": (as_folder, "cannot be"),
    "empty": (change(IMAGES, lambda b: b""), f"{IMAGES} has 0 bytes, not even a header's 16"),
    "half a header": (change(LABELS, lambda b: b[:5]), f"{LABELS} has 5 bytes, not even a header's 8"),
    "a byte short": (change(IMAGES, lambda b: b[:-1]), f"{IMAGES} has 23,535 bytes, but its header announces 23,536"),
    "half": (change(IMAGES, lambda b: b[: len(b) // 2]), "has 11,768 bytes, but its header announces 23,536"),
    "a byte long": (change(LABELS, lambda b: b + b"0"), f"{LABELS} has 39 bytes, but its header announces 38"),
    "a page": (change(IMAGES, lambda b: b"<html>404 Not Found</html>"), "begins with the bytes 3c 68 74 6d, not with"),
    "still packed": (change(IMAGES, gzip.compress), "begins with the bytes 1f 8b"),
    "another type": (change(IMAGES, lambda b: b"\0\0\x0d" + b[3:]), "00 00 0d 03, not with 00 00 08 03"),
    "another rank": (lambda f: write_idx(f / LABELS, np.zeros((30, 1))), "00 00 08 02, not with 00 00 08 01"),
    "exchanged": (lambda f: write_idx(f / IMAGES, np.zeros(30)), "00 00 08 01, not with 00 00 08 03"),
    "huge claims": (change(IMAGES, lambda b: b[:4] + b"\xff" * 12 + b[16:]), "announces 79,228,162,458,924,105,"),
    "no rows": (lambda f: write_idx(f / IMAGES, np.zeros((0, 28, 28))), "images of shape (0, 28, 28), not (N, 28, 28)"),
    "another size": (lambda f: write_idx(f / IMAGES, np.zeros((30, 32, 32))), "images of shape (30, 32, 32)"),
    "fewer labels": (lambda f: write_idx(f / LABELS, np.zeros(29)), "holds 30 images, train-labels-idx1-ubyte 29"),
    "a label too high": (lambda f: write_idx(f / LABELS, np.full(30, 10)), "the label 10; they go from 0 to 9"),
    "test images": (change(FILES[2], lambda b: b[:-7]), f"{FILES[2]} has 7,849 bytes, but its header announces 7,856"),
    "constant": (lambda f: write_idx(f / IMAGES, np.full((30, 28, 28), 51)), "every value of the training data is 0.2"),
}  # fmt: skip


@pytest.mark.parametrize("dataset", SOURCES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_of_the_mnist_family(
    damage: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getattr(torchvision.datasets, SOURCES[dataset]), "mirrors", ["http://127.0.0.1:9/"])
    spoil, message = DAMAGE[damage]
    spoil(fake(tmp_path, SOURCES[dataset]))
    found = refused(f"dataset={dataset}", f"dataset.root={tmp_path}", "dataset.val_size=6")
    assert message in found
    if damage != "constant":
        assert str(tmp_path / SOURCES[dataset] / "raw") in found


@pytest.mark.parametrize("dataset", SOURCES)
def test_too_few_rows(dataset: str, tmp_path: Path) -> None:
    fake(tmp_path, SOURCES[dataset])
    found = refused(f"dataset={dataset}", f"dataset.root={tmp_path}", "dataset.val_size=30")
    assert "dataset.val_size=30: should be at most 29 (there are 30 to train on)" in found


# --- downloads


class Mirror(BaseHTTPRequestHandler):
    """Serves `files`; what `spoil` names comes cut, or with other contents, as often as it says."""

    files: dict[str, bytes]
    spoil: dict[str, list[str]]
    asked: list[str]

    def do_GET(self) -> None:
        name = self.path.strip("/")
        content, kinds = self.files[name], self.spoil.get(name, [])
        kind = kinds.pop(0) if kinds and self.command == "GET" else "whole"
        self.asked.append(name)
        if kind == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "other":
            content = b"x" * len(content)
        self.wfile.write(content[: len(content) // 2] if kind == "cut" else content)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of small files on this machine in the place of torchvision's."""
    folder = fake(tmp_path / "served", "MNIST")
    files = {f"{name}.gz": gzip.compress((folder / name).read_bytes()) for name in FILES}
    handler = type("Handler", (Mirror,), {"files": files, "spoil": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of the tests before
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for source in SOURCES.values():
        cls = getattr(torchvision.datasets, source)
        monkeypatch.setattr(cls, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        sums = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
        monkeypatch.setattr(cls, "resources", sums)
    yield handler
    server.shutdown()
    server.server_close()


def load(root: Path, source: Any = "MNIST") -> Splits:
    return MNIST(source, root=str(root), val_size=6).load()


@pytest.mark.parametrize("source", SOURCES.values())
def test_files_are_downloaded_once(source: str, mirror: Any, tmp_path: Path) -> None:
    assert len(load(tmp_path / "data", source).train) == 24
    asked = len(mirror.asked)
    assert asked >= 4
    load(tmp_path / "data", source)
    assert len(mirror.asked) == asked


@pytest.mark.parametrize("kind", ["cut", "other", "missing"])
@pytest.mark.parametrize("name", FILES)
def test_a_download_that_fails_is_made_again(kind: str, name: str, mirror: Any, tmp_path: Path) -> None:
    mirror.spoil[f"{name}.gz"] = [kind] * 2
    with pytest.raises(UserError, match=f"cannot be downloaded .{name}.gz"):
        load(tmp_path / "data")
    assert not (tmp_path / "data/MNIST/raw" / name).exists()
    mirror.spoil.clear()
    assert load(tmp_path / "data").sha256() == load(tmp_path / "served").sha256()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_partial_download_that_was_left_is_replaced(share: float, mirror: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data/MNIST/raw"
    folder.mkdir(parents=True)
    whole = mirror.files[f"{IMAGES}.gz"]
    (folder / f"{IMAGES}.gz").write_bytes(whole[: int(len(whole) * share)])
    assert load(tmp_path / "data").sha256() == load(tmp_path / "served").sha256()
    assert (folder / f"{IMAGES}.gz").read_bytes() == whole


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.5, 0.99])
def test_an_extraction_cut_short_is_made_again(share: float, mirror: Any, tmp_path: Path) -> None:
    load(tmp_path / "data")
    asked, path = len(mirror.asked), tmp_path / "data/MNIST/raw" / IMAGES
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    load(tmp_path / "data")
    assert path.read_bytes() == content
    assert len(mirror.asked) == asked  # from the packed file beside it


def test_an_interrupted_extraction_leaves_no_half(mirror: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tmp_path / "data")
    folder = tmp_path / "data/MNIST/raw"
    (folder / IMAGES).unlink()

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            load(tmp_path / "data")
    assert not (folder / IMAGES).exists()
    load(tmp_path / "data")


# --- digits and curves


def digits(rows: np.ndarray) -> bytes:
    """scikit-learn's file with other contents."""
    text = io.StringIO()
    np.savetxt(text, rows, "%g", delimiter=",")
    return gzip.compress(text.getvalue().encode())


GREY = np.c_[np.arange(1797 * 64, dtype=float).reshape(1797, 64) % 17, np.zeros(1797)]
NAN = np.where(GREY == 3, np.nan, GREY)
DIGITS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "cannot be read"),
    "cut": (digits(GREY)[:1000], "cannot be read"),
    "damaged": (digits(GREY)[:200] + b"vaecli" + digits(GREY)[206:], "cannot be read"),
    "no gzip": (b"0,1,2", "cannot be read"),
    "no numbers": (gzip.compress(b"zero,one"), "cannot be read"),
    "fewer columns": (digits(GREY[:, :60]), "cannot be read"),
    "fewer": (digits(GREY[:100]), "are not 1,797 images"),
    "NaN": (digits(NAN), "are not 1,797 images"),
    "infinite": (digits(GREY + np.inf), "are not 1,797 images"),
    "too bright": (digits(GREY * 2), "values from 0 to 16"),
    "constant": (digits(GREY * 0 + 4), "every value of the training data is 0.25"),
}


@pytest.mark.parametrize("damage", DIGITS)
def test_damaged_digits(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, message = DIGITS[damage]
    path = tmp_path / "datasets/data/digits.csv.gz"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    package = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("vaecli.datasets.digits.find_spec", lambda name: package)
    assert message in refused()


SETTINGS = [
    (("dataset.val_size=1497",), "dataset.val_size=1497: should be at most 1496 (there are 1497 to train on)"),
    (("dataset.limit=0",), "dataset.limit=0: should be greater than 0"),
    (("dataset=beta", "dataset.max_parameter=1e300", "decoder=gaussian_identity"), "are NaN or infinite, the first at"),
    (("dataset=beta", "decoder=bernoulli"), "scores values in [0, 1], but the data lie in [-"),
    (("dataset=beta", "dataset.space=pdf"), "use decoder=gaussian_identity, or experiment=beta_curves"),
    (("dataset=beta", "dataset.size=1000000000000"), "dataset.size=1000000000000 would take"),
    (("dataset=beta", "dataset.val_size=1000000000000"), "of memory, and"),
    (("dataset=beta", "dataset.points=100001"), "dataset.points=100001: should be less than or equal to 100000"),
    (("dataset=beta", "dataset.size=0"), "dataset.size=0: should be greater than 0"),
    (("dataset=beta", "dataset.max_parameter=inf"), "dataset.max_parameter=inf: should be"),
]


@pytest.mark.parametrize(("overrides", "message"), SETTINGS)
def test_unfit_data(overrides: tuple[str, ...], message: str) -> None:
    assert message in refused(*overrides)
