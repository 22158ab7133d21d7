"""What a user gets who knows no key: digits that can be read, and a good bound on MNIST in ten epochs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from support.command_line import vae
from support.pages import ROOT

sys.path.append(str(ROOT / "benchmarks"))
REAL = os.environ.get("VAE_TEST_MNIST")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("words", "least"), [((), 0.4), (("experiment=first_digits",), 0.6)])
def test_samples_can_be_read(words: tuple[str, ...], least: float, tmp_path: Path) -> None:
    """As the share of samples that a plain classifier recognises; of real test digits it recognises .82."""
    import readable
    from readable import MNISTSmall

    done = vae("train", *words, "images.every_epochs=99", "output=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    splits = MNISTSmall(val_size=0).load()
    judge = readable.classifier(splits.train)
    assert readable.share(judge, readable.pixels(splits.test)) == pytest.approx(0.82, abs=0.05)
    assert readable.share(judge, readable.samples(str(tmp_path / "run"))) >= least


@pytest.mark.skipif(REAL is None, reason="needs the real MNIST: set VAE_TEST_MNIST to the folder that holds MNIST/raw")
def test_the_defaults_on_mnist(tmp_path: Path) -> None:
    """A test ELBO of -103.5 or better in ten epochs."""
    done = vae("train", "dataset=mnist", f"dataset.root={REAL}", "images.every_epochs=99", "output=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["epochs"] == 10
    assert summary["test"]["elbo"] >= -103.5
