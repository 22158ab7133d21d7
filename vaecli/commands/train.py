"""`vae train`: from a configuration to a run folder."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf
from rich.console import Console

import vaecli
from vaecli import build
from vaecli.datasets.split import Splits
from vaecli.differences import SILENT, flatten
from vaecli.errors import UserError
from vaecli.evaluation import mean_metrics
from vaecli.files import check_writable
from vaecli.objectives.elbo import Objective
from vaecli.plots.view import view
from vaecli.training import checkpoint
from vaecli.training.interrupt import Interrupt
from vaecli.training.logger import RunLogger
from vaecli.training.pictures import Pictures
from vaecli.training.progress import TrainingProgress, duration
from vaecli.training.threads import share_out
from vaecli.training.trainer import Plan, Trainer
from vaecli.vae import VAE
from vaecli.validation import PositiveInt, Seed, check_arguments, plain

RUN_FILES = ("config.yaml", "summary.json", "metrics.jsonl", "checkpoints")


@dataclass
class Every:
    every_epochs: PositiveInt


@dataclass
class EarlyStopping:
    patience: PositiveInt | None


@dataclass
class Config:
    """The top-level keys of conf/train.yaml; what is in a group is checked by the class that takes it."""

    latent_dim: PositiveInt
    samples: PositiveInt
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Seed
    start_at_mean: bool
    device: str
    output: str | None
    validate: Every
    checkpoint: Every
    images: Every
    early_stopping: EarlyStopping
    dataset: dict[str, Any]
    architecture: dict[str, Any]
    decoder: dict[str, Any]
    posterior: dict[str, Any]
    prior: dict[str, Any]
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]


class Job(NamedTuple):
    """Everything that is made before the run's folder is."""

    config: dict[str, Any]  # resolved, as it is stored
    settings: Config  # the same, checked
    dataset: Any
    splits: Splits  # on the training device
    model: VAE
    objective: Objective
    optimizer: torch.optim.Optimizer
    scheduler: Any
    warning: str | None


class Origin(NamedTuple):
    """How a run was asked for."""

    command: str  # the command line that repeats it
    overrides: list[str]  # the keys given on it
    sweep_folder: Path | None  # the folder that a sweep has made for it


def main(config: dict[str, Any], origin: Origin) -> float:
    """Train as `config` says; the best checkpoint's validation bound (training bound without a validation split).

    In a sweep the folder is there already, and a job that fails leaves its reason in it.
    """
    logger = open_run(origin.sweep_folder, origin.command) if origin.sweep_folder else None
    try:
        if origin.sweep_folder and config["output"] is not None:
            raise UserError(f"output={config['output']}: a sweep makes a folder for each job; leave output out")
        job = prepare(config)
        folder = origin.sweep_folder or new_folder(job.settings.output, job.config["dataset"]["name"])
        logger = logger or open_run(folder, origin.command)
        return run(job, folder, logger, origin)
    except KeyboardInterrupt:  # before or after the steps; during them the trainer takes care
        if logger:
            logger.summarise(status="interrupted")
        raise
    except Exception as error:
        if logger:
            fail(logger, error)
        raise
    finally:
        if logger:
            logger.close()


def prepare(config: dict[str, Any]) -> Job:
    """Check everything and build everything; raises UserError before anything is written."""
    settings = Config(**check_arguments(Config, config))
    if settings.output is not None:
        refuse_occupied(Path(settings.output).expanduser())
    device = build.pick_device(settings.device)
    dataset = build.instantiate(config, "dataset")
    objective = build.instantiate(config, "objective")
    config = {**config, "dataset": absolute_root(config["dataset"])}
    splits = dataset.load()
    if settings.early_stopping.patience and splits.val is None:
        raise UserError("early_stopping.patience needs a validation split: set dataset.val_size above 0")
    torch.manual_seed(settings.seed)
    model = build.build_vae(config, splits.train.x_shape)
    warning = build.check_data(model.decoder, splits.train, getattr(dataset, "recipe", None))
    if settings.start_at_mean:
        build.start_at_mean(model, splits.train)
    build.start_prior(model, splits.train)
    model.to(device)
    share_out(model, settings.batch_size, settings.samples)
    optimizer = build.instantiate(config, "optimizer", params=model.parameters())
    per_epoch = -(-len(splits.train) // settings.batch_size)
    scheduler = build.instantiate(
        config, "scheduler", optimizer=optimizer, total_steps=per_epoch * settings.epochs, steps_per_epoch=per_epoch
    )
    return Job(config, settings, dataset, splits.to(device), model, objective, optimizer, scheduler, warning)


def run(job: Job, folder: Path, logger: RunLogger, origin: Origin) -> float:
    """Train, evaluate the best checkpoint on the test split, and write it all down."""
    settings, device = job.settings, next(job.model.parameters()).device
    logger.config(OmegaConf.to_yaml(OmegaConf.create({**job.config, "output": None})))
    logger.summarise(**description(job, device))
    logger.say(headline(job, device, folder))
    if job.warning:
        logger.say(f"warning: {job.warning}", style="yellow")
    shape = job.splits.train.x_shape
    look = view(shape, getattr(job.dataset, "grid", None), getattr(job.dataset, "label", ""))
    pictures = Pictures(job.model, job.splits, look, logger, settings.images.every_epochs, settings.epochs)
    pictures.data()
    plan = Plan(
        settings.epochs, settings.batch_size, settings.seed, settings.validate.every_epochs,
        settings.checkpoint.every_epochs, settings.early_stopping.patience,
    )  # fmt: skip
    observer = Observer(job, folder, logger, pictures)
    progress = TrainingProgress(len(job.splits.train), settings.epochs, logger.console, logger.say)
    with Interrupt() as interrupt, progress:
        trainer = Trainer(
            job.model, job.objective, job.optimizer, job.scheduler, job.splits, plan, observer, progress, interrupt
        )
        trainer.fit()
    pictures.curves()
    seconds = {
        "seconds": round(logger.seconds, 2),
        "observations_per_second": round(progress.done / max(trainer.seconds, 1e-9), 1),
    }
    best = {key: trainer.best[key] for key in ("epoch", "elbo", "bound")}
    if interrupt.requested and trainer.epoch < settings.epochs:
        logger.summarise(status="interrupted", epochs=trainer.epoch, best=best, **seconds)
        logger.say(f"interrupted in epoch {trainer.epoch + 1}; checkpoints and figures so far: {folder}")
        raise SystemExit(128 + interrupt.requested)
    logger.summarise(best=best, **seconds)
    bound = finish(job, folder, logger, trainer, origin)
    if interrupt.requested:  # during the very last validation: all is done, but a sweep should not go on
        raise SystemExit(128 + interrupt.requested)
    return bound


def finish(job: Job, folder: Path, logger: RunLogger, trainer: Trainer, origin: Origin) -> float:
    """The test figures of the best checkpoint, for summary.json, TensorBoard and the user."""
    job.model.load_state_dict(checkpoint.load(folder / "checkpoints" / "best.pt")["model"])
    means = mean_metrics(job.model, job.objective, job.splits.test, trainer.step)
    test = {key: means[key] for key in ("elbo", "log_px", "kl")}
    metrics = {f"test/{key}": value for key, value in test.items()}
    logger.hparams(hyperparameters(job.config, origin), {**metrics, "best/elbo": trainer.best["elbo"]}, trainer.epoch)
    logger.summarise(status="completed", epochs=trainer.epoch, test=test)
    logger.say(
        f"test ELBO {test['elbo']:.2f}  log p(x|z) {test['log_px']:.2f}  KL {test['kl']:.2f}"
        f"  (best checkpoint, epoch {trainer.best['epoch']}; {duration(logger.seconds)})"
    )
    logger.say(f"wrote {folder}  (tensorboard --logdir {folder})")
    return float(trainer.best["bound"])


class Observer:
    """Hands what the trainer produces to the files of the run."""

    def __init__(self, job: Job, folder: Path, logger: RunLogger, pictures: Pictures) -> None:
        self.config, self.x_shape, self.folder = job.config, list(job.splits.train.x_shape), folder
        self.metrics, self.epoch_done = logger.metrics, pictures.epoch_done

    def checkpoint(self, which: str, state: dict[str, Any]) -> None:
        state = {"config": self.config, "x_shape": self.x_shape, **state}
        checkpoint.save(self.folder / "checkpoints" / f"{which}.pt", state)


def description(job: Job, device: torch.device) -> dict[str, Any]:
    """What summary.json says of a run before it has trained."""
    train, val, test = (0 if part is None else len(part) for part in job.splits)
    versions = {"vaecli": vaecli.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {
        "epochs": 0,
        "best": None,
        "test": None,
        "error": None,
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "device": str(device),
        "seed": job.settings.seed,
        "versions": versions,
        "data": {
            "name": job.config["dataset"]["name"], "train": train, "val": val, "test": test,
            "sha256": job.splits.sha256(),
        },
    }  # fmt: skip


def headline(job: Job, device: torch.device, folder: Path) -> str:
    names = (job.config[group]["name"] for group in ("dataset", "architecture", "decoder", "objective"))
    n = sum(p.numel() for p in job.model.parameters())
    return (
        f"{', '.join(names)}: {len(job.splits.train):,} observations, {job.settings.latent_dim} latents, "
        f"{n:,} parameters, {device}; {folder}"
    )


def hyperparameters(config: dict[str, Any], origin: Origin) -> dict[str, bool | int | float | str]:
    """The settings for TensorBoard's HParams page: in a sweep those it was given, otherwise all that say something."""
    found = {key: value for key, value in flatten(config).items() if key not in SILENT}
    if origin.sweep_folder is not None:
        found = {key: value for key, value in found.items() if key in origin.overrides} or found
    return {key: value if isinstance(value, bool | int | float | str) else plain(value) for key, value in found.items()}


def absolute_root(dataset: dict[str, Any]) -> dict[str, Any]:
    """A data folder as every later command will find it, from whichever folder it is typed."""
    if isinstance(dataset.get("root"), str):
        return {**dataset, "root": str(Path(dataset["root"]).expanduser().absolute())}
    return dataset


def refuse_occupied(folder: Path) -> None:
    if any((folder / name).exists() for name in RUN_FILES):
        raise UserError(f"output={folder}: this folder already holds a run; choose another output")
    check_writable(folder)


def new_folder(output: str | None, dataset: str) -> Path:
    """Make the run's folder: `output`, or one of its own under outputs/<dataset>."""
    if output is not None:
        folder = Path(output).expanduser()
        refuse_occupied(folder)
        return make(folder, exist_ok=True)
    while True:
        folder = Path("outputs", dataset, datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
        try:
            return make(folder, exist_ok=False)
        except FileExistsError:  # a run that started in the same microsecond
            continue


def make(folder: Path, exist_ok: bool) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"output={folder}: cannot be made ({error.strerror}); choose another output") from None
    return folder


def open_run(folder: Path, command: str) -> RunLogger:
    logger = RunLogger(folder, Console())
    logger.summarise(status="running", command=command)
    return logger


def fail(logger: RunLogger, error: Exception) -> None:
    """Leave the reason in the run's folder."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    logger.note(f"failed: {text}")
    logger.summarise(status="failed", error=text)
