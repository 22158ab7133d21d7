"""Pages of unusual runs, put together without a browser: each works, or says in a line what to do."""

from __future__ import annotations

import csv
import shutil
import socket
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div
from support.command_line import forked
from support.small_runs import SMALL, TABLE, vae

from vaecli.commands._explore_cards import fill_page
from vaecli.commands._explore_map import Overview
from vaecli.commands._explore_page import Page
from vaecli.commands._explore_serve import browse, open_server
from vaecli.commands._explored import Explored
from vaecli.models.load import load_run
from vaecli.plots.explore.frame import Frame
from vaecli.utils.errors import UserError
from vaecli.utils.types import Part


class Made:
    """A page of a run, as a browser would get it."""

    def __init__(self, run: Path, monkeypatch: pytest.MonkeyPatch, part: Part = "test", n: int = 10_000) -> None:
        pages: list[Page] = []
        start = Page.start
        monkeypatch.setattr(Page, "start", lambda page, *args: (pages.append(page), start(page, *args))[1])
        self.document, frame = Document(), Frame("a run")
        frame.open(self.document)
        self.explored = Explored(load_run(str(run), device="cpu"), part, n, 0)
        fill_page(self.document, frame, Overview(self.explored, frame), [])
        (self.page,) = pages
        self.page.show()
        self.document.to_json()

    @property
    def text(self) -> str:
        return " ".join(div.text for div in self.document.select({"type": Div}))

    def ask(self, kind: str, x: float, y: float) -> dict[str, Any]:
        """The answer to a question of the browser."""
        self.page.ask.data = {"n": [1], "kind": [kind], "x": [x], "y": [y]}
        assert not self.page.message.text
        return dict(self.page.answer.data)


def write(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def numbers(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def trained(folder: Path, *words: str) -> Path:
    vae(folder, "train", *SMALL, *words)
    return folder / "run"


@pytest.mark.parametrize("d", [1, 200])
def test_few_and_many_latents(d: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One latent has a map too; of 200, ten have sliders, and the others share one."""
    made = Made(trained(tmp_path, "dataset=digits", f"latent_dim={d}"), monkeypatch)
    assert len(made.page.sliders) == min(d, made.explored.active, 10)
    assert len(made.page.sliders) + len(made.page.rest) == d
    answer = made.ask("plane", 0.5, 0.25)
    np.testing.assert_allclose([answer["x"][0], answer["y"][0]], [0.5, 0.25])
    assert len(answer["z"][0]) == d
    made.page.overview.prior.active = True
    assert not made.page.message.text


def test_one_latent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dot is as high as its KL; q(z|x) is an interval there, and the prior's contours are ends of intervals."""
    made = Made(trained(tmp_path, "dataset=digits", "latent_dim=1"), monkeypatch)
    page, over = made.page, made.page.overview
    np.testing.assert_allclose(over.map.dots.data["y"], made.explored.terms["kl"], rtol=1e-5)
    assert over.axis_titles()[1] == "KL of the observation in nats"
    page.encode_and_reply(*page.chosen(3))
    assert page.found is not None
    assert page.found.covariance is not None
    interval = over.map.ellipse.data
    np.testing.assert_allclose(interval["width"][0], 4 * np.sqrt(page.found.covariance[0, 0]))
    np.testing.assert_allclose([interval["y"][0], page.answer.data["y"][0]], page.found.kl)
    assert interval["height"][0] < 0.01
    over.prior.active = True
    ends = sorted(line[0] for line in over.map.prior.data["xs"])
    np.testing.assert_allclose(ends, [-2.576, -1.645, -0.674, 0.674, 1.645, 2.576], atol=0.12)


def labelled(tmp_path: Path, labels: list[str]) -> Path:
    rows = [
        [f"{a:.3f}", "" if i % 5 == 0 else f"{b:.3f}", labels[i]] for i, (a, b) in enumerate(numbers(len(labels), 2))
    ]
    write(tmp_path / "x.csv", ["a", "b", "label"], rows)
    return trained(tmp_path, *TABLE[:1], "dataset.path=x.csv")


def test_gaps_and_300_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many classes are coloured like numbers, from the first to the last; gaps do not show as NaN."""
    made = Made(labelled(tmp_path, [f"class {i % 300}" for i in range(900)]), monkeypatch, "train")
    assert "class 0" in made.page.overview.legend.text
    assert "class=ramp" in made.page.overview.legend.text
    made.page.encode_and_reply(*made.page.chosen(0))
    assert "ELBO" in made.text
    assert np.isfinite(made.page.answer.data["shown_x"][0]).all()


def test_labels_that_are_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(labelled(tmp_path, [f"{v:.4f}" for v in numbers(300, 1)[:, 0]]), monkeypatch)
    values, names = made.explored.labels
    assert names is None
    assert values.std() > 0.1
    assert "class=ramp" in made.page.overview.legend.text


def test_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dots are coloured by a column; nothing is said about labels."""
    write(tmp_path / "x.csv", ["a", "b"], [[f"{a:.3f}", f"{b:.3f}"] for a, b in numbers(200, 2)])
    made = Made(trained(tmp_path, *TABLE[:1], "dataset.path=x.csv"), monkeypatch)
    assert list(made.explored.colourings) == ["a", "b", "ELBO", "KL"]
    assert made.page.map.label.args["names"] == [""]
    assert not made.page.map.dots.data["label"].any()


def test_data_that_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is of draws from the prior; they can be moved among, and a file can still be encoded."""
    path = write(tmp_path / "x.csv", ["a", "b"], [[f"{a:.3f}", f"{b:.3f}"] for a, b in numbers(200, 2)])
    run = trained(tmp_path, *TABLE[:1], "dataset.path=x.csv")
    path.unlink()
    made = Made(run, monkeypatch)
    assert "draws from the prior" in made.text
    assert "Select" not in made.text
    made.ask("plane", 0.1, 0.2)
    made.ask("tap", 0.1, 0.2)


def test_a_question_that_fails_is_answered(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser waits for an answer; the error is a line on the page."""
    made = Made(digits_run, monkeypatch)
    monkeypatch.setattr(made.page, "moves", {"plane": lambda x, y: 1 / 0})
    before = made.page.answer.data["n"]
    made.page.ask.data = {"n": [1], "kind": ["plane"], "x": [0.0], "y": [0.0]}
    assert made.page.answer.data["n"] != before
    assert "ZeroDivisionError" in made.page.message.text


def test_one_answer_is_one_message(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move changes a single property of a single model."""
    made, events = Made(digits_run, monkeypatch), []
    made.document.on_change(events.append)
    made.ask("plane", 0.3, 0.3)
    changed = {event.model.id for event in events if event.model is not made.page.ask}
    assert changed == {made.page.answer.id}


def test_dots_are_sent_as_arrays(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of 10,000 texts would take a second."""
    data = Made(digits_run, monkeypatch).page.map.dots.data
    assert {key: str(values.dtype) for key, values in data.items()} == {
        "x": "float32", "y": "float32", "label": "float32", "row": "int32", "colour": "uint32",
    }  # fmt: skip


def test_page_without_data_has_a_source(digits_run: Path) -> None:
    """A frame, which is all that a reader sees at first, has axes and no dots."""
    document = Document()
    frame = Frame("a <b>run</b>", "loading")
    frame.open(document)
    assert document.title == "a <b>run</b>"
    assert frame.map.near(0.0, 0.0) is None
    assert isinstance(frame.map.dots, ColumnDataSource)


def test_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a missing browser nor one of the terminal is taken for one."""
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))
    assert not browse("http://127.0.0.1:1/")

    def none() -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    assert not browse("http://127.0.0.1:1/")


def test_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port={port}: is taken"):
            open_server(lambda document: None, port)


def test_checkpoint_that_is_damaged(digits_run: Path, tmp_path: Path) -> None:
    """The server, which is there before the run is loaded, ends with a message."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    path = run / "checkpoints" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    done = forked("explore", "run=run", "open=false", cwd=tmp_path)
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_each_command(beta_run: Path, tmp_path: Path) -> None:
    """`rows=` of encode, evaluate and reconstruct: these observations alone, under their own numbers."""
    explored = Explored(load_run(str(beta_run), device="cpu"), "test", 50, 0)
    rows = [7, 3, 11]
    head = f"# vaecli rows: dataset={explored.dataset_name} split=test checksum={explored.checksum}"
    (tmp_path / "a.rows").write_text("\n".join([head, *map(str, rows)]) + "\n")
    run = f"run={beta_run}"
    vae(tmp_path, "encode", run, "rows=a.rows", "format=csv", "output=codes.csv")
    with (tmp_path / "codes.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3
    np.testing.assert_allclose([float(line["loc_1"]) for line in table], explored.codes[sorted(rows), 0], atol=1e-4)
    assert "3 rows of the split test" in vae(tmp_path, "evaluate", run, "rows=a.rows", "k=5", "output=e.json")
    assert "3 rows of the split test" in vae(tmp_path, "reconstruct", run, "rows=a.rows", "output=r.png")
    both = forked("encode", run, "rows=a.rows", "input=a.npy", cwd=tmp_path)
    assert both.returncode == 1
    assert "give one of them" in both.stderr
    (tmp_path / "b.rows").write_text(f"# vaecli rows: dataset=digits split=test checksum={'0' * 64}\n1\n")
    for command in ("encode", "evaluate", "reconstruct"):
        done = forked(command, run, "rows=b.rows", cwd=tmp_path)
        assert done.returncode == 1
        assert "other data" in done.stderr
