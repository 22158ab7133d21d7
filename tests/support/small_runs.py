"""Small runs on tables and images, trained by the commands as they are typed."""

from __future__ import annotations

from pathlib import Path

from support.command_line import forked

SMALL = ("architecture.hidden=[8]", "latent_dim=2", "epochs=1", "images.every_epochs=9", "device=cpu", "output=run")
TABLE = ("dataset=arrays", "decoder=gaussian", "dataset.standardize=true", *SMALL)


def vae(folder: Path, *words: str) -> str:
    """What a command prints that ends well."""
    done = forked(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout
