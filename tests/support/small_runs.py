"""Small runs on tables and images, trained by the commands as they are typed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.command_line import called

from vaecli.training.previews import Pictures

SMALL = ("architecture.hidden=[8]", "latent_dim=2", "epochs=1", "images.every_epochs=9", "device=cpu", "output=run")
TABLE = ("dataset=arrays", "decoder=gaussian", "dataset.standardize=true", *SMALL)


def leave_out_pictures(patch: pytest.MonkeyPatch) -> None:
    """Training draws none, which is half of what a small run takes."""
    for name in ("data", "epoch_done", "curves"):
        patch.setattr(Pictures, name, lambda *args: None)


def quick(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in this process, whose training draws no pictures."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        return called(*words, cwd=folder)


def vae(folder: Path, *words: str) -> str:
    """What a command prints that ends well."""
    done = quick(folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(folder: Path, *words: str) -> str:
    """The one or two lines with which a command refuses."""
    done = quick(folder, *words)
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.strip().splitlines()) <= 2
    return done.stderr
