"""Runs to explore, and browsers that are closed at the end."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.browser import Browser
from support.small_runs import vae

FEW = ("images.every_epochs=99",)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs on images of digits, on a table, on curves and on colour images."""
    here = tmp_path_factory.mktemp("explore")
    vae(here, "train", "latent_dim=2", "epochs=3", *FEW, "output=two")
    vae(here, "train", "latent_dim=20", "epochs=2", *FEW, "output=twenty")
    rng = np.random.default_rng(0)
    t, k = rng.normal(size=400), rng.integers(0, 3, 400)
    rows = [[f"{40 + 10 * t[i] + 5 * k[i]:.1f}", "" if i % 9 == 0 else f"{t[i]:.2f}", f"{5 - 2 * t[i]:.2f}",
             ["<script>alert(1)</script>", "b" * 900, "$$c$$"][k[i]]] for i in range(400)]  # fmt: skip
    with (here / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["age", "<script>alert(2)</script>", "$$height$$", "label"], *rows])
    table = ("dataset=arrays", "dataset.path=x.csv", "architecture.hidden=[32]", "epochs=60", *FEW)
    vae(here, "train", *table, "latent_dim=3", "output=table")
    vae(here, "train", "experiment=beta_curves", "latent_dim=2", "epochs=4", *FEW, "output=curves")
    y, x = np.mgrid[:16, :16] / 15
    tint, slope = rng.random((400, 1, 1, 3)), rng.random((400, 1, 1, 1))
    ramp = slope * x[None, :, :, None] + (1 - slope) * y[None, :, :, None]
    np.save(here / "colour.npy", (ramp * tint).astype(np.float32))
    vae(here, "train", "dataset=arrays", "dataset.path=colour.npy", "latent_dim=1", "architecture.hidden=[64]",
        "epochs=40", *FEW, "output=colour")  # fmt: skip
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
