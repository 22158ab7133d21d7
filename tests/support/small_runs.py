"""Small runs on tables and images, trained by the commands as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import called, trained

from vaecli.training.previews import Pictures

SMALL = ("architecture.hidden=[8]", "latent_dim=2", "epochs=1", "images.every_epochs=9", "device=cpu", "output=run")
DRAWN = {name: getattr(Pictures, name) for name in ("data", "epoch_done", "curves")}
TABLE = ("dataset=arrays", "decoder=gaussian", "dataset.standardize=true", *SMALL)


def leave_out_pictures(patch: pytest.MonkeyPatch) -> None:
    """Training draws none."""
    for name in DRAWN:
        patch.setattr(Pictures, name, lambda *args: None)


def draw_pictures(patch: pytest.MonkeyPatch) -> None:
    """Training draws them again."""
    for name, draw in DRAWN.items():
        patch.setattr(Pictures, name, draw)


def with_pictures(folder: Path, *words: str) -> Path:
    """A run's folder, made by `vae train`, its pictures included."""
    with pytest.MonkeyPatch.context() as patch:
        draw_pictures(patch)
        return trained(folder, *words)


def vae(folder: Path, *words: str) -> str:
    """What a command prints that ends well."""
    done = called(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(folder: Path, *words: str) -> str:
    """The one or two lines with which a command refuses."""
    done = called(*words, cwd=folder)
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.strip().splitlines()) <= 2
    return done.stderr
