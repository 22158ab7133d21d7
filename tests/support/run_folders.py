"""Folders with the files that a training run leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CONFIG: dict[str, Any] = {
    "latent_dim": 2,
    "dataset": {"_target_": "vaecli.datasets.digits.Digits", "name": "digits", "limit": None},
    "decoder": {"_target_": "vaecli.decoders.bernoulli.Bernoulli", "name": "bernoulli"},
    "images": {"every_epochs": 5},
    "output": None,
}


def make(folder: Path, summary: Any = None, config: Any = None, lines: tuple[dict[str, Any], ...] = ()) -> Path:
    """A run's folder with the files that a training run leaves; text is written as it is."""
    folder.mkdir(parents=True)
    summary = summary if summary is not None else completed(-10.0)
    (folder / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))
    config = CONFIG if config is None else config
    (folder / "config.yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def completed(bound: float) -> dict[str, Any]:
    best, test = {"epoch": 2, "elbo": bound}, {"elbo": bound - 1, "bound": bound - 0.5, "log_px": -5.0, "kl": 1.0}
    told = {"best": best, "test": test, "data": {"name": "digits"}, "seconds": 12.5}
    return {"status": "completed", "command": "vae train", "epochs": 3, **told}


def evaluation(nll: float, epoch: int = 2) -> dict[str, Any]:
    means = dict.fromkeys(("elbo", "log_px", "kl", "nll_stderr", "nll_mc_stderr", "ess", "mse"), 1.5)
    others = {"active_units": 2, "latent_dim": 2, "kl_per_dim": [1.0, 0.5], "bits_per_dim": None}
    protocol = {"dataset": "digits", "split": "test", "observations": 9, "of": 10, "binarize": None,
                "binarize_seed": None, "estimator": "posterior", "k": 100, "widen": 1.0, "checkpoint": "best",
                "epoch": epoch, "seed": 0, "device": "cpu", "version": "0.1.0", "seconds": 1.5,
                "peak_memory_bytes": None}  # fmt: skip
    return {**means, "nll": nll, **others, "protocol": protocol}


def line(epoch: int, split: str, elbo: float, bound: float) -> dict[str, Any]:
    return {"epoch": epoch, "step": 10 * epoch, "split": split, "elbo": elbo, "bound": bound}
