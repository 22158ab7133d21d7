"""What a training run reports: its summary, its first line, hints, and hyperparameters."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

import torch

from vaecli.analysis.metrics import LEAST_KL, active_units, kl_per_dim
from vaecli.datasets.reading.report import Reading
from vaecli.models.build import data_facts
from vaecli.runs import checkpoint
from vaecli.runs.access import identify
from vaecli.runs.config import MIN_OBSERVATIONS, NON_DISTINGUISHING_KEYS, RunConfig
from vaecli.runs.folder import RunFolder
from vaecli.runs.logger import RunLogger
from vaecli.runs.records import DataSet, Summary
from vaecli.training.previews import PREVIEW_OBSERVATIONS, Pictures
from vaecli.training.setup import TrainingSetup
from vaecli.utils.ranks import leads
from vaecli.utils.schema import as_typed
from vaecli.utils.text import plural
from vaecli.utils.types import StateDict
from vaecli.utils.version import __version__


def latents_in_use(setup: TrainingSetup) -> tuple[Summary, str, bool]:
    """Active units and the KL of each latent for summary.json; a line about them, and whether it is a warning."""
    split = (setup.splits.val or setup.splits.train).head(PREVIEW_OBSERVATIONS)
    active, kl = int(active_units(setup.model, split).sum()), kl_per_dim(setup.model, split)
    entries = Summary(active_units=active, kl_per_dim=None if kl is None else kl.tolist())
    dim = setup.model.latent_dim
    if 4 * active >= dim and active >= min(2, dim):
        strong = active if kl is None else int((kl >= LEAST_KL).sum())
        hint = f", {strong} of them with a KL of {LEAST_KL} or more" if strong < active else ""
        hint = hint if strong else f", but only slightly: none of them has a KL of {LEAST_KL} or more"
        return entries, f"{active} of {dim} latents are used{hint}", False
    few = f"only {active} of {dim} latents {'is' if active == 1 else 'are'} used" if active else "no latent is used"
    short = len(setup.splits.train) * setup.config.n_epochs < MIN_OBSERVATIONS
    remedy = f"{'train longer, or ' * short}try objective=warm_up or free_bits, or a more confident decoder"
    return entries, f"{few} (posterior collapse): {remedy}", True


def identity(setup: TrainingSetup, logger: RunLogger) -> Summary:
    """The run's id, which tells later commands that its data may be read."""
    if not leads():
        return Summary()
    run_id, problem = identify(logger.summary.id, setup.config.dataset)
    if problem:
        logger.say(f"warning: {problem}", style="yellow")
    return Summary(id=run_id)


FEW_STEPS = 200  # below this many steps in all, a hint is printed
LARGE_VALUE = 200.0  # the largest value, of data that a network gets unscaled, without a hint


def description(setup: TrainingSetup, device: torch.device) -> Summary:
    """The run's summary before training."""
    train, val, test = (0 if part is None else len(part) for part in setup.splits)
    packages = {name: version(name) for name in ("torchvision", "numpy", "hydra-core", "omegaconf")}
    versions = {
        "vaecli": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **packages,
    }
    return Summary(
        epochs=0,
        best=None,
        test=None,
        error=None,
        parameters=sum(p.numel() for p in setup.model.parameters()),
        device=str(device),
        seed=setup.config.seed,
        versions=versions,
        git_commit=git_commit(),
        reading=dict(reading_of(setup).to_dict()),
        data=DataSet(name=setup.config.dataset.name, train=train, val=val, test=test, sha256=setup.splits.sha256()),
    )


def reading_of(setup: TrainingSetup) -> Reading:
    """What was read for training, and how."""
    reading: Reading = setup.dataset.described(setup.config.dataset.name, setup.splits)
    return reading


def git_commit() -> str | None:
    """The commit of the repository in the working folder; None if there is none.

    It does not look for uncommitted changes, because git would then run programs that the folder's configuration names.
    """
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def few_steps(setup: TrainingSetup) -> str | None:
    """A hint if there are too few steps, as with little data in large batches."""
    n, size = len(setup.splits.train), setup.config.batch_size
    steps = -(-n // size)
    total = steps * setup.config.n_epochs
    if total >= FEW_STEPS:
        return None
    remedy = "a smaller batch_size or more epochs" if size > 16 else "more epochs"
    return f"only {plural(total, 'step')} in total ({steps} per epoch): use {remedy}"


def large_values(setup: TrainingSetup) -> str | None:
    """A hint if a table's values are far too large for a network."""
    low, high, _ = setup.splits.train.range
    wanted = setup.config.dataset.get("standardize") is False and setup.model.decoder.step is None
    wanted = wanted and setup.model.decoder.columns is None
    if not wanted or max(-low, high) <= LARGE_VALUE:
        return None
    counts = low >= 0 and data_facts(setup.splits.train).step == 1
    other = ", or decoder=poisson or negative_binomial for counts" if counts else ""
    return f"the values lie in [{low:.4g}, {high:.4g}]: train in standard units with dataset.standardize=true{other}"


def headline(setup: TrainingSetup, device: torch.device, folder: RunFolder) -> str:
    groups = ("dataset", "architecture", "decoder", "posterior", "prior", "objective")
    names = [setup.config.options[group].name for group in groups]
    names[3:5] = [f"{name} {group}" for name, group in zip(names[3:5], groups[3:5], strict=True)]
    n = sum(p.numel() for p in setup.model.parameters())
    epochs, latents = setup.config.n_epochs, setup.config.latent_dim
    return (
        f"{', '.join(names)}: {plural(len(setup.splits.train), 'observation')}, {plural(epochs, 'epoch')}, "
        f"{plural(latents, 'latent')}, {n:,} parameters, {device}; {folder}"
    )


def hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """The settings for TensorBoard's HParams page, the same for sweeps and single runs."""
    settings = {key: value for key, value in config.flat().items() if key not in NON_DISTINGUISHING_KEYS}
    return {key: value if isinstance(value, bool | int | float) else as_typed(value) for key, value in settings.items()}


class RunRecorder:
    """Writes what the trainer produces to the run's files."""

    def __init__(self, setup: TrainingSetup, logger: RunLogger, pictures: Pictures) -> None:
        self.config, self.x_shape = setup.config.without_requests(), list(setup.splits.train.x_shape)
        self.folder, self.logger, self.epoch_done = logger.folder, logger, pictures.epoch_done
        self.is_bound = setup.model.decoder.training_bound

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        label = {} if split != "train" or self.is_bound else {"is_bound": False}
        self.logger.metrics(split, epoch, step, {**means, **label}, lr, seconds)

    def checkpoint(self, which: str, state: StateDict) -> None:
        """Write a checkpoint, after the figures that led to it are on disk."""
        if not leads():
            return
        self.logger.flush()
        state = {"config": self.config, "x_shape": self.x_shape, **state}
        checkpoint.save(self.folder.checkpoint(which), state)
