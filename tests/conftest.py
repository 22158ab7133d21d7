"""Runs that many tests read, each trained once; no heavy import, since every process of the suite begins here."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("support")  # what its asserts compare is shown too
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models here are small, and the machine may be busy
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="vaecli-state-")  # not the user's own


def pytest_collection_finish() -> None:
    """What is imported by now stays: garbage is not searched for among it, here and in copies of this process."""
    gc.freeze()


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dynamically binarised digits under a Bernoulli decoder, five latents, 30 epochs."""
    args = (
        "dataset=digits",
        "dataset.binarize=dynamic",
        "latent_dim=5",
        "architecture.hidden=[64]",
        "epochs=30",
        "images.every_epochs=30",
    )
    return trained_once(tmp_path_factory, "digits", *args)


@pytest.fixture(scope="session")
def beta_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beta curves under unit noise, two latents."""
    args = ("dataset=beta", "decoder=gaussian_identity", "latent_dim=2", "architecture.hidden=[32,32]", "epochs=8",
            "images.every_epochs=8")  # fmt: skip
    return trained_once(tmp_path_factory, "beta", *args)


def trained_once(factory: pytest.TempPathFactory, name: str, *words: str) -> Path:
    """A run that the first process to ask for it trains; each has a copy of its own, since tests write into it."""
    from filelock import FileLock
    from support.small_runs import with_pictures

    own = factory.mktemp(name)
    place = (own.parents[1] if "PYTEST_XDIST_WORKER" in os.environ else own.parent) / f"{name}_trained"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            place.mkdir()
            with_pictures(place, *words)
    return shutil.copytree(place / "run", own / "run")


@pytest.fixture(scope="session", autouse=True)
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Ten thousand files are written here, each with milliseconds of waiting that only a power failure rewards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _training_without_pictures() -> Iterator[None]:
    """They take nine tenths of the time of a small run; the fixture `pictures` brings them back."""
    from support.small_runs import leave_out_pictures

    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        yield


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training draws its pictures."""
    from support.small_runs import draw_pictures

    draw_pictures(monkeypatch)


@pytest.fixture
def without_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands get the same configuration, a tenth of a second sooner."""
    from support.configurations import without_hydra

    monkeypatch.setattr("vaecli.config.compose.run", without_hydra)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line that is printed when all tests are done, from whichever process."""
    return lambda text: request.node.user_properties.append(("measured", text))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in getattr(report, "user_properties", ()):
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(text)
