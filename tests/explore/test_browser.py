"""`vae explore` in a real browser; screenshots go to build/explore."""

from __future__ import annotations

import base64
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.browser import MODELS, Browser, explored
from support.small_runs import vae

pytestmark = pytest.mark.browser
SHOTS = Path(__file__).parents[2] / "build" / "explore"
CIRCLE = [(0.5 + 0.25 * np.sin(t), 0.5 - 0.25 * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 120)]
SEVEN = [(0.3, 0.2), (0.7, 0.2), (0.65, 0.4), (0.5, 0.65), (0.45, 0.85)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs on images of digits, on a table and on curves."""
    here = tmp_path_factory.mktemp("explore")
    vae(here, "train", "latent_dim=2", "epochs=3", "images.every_epochs=9", "output=two")
    vae(here, "train", "latent_dim=20", "epochs=2", "images.every_epochs=9", "output=twenty")
    rng = np.random.default_rng(0)
    t, k = rng.normal(size=400), rng.integers(0, 3, 400)
    rows = [[f"{40 + 10 * t[i] + 5 * k[i]:.1f}", "" if i % 9 == 0 else f"{t[i]:.2f}",
             ["<script>alert(1)</script>", "b" * 900, "c"][k[i]]] for i in range(400)]  # fmt: skip
    with (here / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["age", "<script>alert(2)</script>", "label"], *rows])
    vae(here, "train", "dataset=arrays", "dataset.path=x.csv", "latent_dim=3", "architecture.hidden=[32]", "epochs=40",
        "images.every_epochs=99", "output=table")  # fmt: skip
    vae(here, "train", "experiment=beta_curves", "latent_dim=2", "epochs=2", "images.every_epochs=9", "output=curves")
    np.save(here / "colour.npy", rng.random((200, 12, 10, 3)).astype(np.float32))
    vae(here, "train", "dataset=arrays", "dataset.path=colour.npy", "latent_dim=1", "architecture.hidden=[32]",
        "epochs=2", "images.every_epochs=9", "output=colour")  # fmt: skip
    return here


@pytest.fixture
def opened() -> Iterator[Callable[..., Browser]]:
    """Opens browsers, which are closed at the end, without an error in the console."""
    several: list[Browser] = []

    def open_one(*args: object, **settings: object) -> Browser:
        several.append(Browser(*args, **settings))  # type: ignore[arg-type]
        return several[-1]

    yield open_one
    errors = [error for one in several for error in one.seen]
    for one in several:
        one.close()
    assert not errors


def answers(page: Browser) -> int:
    return int(page.js("return window.vae?.answers ?? 0"))


def image(page: Browser) -> list[int]:
    """The pixels of the decoding."""
    return list(page.js("return Array.from(Bokeh.documents[0].get_model_by_name('decoding').renderers[0].data_source"
                        ".data.image[0]);"))  # fmt: skip


def test_moving(folder: Path, opened: Callable[..., Browser], measured: Callable[[str], None]) -> None:
    """Drag, keys, a slider and a click each change the picture; a drag is answered in time."""
    began = time.monotonic()
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        measured(f"explore: the page was there after {time.monotonic() - began:.1f} s, the browser's start included")
        seen = [image(page)]
        page.drag("latent map", CIRCLE)
        assert answers(page) > 10
        times = sorted(page.js("return window.vae.times"))
        p95 = times[int(0.95 * len(times))]
        measured(f"explore: mouse to picture, median {statistics.median(times):.0f} ms, 95th percentile {p95:.0f} ms")
        page.drag("latent map", [(0.45, 0.5), (0.3, 0.6)])
        seen.append(image(page))
        page.js("document.activeElement.blur(); for (let i = 0; i < 9; i++) document.body.dispatchEvent("
                "new KeyboardEvent("
                "'keydown', {key: 'ArrowRight', shiftKey: true, bubbles: true, composed: true}));")  # fmt: skip
        time.sleep(0.5)
        seen.append(image(page))
        page.js(MODELS + "all('Slider')[0].value = 2.5;")
        time.sleep(0.5)
        seen.append(image(page))
        page.picture(SHOTS / "two.png")
        assert len({tuple(pixels) for pixels in seen}) == len(seen)


def test_putting_in(folder: Path, opened: Callable[..., Browser], tmp_path: Path) -> None:
    """A drawing, an index and a file are encoded; a file that does not fit is refused in a line."""
    np.save(tmp_path / "wrong.npy", np.zeros((3, 5), np.float32))
    np.save(tmp_path / "right.npy", np.zeros((2, 1, 28, 28), np.float32))
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        page.drag("pad", SEVEN)
        assert "drawn" in page.text()
        assert "ELBO" in page.text()
        assert page.js(MODELS + "return all('Ellipse').length") > 0
        page.picture(SHOTS / "drawn.png")
        page.js(MODELS + "all('Spinner')[0].value = 7;")
        time.sleep(0.5)
        assert "row 7" in page.text()
        for name, said in (("wrong.npy", "wrong.npy"), ("right.npy", "the first of 2")):
            content = (tmp_path / name).read_bytes()
            page.js(MODELS + "all('FileInput')[0].setv({filename: arguments[0], value: arguments[1]});", name,
                    base64.b64encode(content).decode())  # fmt: skip
            time.sleep(0.7)
            assert said in page.text()
        assert "Traceback" not in page.text()
        page.picture(SHOTS / "file.png")


def test_select_and_train_again(folder: Path, opened: Callable[..., Browser]) -> None:
    """A lasso's rows become a file, which training leaves out, and which reconstruct reads."""
    with explored("run=two", "split=train", "n=3000", cwd=folder) as address:
        page = opened(address)
        page.js(MODELS + "all('LassoSelectTool')[0].active = true;")
        page.drag("latent map", [(0.3, 0.3), (0.6, 0.3), (0.6, 0.6), (0.3, 0.6), (0.3, 0.3)])
        page.press("save the row numbers")
        time.sleep(1)
        assert "dataset.without_rows" in page.text()
        page.picture(SHOTS / "selected.png")
    rows = (folder / "two" / "selection-1.rows").read_text().splitlines()[1:]
    assert len(rows) > 10
    out = vae(folder, "train", "repeat=two", "dataset.without_rows=two/selection-1.rows", "epochs=1", "output=clean")
    assert f"{9000 - len(rows):,} to train" in out
    assert f"{len(rows):,} rows" in vae(folder, "reconstruct", "run=two", "rows=two/selection-1.rows", "n=2")


def test_path_and_two_runs(folder: Path, opened: Callable[..., Browser]) -> None:
    with explored("run=[two,twenty]", cwd=folder) as address:
        page = opened(address)
        page.press("start here")
        page.drag("latent map", [(0.5, 0.5), (0.3, 0.3)])
        page.press("end here")
        before = image(page)
        page.js("Bokeh.documents[0].get_model_by_name('scrub').value = 0.1;")
        time.sleep(0.5)
        assert image(page) != before
        page.js(MODELS + "all('Spinner')[0].value = 3;")
        time.sleep(1)
        assert page.text().count("how much this observation tells the code") == 2
        page.picture(SHOTS / "path_and_runs.png")


@pytest.mark.parametrize("run", ["twenty", "table", "curves", "colour"])
@pytest.mark.parametrize("width", [1280, 420])
def test_every_kind(run: str, width: int, folder: Path, opened: Callable[..., Browser]) -> None:
    """Data of each kind, in a wide and in a narrow window; names are texts."""
    with explored(f"run={run}", cwd=folder) as address:
        page = opened(address, width)
        page.drag("latent map", [(0.5, 0.5), (0.4, 0.4)])
        page.js(MODELS + "all('Spinner')[0].value = 5;")
        time.sleep(1)
        assert "ELBO" in page.text()
        assert "this did not work" not in page.text()
        page.picture(SHOTS / f"{run}_{width}.png")
        assert page.js("return document.documentElement.scrollWidth <= window.innerWidth + 1")


@pytest.mark.parametrize("run", ["two", "twenty", "table", "curves", "colour"])
def test_file_without_network(run: str, folder: Path, opened: Callable[..., Browser]) -> None:
    """The page in a file decodes under the mouse."""
    vae(folder, "explore", f"run={run}", f"output={run}.html")
    page = opened((folder / f"{run}.html").as_uri(), offline=True)
    source = "return JSON.stringify(Bokeh.documents[0].get_model_by_name('point').renderers[0].data_source.data)"
    before = page.js(source)
    page.drag("map", [(0.5, 0.5), (0.3, 0.3)])
    assert page.js(source) != before
    page.picture(SHOTS / f"file_{run}.png")
