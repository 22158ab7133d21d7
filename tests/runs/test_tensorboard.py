"""TensorBoard shows each step of a run once, wherever it was killed and whichever of TensorBoard's readers is used."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from support.displays import Display, Points, by_the_server, in_python, waited_for

from vaecli.runs.folder import RunFolder
from vaecli.runs.tensorboard import EventFile, events, rewind

EPOCHS, SAVED = 6, 2  # a checkpoint every second epoch
READERS = [in_python, by_the_server]
Reader = Callable[[Path], AbstractContextManager[Display]]


def train(folder: Path, first: int, last: int = EPOCHS, killed_at: float | None = None) -> int:
    """Write what training writes from an epoch on; the last epoch that was saved when that ended.

    killed_at: the part of what it writes that is there when it is killed
    """
    file = EventFile(RunFolder(folder))
    begin, sizes = file.path.stat().st_size, {}
    file.text("config", "latent_dim: 2")
    file.image("data", b"png", 8, 8, 0)
    for epoch in range(first, last + 1):
        for tag in ("train/elbo", "val/elbo"):
            file.scalar(tag, float(epoch), epoch)
        file.histogram("kl_per_latent", torch.arange(3.0), epoch)
        if epoch % SAVED == 0:
            file.flush()
            sizes[epoch] = file.path.stat().st_size
    file.hparams({"lr": 0.1}, {"test/elbo": 1.0})
    for tag in ("test/elbo", "best/elbo"):
        file.scalar(tag, 1.0, last)
    file.close()
    if killed_at is None:
        return last
    content = file.path.read_bytes()
    there = begin + round(killed_at * (len(content) - begin))
    file.path.write_bytes(content[:there])
    return max([epoch for epoch, size in sizes.items() if size <= there], default=first - 1)


def killed_and_resumed(folder: Path, kills: list[float]) -> None:
    folder.mkdir(parents=True)
    saved = 0
    for part in kills:
        saved = train(folder, saved + 1, killed_at=part)
        rewind(RunFolder(folder), saved)
    train(folder, saved + 1)


def whole(folder: Path) -> Points:
    """What is shown of a run that was left alone."""
    (folder / "whole").mkdir(parents=True)
    train(folder / "whole", 1)
    with in_python(folder) as display:
        return display()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("n", [15, pytest.param(60, marks=pytest.mark.faults)])
def test_after_kills_each_step_is_shown_once(n: int, reader: Reader, tmp_path: Path) -> None:
    rng = random.Random(0)
    for i in range(n):
        killed_and_resumed(tmp_path / f"once {i}", [i / n])
        killed_and_resumed(tmp_path / f"more {i}", [rng.random() for _ in range(rng.choice((2, 3)))])
    (expected,) = whole(tmp_path / "alone").values()
    assert len(expected) == sum(expected.values()) == 3 * EPOCHS + 4
    runs = {run.name for run in tmp_path.iterdir() if run.name != "alone"} | {"alone/whole"}
    with reader(tmp_path) as display:
        assert waited_for(dict.fromkeys(runs, expected), display) == dict.fromkeys(runs, expected)


@pytest.mark.parametrize("reader", READERS)
def test_a_run_that_is_trained_on_is_shown_as_one(reader: Reader, tmp_path: Path) -> None:
    for name in ("never", "on"):
        (tmp_path / name).mkdir()
    train(tmp_path / "never", 1, 8)
    train(tmp_path / "on", 1, 6)
    rewind(RunFolder(tmp_path / "on"), 6)
    train(tmp_path / "on", 7, 8)
    with in_python(tmp_path) as display:
        expected = dict.fromkeys(("never", "on"), display()["never"])
    with reader(tmp_path) as display:
        assert waited_for(expected, display) == expected


@pytest.mark.parametrize("reader", READERS)
def test_a_tensorboard_that_is_open_goes_on(reader: Reader, tmp_path: Path) -> None:
    """Also where the run is killed twice, and resumed within the second in which it began."""
    expected = {"run": whole(tmp_path / "alone")["whole"]}
    folder = tmp_path / "open" / "run"
    folder.mkdir(parents=True)
    with reader(tmp_path / "open") as display:
        saved = 0
        for part in (0.7, 0.5):
            saved = train(folder, saved + 1, killed_at=part)
            there = {"run": Counter((tag, step) for (step, tag), _ in events(RunFolder(folder).events[-1]))}
            assert waited_for(scalars(there), lambda: scalars(display())) == scalars(there)
            rewind(RunFolder(folder), saved)
        train(folder, saved + 1)
        assert waited_for(expected, display) == expected


def scalars(points: Points) -> Points:
    """Those of training and validation alone."""
    return {
        run: Counter({key: n for key, n in found.items() if key[0].startswith(("train/", "val/"))})
        for run, found in points.items()
    }


def test_files_of_a_resumed_run(tmp_path: Path) -> None:
    """One that is read, and before it the last one, empty, where a TensorBoard that is open may be reading."""
    folder = RunFolder(tmp_path)
    train(tmp_path, 1)
    assert len(folder.events) == 1
    for _ in range(3):
        shutil.copy(folder.events[-1], tmp_path / "events.out.tfevents.0.a.1.0")  # as a crash may leave one
        rewind(folder, 4)
        empty, last = folder.events
        assert empty.stat().st_size == 0
        assert max(step for (step, _), _ in events(last)) == 4
        train(tmp_path, 5)
        assert folder.events == [empty, last]


def test_single_figures_come_after_the_terms_of_the_elbo(digits_run: Path) -> None:
    """TensorBoard shows its cards in the order of their tags."""
    steps: dict[str, set[int]] = {}
    for (step, tag), _ in events(RunFolder(digits_run).events[-1]):
        if tag.split("/")[0] in ("train", "val", "whole_run"):
            steps.setdefault(tag, set()).add(step)
    curves = {tag for tag, at in steps.items() if len(at) > 1}
    single = steps.keys() - curves
    assert {"train/elbo", "train/log_px", "train/kl"} <= curves
    assert {"whole_run/active_units", "whole_run/test_elbo"} <= single
    assert max(curves) < min(single)
