"""`vae explore` in a real browser; screenshots go to build/explore."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.browser import MODELS, SHOTS, WATCH, Browser, explored
from support.small_runs import vae

pytestmark = pytest.mark.browser
CIRCLE = [(0.5 + 0.25 * np.sin(t), 0.5 - 0.25 * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 120)]
SEVEN = [(0.3, 0.2), (0.7, 0.2), (0.65, 0.4), (0.5, 0.65), (0.45, 0.85)]
Opened = Callable[..., Browser]


def answers(page: Browser) -> int:
    return int(page.js("return window.vae?.answers ?? 0"))


def shown(page: Browser) -> str:
    """The data of the decoding."""
    return str(page.js("return JSON.stringify(Bokeh.documents[0].get_model_by_name('decoding').renderers[0].data_source"
                       ".data, (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value)"))  # fmt: skip


def choose(page: Browser, index: int) -> None:
    """Put the observation of an index in."""
    page.js(MODELS + "all('Spinner')[0].value = arguments[0];", index)
    page.says("ELBO")
    page.rest()


def contention() -> float:
    """How much longer two busy threads' worth of work takes here than its processor time: 1 on a quiet machine."""
    spin = ("import time; t = time.time(); c = time.process_time()\n"
            "while time.process_time() - c < 0.5: pass\nprint((time.time() - t) / 0.5)")  # fmt: skip
    both = [subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return max(float(one.communicate()[0]) for one in both)


def test_moving(folder: Path, opened: Opened, measured: Callable[[str], None]) -> None:
    """Drag, keys, a slider and a click each change the picture; on a quiet machine a drag is answered in time."""
    busy = contention()
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        seen = [shown(page)]
        page.js(WATCH)
        before = answers(page)
        page.drag("latent map", CIRCLE)
        assert answers(page) - before > 20
        times = sorted(page.js("return window.vae.times"))
        median, p95 = statistics.median(times), times[int(0.95 * len(times))]
        measured(f"explore: mouse to picture, median {median:.0f} ms, 95th percentile {p95:.0f} ms "
                 f"({len(times)} pictures, load {os.getloadavg()[0]:.1f}, contention {busy:.2f})")  # fmt: skip
        if busy < 1.1:
            assert median <= 50
            assert p95 <= 120
        page.drag("latent map", [(0.45, 0.5), (0.3, 0.6)])
        seen.append(shown(page))
        page.js("document.activeElement.blur(); for (let i = 0; i < 9; i++) document.body.dispatchEvent("
                "new KeyboardEvent("
                "'keydown', {key: 'ArrowRight', shiftKey: true, bubbles: true, composed: true}));")  # fmt: skip
        page.rest()
        seen.append(shown(page))
        page.js(MODELS + "all('Slider').find((s) => s.title == 'z_1').value = 2.5;")
        page.rest()
        seen.append(shown(page))
        page.press_choice("a draw")
        seen.append(shown(page))
        page.picture(SHOTS / "two.png")
        assert len(set(seen)) == len(seen)


def test_reach(folder: Path, opened: Opened, measured: Callable[[str], None]) -> None:
    """In a browser that is open already: axes, then all dots; in time on a quiet machine."""
    busy, page = contention(), opened("about:blank", ready=False)
    began = time.monotonic()
    with explored("run=two", "split=train", cwd=folder) as address:
        page.driver.get(address)
        axes = "return !!window.Bokeh?.documents?.[0]?.is_idle"
        dots = (
            MODELS + "return Bokeh.documents[0].get_model_by_name('latent map').renderers[0].data_source.get_length()"
        )
        page.wait(axes)
        with_axes = time.monotonic() - began
        page.wait(dots + " == 9000", 60)
        with_dots = time.monotonic() - began
        measured(f"explore: axes after {with_axes:.1f} s, 9,000 dots after {with_dots:.1f} s "
                 f"(load {os.getloadavg()[0]:.1f}, contention {busy:.2f})")  # fmt: skip
        assert with_axes < with_dots
        if busy < 1.1:
            assert with_axes <= 4
            assert with_dots <= 6


def test_memory_is_flat(folder: Path, opened: Opened, measured: Callable[[str], None]) -> None:
    """Over 10,000 moves, each answered, neither the server nor the page keeps what it showed."""
    turn = """const v = window.vae, done = arguments[1], last = v.answers + arguments[0]; let i = 0;
    const timer = setInterval(() => { if (v.answers >= last) { clearInterval(timer); done(true); return; }
      if (!v.busy) { i += 1; v.want({kind: "plane", x: Math.sin(i / 50), y: Math.cos(i / 70)}); } }, 0);"""
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        page.driver.set_script_timeout(100)
        used = []
        for thousands in (1, 10):
            for _ in range(thousands):
                page.driver.execute_async_script(turn, 1000)
            page.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            heap = page.driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"]
            used.append((resident(page), heap / 1e6))
        measured(f"explore: over 10,000 moves the server's memory went from {used[0][0]:.0f} to {used[1][0]:.0f} MB, "
                 f"the page's from {used[0][1]:.1f} to {used[1][1]:.1f} MB")  # fmt: skip
        assert used[1][0] < used[0][0] + 20
        assert used[1][1] < used[0][1] + 5


def resident(page: Browser) -> float:
    """MB of the server's memory: of the process that listens on the page's port."""
    port = int(page.driver.current_url.rstrip("/").rpartition(":")[2])
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = status.with_name("cmdline").read_bytes()
            if b"explore" in command and b"vaecli" in command and listens(status.parent, port):
                return int(status.read_text().split("VmRSS:")[1].split()[0]) / 1000
        except OSError:
            continue
    raise AssertionError(f"nothing listens on {port}")


def listens(process: Path, port: int) -> bool:
    """Whether a process has the socket that listens on a port of 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    inodes = {line.split()[9] for line in lines if line.split()[1] == f"0100007F:{port:04X}"}
    return any(target(fd) in {f"socket:[{inode}]" for inode in inodes} for fd in process.glob("fd/*"))


def target(link: Path) -> str:
    """What a link points to; nothing if it is gone meanwhile."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def test_putting_in(folder: Path, opened: Opened, tmp_path: Path) -> None:
    """A drawing, an index, a dot and a file are encoded; a file that does not fit is refused in a line."""
    np.save(tmp_path / "wrong.npy", np.zeros((3, 5), np.float32))
    np.save(tmp_path / "right.npy", np.zeros((2, 1, 28, 28), np.float32))
    (tmp_path / "text.txt").write_text("nothing\n")
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        page.drag("pad", SEVEN)
        page.says("drawn")
        page.says("ELBO")
        assert page.js(MODELS + "return all('Ellipse').length") > 0
        page.picture(SHOTS / "drawn.png")
        choose(page, 7)
        page.says("row 7")
        for name, said in (("wrong.npy", "wrong.npy"), ("right.npy", "the first of 2"), ("text.txt", "text.txt")):
            content = (tmp_path / name).read_bytes()
            page.js(MODELS + "all('FileInput')[0].setv({filename: arguments[0], value: arguments[1]});", name,
                    base64.b64encode(content).decode())  # fmt: skip
            page.says(said)
        assert "Traceback" not in page.text()
        page.picture(SHOTS / "file.png")
        x, y = page.js("const d = Bokeh.documents[0].get_model_by_name('latent map');"
                       "const s = d.renderers[0].data_source.data;"
                       "const share = (r, v) => (v - r.start) / (r.end - r.start);"
                       "return [share(d.x_range, s.x[12]), 1 - share(d.y_range, s.y[12])]")  # fmt: skip
        page.drag("latent map", [(x, y)])
        page.says("row 12")


def give(page: Browser, path: Path) -> None:
    """Choose a file as a reader does."""
    box = page.js("return Bokeh.index.query((v) => v.model.type == 'FileInput').next().value.el.shadowRoot"
                  ".querySelector('input')")  # fmt: skip
    box.send_keys(str(path))


def test_large_files(folder: Path, opened: Opened, tmp_path: Path, measured: Callable[[str], None]) -> None:
    """Up to 20 MB are encoded, again where the same file has changed; more are refused before they are read."""
    np.save(tmp_path / "one.npy", np.zeros((2, 1, 28, 28), np.float32))
    np.save(tmp_path / "many.npy", np.zeros((6_300, 1, 28, 28), np.float32))
    for name, size in (("a.npy", 21), ("a.csv", 120), ("a.png", 200)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * 10**6)
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        give(page, tmp_path / "one.npy")
        page.says("one.npy, the first of 2", 60)
        np.save(tmp_path / "one.npy", np.zeros((3, 1, 28, 28), np.float32))
        give(page, tmp_path / "one.npy")
        page.says("one.npy, the first of 3", 60)
        before, highest = resident(page), 0.0
        for name, size in (("a.npy", 21), ("a.csv", 120), ("a.png", 200)):
            give(page, tmp_path / name)
            page.says(f"This file has {size} MB; at most 20 can be uploaded", 60)
        refused = resident(page)
        page.whole(SHOTS / "large_file.png")
        (tmp_path / "empty.npy").touch()
        give(page, tmp_path / "empty.npy")
        page.says("This file is empty")
        give(page, tmp_path / "many.npy")
        end = time.monotonic() + 120
        while "many.npy, the first of 6,300" not in page.text():
            highest = max(highest, resident(page))
            assert time.monotonic() < end
        assert "can be uploaded." not in page.text()
        measured(f"explore: the server takes {before:.0f} MB, {refused:.0f} after three large files were refused, "
                 f"up to {highest:.0f} while 20 MB are encoded")  # fmt: skip
        assert refused < before + 20
        assert highest < 1000
        old = shown(page)
        page.drag("latent map", [(0.5, 0.5), (0.3, 0.3)])
        assert shown(page) != old


def test_without_a_private_name(folder: Path, opened: Opened) -> None:
    """A Bokeh without the one private method that the page calls: a drag works, and nothing is in the console."""
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        hover = "Bokeh.index.query((v) => v.model.type == 'HoverTool').next().value"
        page.js(f"Object.getPrototypeOf({hover})._move_exit = undefined;")
        old = shown(page)
        page.drag("latent map", [(0.5, 0.5), (0.3, 0.3)])
        assert shown(page) != old
        page.picture(SHOTS / "without_a_private_name.png")


def test_opened_again(folder: Path, opened: Opened) -> None:
    """A page that is loaded again, and one in a second browser, can be moved through as the first."""
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        page.driver.get(address)
        page.ready()
        for one in (page, opened(address, dark=True)):
            old = shown(one)
            one.drag("latent map", [(0.5, 0.5), (0.3, 0.3)])
            assert shown(one) != old
            one.seen += one.errors()


def test_select_and_train_again(folder: Path, opened: Opened) -> None:
    """A lasso's rows become a file, which training leaves out, and which the commands that the page names read."""
    with explored("run=two", "split=train", "n=3000", cwd=folder) as address:
        page = opened(address)
        page.js(MODELS + "all('LassoSelectTool')[0].active = true;")
        page.drag("latent map", [(0.3, 0.3), (0.6, 0.3), (0.6, 0.6), (0.3, 0.6), (0.3, 0.3)])
        page.says("the mean of the rest")
        page.press("save the row numbers")
        page.says("dataset.without_rows")
        page.picture(SHOTS / "selected.png")
        lines = page.codes()
    rows = (folder / "two" / "selection-1.rows").read_text().splitlines()[1:]
    assert len(rows) > 10
    out = run_line(folder, next(line for line in lines if "without_rows" in line), "epochs=1", "output=clean")
    assert f"{9000 - len(rows):,} to train" in out
    assert f"{len(rows):,} rows" in run_line(folder, next(line for line in lines if "reconstruct" in line), "n=2")


def run_line(folder: Path, line: str, *more: str) -> str:
    """What a command line that a page shows prints."""
    program, *words = shlex.split(line)
    return vae(folder, *(["train"] if program == "vae-train" else []), *words, *more)


def test_path_and_two_runs(folder: Path, opened: Opened) -> None:
    """A path between two observations has a strip, which the mouse scrubs, and a command line; runs side by side."""
    with explored("run=[two,twenty]", cwd=folder) as address:
        page = opened(address)
        choose(page, 3)
        page.press("start here")
        choose(page, 8)
        page.press("end here")
        page.says("vae interpolate")
        line = next(line for line in page.codes() if "interpolate" in line)
        before = shown(page)
        page.drag("strip", [(0.3, 0.5), (0.6, 0.5)])
        assert shown(page) != before
        assert 0.4 < page.js("return Bokeh.documents[0].get_model_by_name('scrub').value") < 0.8
        page.wait("return true")
        assert page.text().count("how much this observation tells the code") == 2
        page.whole(SHOTS / "path_and_runs.png")
    assert "from=3" in line
    assert "interpolation.png" in run_line(folder, line)


def test_taking_away(folder: Path, opened: Opened, tmp_path: Path) -> None:
    """The files have what the page shows, and the command lines make the same."""
    with explored("run=two", cwd=folder) as address:
        page = opened(address)
        page.drag("latent map", [(0.4, 0.4)])
        page.press("latents.npy")
        z = np.load(page.downloaded("latents.npy"))
        page.says("vae sample")
        line = next(line for line in page.codes() if "sample" in line)
        page.press("decoding.png")
        with Image.open(page.downloaded("decoding.png")) as picture:
            pixels = np.asarray(picture.convert("L"))[4::8, 4::8]
        shutil.copy(page.downloads / "latents.npy", folder / "latents.npy")
    assert z.shape == (1, 2)
    run_line(folder, line, "format=npz", f"output={tmp_path}/again.npz")
    np.testing.assert_allclose(np.load(tmp_path / "again.npz")["x"][0, 0] * 255, pixels, atol=1)
    with explored("run=table", cwd=folder) as address:
        page = opened(address)
        page.press("decoding.csv")
        assert page.downloaded("decoding.csv").read_text().startswith("age,")


@pytest.mark.parametrize("run", ["twenty", "table", "curves", "colour"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_kind(run: str, width: int, folder: Path, opened: Opened) -> None:
    """Data of each kind, with a path, in a wide and in a narrow window; names are texts."""
    with explored(f"run={run}", cwd=folder) as address:
        page = opened(address, width)
        choose(page, 5)
        page.press("start here")
        page.drag("latent map", [(0.5, 0.5), (0.4, 0.4)])
        page.press("end here")
        choose(page, 6)
        assert "this did not work" not in page.text()
        assert run != "table" or "$$c$$" in page.text()  # not typeset as a formula
        page.whole(SHOTS / f"{run}_{width}.png")
        assert page.js("return document.documentElement.scrollWidth <= window.innerWidth + 1")


@pytest.mark.parametrize("run", ["two", "table"])
def test_dark(run: str, folder: Path, opened: Opened) -> None:
    """In dark mode, ground and axes are of the dark colours."""
    with explored(f"run={run}", cwd=folder) as address:
        page = opened(address, dark=True)
        choose(page, 5)
        assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
        assert (
            page.js("return getComputedStyle(document.body).getPropertyValue('--bk-major-label-text-color')")
            == "#e6e6e6"
        )
        page.drag("latent map", [(0.5, 0.5), (0.4, 0.4)])
        page.whole(SHOTS / f"{run}_dark.png")


@pytest.mark.parametrize("run", ["two", "twenty", "table", "curves", "colour"])
def test_file_without_network(run: str, folder: Path, opened: Opened) -> None:
    """The page in a file decodes under the mouse."""
    vae(folder, "explore", f"run={run}", f"output={run}.html")
    page = opened((folder / f"{run}.html").as_uri(), height=800, offline=True)
    source = "return JSON.stringify(Bokeh.documents[0].get_model_by_name('point').renderers[0].data_source.data)"
    before = page.js(source)
    page.drag("map", [(0.5, 0.5), (0.3, 0.3)])
    assert page.js(source) != before
    page.picture(SHOTS / f"file_{run}.png")


def test_run_that_is_overwritten(folder: Path, opened: Opened) -> None:
    """The page goes on with the model that it has, and says so."""
    shutil.copytree(folder / "two", folder / "copy")
    with explored("run=copy", cwd=folder) as address:
        page = opened(address)
        vae(folder, "train", "latent_dim=5", "epochs=1", "images.every_epochs=9", "output=other")
        shutil.copytree(folder / "other", folder / "copy", dirs_exist_ok=True)
        page.says("written again")
        before = shown(page)
        page.drag("latent map", [(0.4, 0.4)])
        assert shown(page) != before
        shutil.rmtree(folder / "copy")
        page.says("is gone: this page keeps the model")
        dots = "Bokeh.documents[0].get_model_by_name('latent map').renderers[0].data_source"
        page.js(f"{dots}.selected.indices = [1, 2];")
        page.press("save the row numbers")
        page.says("there is no folder to write")
        page.press("latents.npy")
        assert np.load(page.downloaded("latents.npy")).shape == (1, 2)
