"""What a training run says of itself: its configuration, its summary, its first line, its hyperparameters."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Collection
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
from vaecli.runs.records import DataSet, Summary
from vaecli.training.previews import LOOKED_AT, Pictures
from vaecli.training.setup import Job
from vaecli.utils.schema import plain


def latents_in_use(job: Job) -> tuple[Summary, str | None]:
    """Active units and the KL of each latent, and a warning where most latents say nothing of x."""
    split = (job.splits.val or job.splits.train).head(LOOKED_AT)
    active, kl = int(active_units(job.model, split).sum()), kl_per_dim(job.model, split)
    found = Summary(active_units=active, kl_per_dim=None if kl is None else kl.tolist())
    if 2 * active >= job.model.latent_dim:
        return found, None
    return found, (
        f"posterior collapse: {active} of {job.model.latent_dim} latents are active, the others stay at the prior: "
        "train longer, or try objective=warm_up or free_bits, a smaller latent_dim or a decoder that is more sure"
    )


def identity(job: Job, logger: RunLogger) -> Summary:
    """The run's id, by which later commands know that its data may be read."""
    run_id, problem = identify(logger.summary.id, job.config.dataset)
    if problem:
        logger.say(f"warning: {problem}", style="yellow")
    return Summary(id=run_id)


FEW = 200  # steps


def description(job: Job, device: torch.device) -> Summary:
    """What a run's summary says before it has trained."""
    train, val, test = (0 if part is None else len(part) for part in job.splits)
    packages = {name: version(name) for name in ("torchvision", "numpy", "hydra-core", "omegaconf")}
    versions = {
        "vaecli": vaecli.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **packages,
    }
    return Summary(
        epochs=0,
        best=None,
        test=None,
        error=None,
        parameters=sum(p.numel() for p in job.model.parameters()),
        device=str(device),
        seed=job.config.seed,
        versions=versions,
        git_commit=git_commit(),
        data=DataSet(name=job.config.dataset.name, train=train, val=val, test=test, sha256=job.splits.sha256()),
    )


def git_commit() -> str | None:
    """The commit of the working folder's repository; None outside of one.

    Whether files differ from it is not asked: git would run what the folder's own configuration names.
    """
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def few_steps(job: Job) -> str | None:
    """A hint where a small set in large batches leaves hardly any steps to learn from."""
    n, size = len(job.splits.train), job.config.batch_size
    steps = -(-n // size)
    if steps * job.config.epochs >= FEW:
        return None
    smaller = "a smaller batch_size or " if size > 16 else ""
    return f"{steps * job.config.epochs} steps in all ({steps} an epoch) are few: {smaller}more epochs train further"


def headline(job: Job, device: torch.device, folder: RunFolder) -> str:
    names = (job.config.options[group].name for group in ("dataset", "architecture", "decoder", "objective"))
    n = sum(p.numel() for p in job.model.parameters())
    return (
        f"{', '.join(names)}: {len(job.splits.train):,} observations, {job.config.latent_dim} latents, "
        f"{n:,} parameters, {device}; {folder}"
    )


def hyperparameters(config: RunConfig, sweep_over: Collection[str] | None) -> dict[str, bool | int | float | str]:
    """The settings for TensorBoard's HParams page: in a sweep those it was given, otherwise all that say something."""
    found = {key: value for key, value in config.flat().items() if key not in NON_DISTINGUISHING_KEYS}
    if sweep_over is not None:
        found = {key: value for key, value in found.items() if key in sweep_over} or found
    return {key: value if isinstance(value, bool | int | float) else plain(value) for key, value in found.items()}


class Observer:
    """Hands what the trainer produces to the files of the run."""

    def __init__(self, job: Job, folder: RunFolder, logger: RunLogger, pictures: Pictures) -> None:
        self.config, self.x_shape, self.folder = job.config.stored(), list(job.splits.train.x_shape), folder
        self.logger, self.epoch_done = logger, pictures.epoch_done
        self.is_bound = job.model.decoder.training_bound

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        label = {} if split != "train" or self.is_bound else {"is_bound": False}
        self.logger.metrics(split, epoch, step, {**means, **label}, lr, seconds)

    def checkpoint(self, which: str, state: dict[str, Any]) -> None:
        """The figures that led to a state are on disk before it is."""
        self.logger.flush()
        state = {"config": self.config, "x_shape": self.x_shape, **state}
        checkpoint.save(self.folder.checkpoint(which), state)
