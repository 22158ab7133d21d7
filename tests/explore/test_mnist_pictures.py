"""Pictures of MNIST at 2 and 20 latents; with VAE_PICTURES=docs/pictures those of the README are made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.browser import MODELS, SHOTS, Browser, explored
from support.small_runs import vae

REAL = os.environ.get("VAE_TEST_MNIST")
TARGET = Path(os.environ.get("VAE_PICTURES") or SHOTS).absolute()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(REAL is None, reason="set VAE_TEST_MNIST to the folder that holds MNIST/raw"),
]


def train(folder: Path, d: int, epochs: int) -> str:
    """The name of a run on MNIST with d latents."""
    name = f"outputs/mnist_{d}"
    vae(folder, "train", "dataset=mnist", f"dataset.root={REAL}", "decoder=bernoulli", f"latent_dim={d}",
        f"epochs={epochs}", "images.every_epochs=99", f"output={name}")  # fmt: skip
    return name


def test_two_latents(tmp_path: Path, opened: Callable[..., Browser]) -> None:
    """The README's picture, and its page in a file."""
    run = train(tmp_path, 2, epochs=10)
    with explored(f"run={run}", cwd=tmp_path) as address:
        page = opened(address, width=1200, height=840)
        page.drag("latent map", [(0.5, 0.5), (0.55, 0.72), (0.58, 0.8)])
        page.picture(TARGET / "explore.png")
    vae(tmp_path, "explore", f"run={run}", "output=explore.html")
    html = (tmp_path / "explore.html").read_bytes()
    assert len(html) <= 6_000_000
    (TARGET / "explore.html").write_bytes(html)
    page = opened((TARGET / "explore.html").as_uri(), height=800, offline=True)
    page.drag("map", [(0.5, 0.5), (0.58, 0.8)])
    page.picture(SHOTS / "file_mnist_2.png")


def test_twenty_latents(tmp_path: Path, opened: Callable[..., Browser]) -> None:
    """The active latents have sliders, the others are folded away; the codes' principal components as axes."""
    with explored(f"run={train(tmp_path, 20, epochs=3)}", cwd=tmp_path) as address:
        page = opened(address)
        page.js(MODELS + "all('Select').find((s) => s.title == 'across').value = 'PC 1';"
                "all('Select').find((s) => s.title == 'up').value = 'PC 2';")  # fmt: skip
        page.says("latents")
        page.js(MODELS + "all('Toggle').find((t) => t.label == 'contours of the prior').active = true;")
        page.drag("latent map", [(0.5, 0.5), (0.4, 0.4)])
        page.whole(SHOTS / "mnist_20.png")
