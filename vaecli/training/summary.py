"""What a training run says of itself: its configuration, its summary, its first line, its hyperparameters."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

import vaecli
from vaecli.analysis.metrics import active_units, kl_per_dim
from vaecli.runs import checkpoint
from vaecli.runs.access import identify
from vaecli.runs.config import NON_DISTINGUISHING_KEYS, RunConfig
from vaecli.runs.folder import RunFolder
from vaecli.runs.logger import RunLogger
from vaecli.training.previews import LOOKED_AT, Pictures
from vaecli.training.setup import TrainingSetup
from vaecli.utils.schema import plain
from vaecli.utils.types import StateDict


def latents_in_use(setup: TrainingSetup) -> tuple[dict[str, Any], str | None]:
    """Active units and the KL of each latent for summary.json, and a warning where most latents say nothing of x."""
    split = (setup.splits.val or setup.splits.train).head(LOOKED_AT)
    active, kl = int(active_units(setup.model, split).sum()), kl_per_dim(setup.model, split)
    found = {"active_units": active, "kl_per_dim": None if kl is None else kl.tolist()}
    if 2 * active >= setup.model.latent_dim:
        return found, None
    return found, (
        f"posterior collapse: {active} of {setup.model.latent_dim} latents are active, the others stay at the prior: "
        "train longer, or try objective=warm_up or free_bits, a smaller latent_dim or a decoder that is more sure"
    )


def identity(setup: TrainingSetup, logger: RunLogger) -> dict[str, str]:
    """The run's id for summary.json, by which later commands know that its data may be read."""
    run_id, problem = identify(logger.summary.get("id"), setup.config.dataset)
    if problem:
        logger.say(f"warning: {problem}", style="yellow")
    return {"id": run_id}


FEW = 200  # steps


def description(setup: TrainingSetup, device: torch.device) -> dict[str, Any]:
    """What summary.json says of a run before it has trained."""
    train, val, test = (0 if part is None else len(part) for part in setup.splits)
    packages = {name: version(name) for name in ("torchvision", "numpy", "hydra-core", "omegaconf")}
    versions = {
        "vaecli": vaecli.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **packages,
    }
    return {
        "epochs": 0,
        "best": None,
        "test": None,
        "error": None,
        "parameters": sum(p.numel() for p in setup.model.parameters()),
        "device": str(device),
        "seed": setup.config.seed,
        "versions": versions,
        "git_commit": git_commit(),
        "data": {
            "name": setup.config.dataset.name, "train": train, "val": val, "test": test,
            "sha256": setup.splits.sha256(),
        },
    }  # fmt: skip


def git_commit() -> str | None:
    """The commit of the working folder's repository; None outside of one.

    Whether files differ from it is not asked: git would run what the folder's own configuration names.
    """
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def few_steps(setup: TrainingSetup) -> str | None:
    """A hint where a small set in large batches leaves hardly any steps to learn from."""
    n, size = len(setup.splits.train), setup.config.batch_size
    steps = -(-n // size)
    if steps * setup.config.epochs >= FEW:
        return None
    remedy = "a smaller batch_size or more epochs" if size > 16 else "more epochs"
    return f"only {steps * setup.config.epochs} steps in total ({steps} per epoch): use {remedy}"


def headline(setup: TrainingSetup, device: torch.device, folder: RunFolder) -> str:
    groups = ("dataset", "architecture", "decoder", "posterior", "prior", "objective")
    names = [setup.config.options[group].name for group in groups]
    names[3:5] = [f"{name} {group}" for name, group in zip(names[3:5], groups[3:5], strict=True)]
    n = sum(p.numel() for p in setup.model.parameters())
    return (
        f"{', '.join(names)}: {len(setup.splits.train):,} observations, {setup.config.latent_dim} latents, "
        f"{n:,} parameters, {device}; {folder}"
    )


def hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """The settings for TensorBoard's HParams page: all that say something, the same in sweeps and single runs."""
    found = {key: value for key, value in config.flat().items() if key not in NON_DISTINGUISHING_KEYS}
    return {key: value if isinstance(value, bool | int | float) else plain(value) for key, value in found.items()}


class Observer:
    """Hands what the trainer produces to the files of the run."""

    def __init__(self, setup: TrainingSetup, folder: RunFolder, logger: RunLogger, pictures: Pictures) -> None:
        self.config, self.x_shape, self.folder = setup.config.stored(), list(setup.splits.train.x_shape), folder
        self.logger, self.epoch_done = logger, pictures.epoch_done
        self.is_bound = setup.model.decoder.training_bound

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        label = {} if split != "train" or self.is_bound else {"is_bound": False}
        self.logger.metrics(split, epoch, step, {**means, **label}, lr, seconds)

    def checkpoint(self, which: str, state: StateDict) -> None:
        """The figures that led to a state are on disk before it is."""
        self.logger.flush()
        state = {"config": self.config, "x_shape": self.x_shape, **state}
        checkpoint.save(self.folder.checkpoint(which), state)
