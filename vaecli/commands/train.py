"""`vae train`: from a configuration to a run folder."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from omegaconf import OmegaConf
from pydantic import Field
from rich.console import Console
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import vaecli
from vaecli import build
from vaecli.commands.again import ASKING, find_resumable, read_config, read_state, repeated, resume_command, resumed
from vaecli.datasets.split import Splits
from vaecli.differences import SILENT, flatten
from vaecli.errors import UserError
from vaecli.evaluation import active_units, calibrate, kl_per_dim, mean_metrics
from vaecli.files import replace_text
from vaecli.objectives.base import Objective
from vaecli.plots.view import view_of
from vaecli.training import checkpoint
from vaecli.training.folder import held, new_folder, read_summary, refuse_occupied, rewind
from vaecli.training.interrupt import Interrupt
from vaecli.training.logger import RunLogger
from vaecli.training.pictures import LOOKED_AT, Pictures
from vaecli.training.progress import TrainingProgress, duration, terms
from vaecli.training.threads import share_out
from vaecli.training.trainer import Plan, Trainer
from vaecli.vae import VAE
from vaecli.validation import PositiveFloat, PositiveInt, Seed, check_arguments, plain


@dataclass
class Every:
    every_epochs: PositiveInt


@dataclass
class EveryNowAndThen:
    every_epochs: PositiveInt
    every_seconds: PositiveFloat | None


@dataclass
class Images:
    every_epochs: PositiveInt | None


@dataclass
class EarlyStopping:
    patience: PositiveInt | None


@dataclass
class Averaging:
    decay: Annotated[float, Field(gt=0, lt=1)] | None


@dataclass
class Config:
    """The top-level keys of conf/train.yaml; what is in a group is checked by the class that takes it."""

    latent_dim: PositiveInt
    samples: PositiveInt
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Seed
    start_at_mean: bool
    clip_grad_norm: PositiveFloat | None
    device: str
    output: str | None
    resume: str | None
    repeat: str | None
    trust: list[str]
    validate: Every
    checkpoint: EveryNowAndThen
    images: Images
    early_stopping: EarlyStopping
    ema: Averaging
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
    average: AveragedModel | None
    warning: str | None


class Origin(NamedTuple):
    """How a run was asked for."""

    command: str  # the command line that repeats it
    overrides: list[str]  # the keys given on it
    sweep_folder: Path | None  # the folder that a sweep has made for it


class Before(NamedTuple):
    """What a run that goes on has done already."""

    state: dict[str, Any] | None  # of its last checkpoint; None where it had not come so far
    changes: dict[str, Any]  # the keys that the command line changes
    history: list[dict[str, Any]]  # its lines of metrics.jsonl up to that checkpoint
    summary: dict[str, Any]


class Done(NamedTuple):
    bound: float  # the best checkpoint's, on the validation split (the training split without one)
    signal: int | None  # that arrived too late to stop the run


def main(config: dict[str, Any], origin: Origin) -> float:
    """Train as `config` says; the best checkpoint's validation bound (training bound without a validation split).

    In a sweep the folder is there already, and a job that fails leaves its reason in it.
    """
    check_arguments(Config, config)
    if config["resume"] is not None:
        done = resume(config, origin)
    elif origin.sweep_folder is not None:
        done = sweep_job(config, origin, origin.sweep_folder)
    else:
        job = prepare(asked_for(config, origin), trusted=config["repeat"] is not None)
        folder = new_folder(job.settings.output, job.config["dataset"]["name"])
        with held(folder):
            if job.settings.output is not None:
                refuse_occupied(folder)  # again: another process may have been faster
            write_config(folder, job.config)
            done = train(folder, origin, lambda: job)
    if done.signal:  # during the very last validation: all is done, but a sweep should not go on
        raise SystemExit(128 + done.signal)
    return done.bound


def asked_for(config: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """The configuration of a new run: as composed, or that of the run that it repeats."""
    return config if config["repeat"] is None else repeated(config["repeat"], config, origin.overrides)


def sweep_job(config: dict[str, Any], origin: Origin, folder: Path) -> Done:
    with held(folder):
        write_config(folder, config)

        def job() -> Job:
            if config["output"] is not None:
                raise UserError(f"output={config['output']}: a sweep makes a folder for each job; leave output out")
            return prepare(asked_for(config, origin), trusted=config["repeat"] is not None)

        return train(folder, origin, job)


def resume(config: dict[str, Any], origin: Origin) -> Done:
    """Go on with a run in its own folder."""
    if origin.sweep_folder is not None:
        raise UserError(f"resume={config['resume']}: a sweep cannot go on with a run; resume its runs one by one")
    if config["output"] is not None:
        raise UserError(f"output={config['output']}: a run goes on in its own folder; leave output out")
    folder = find_resumable(config["resume"])
    with held(folder):
        state, summary = read_state(folder), read_summary(folder)
        stored = read_config(folder) if state is None else state["config"]
        config, changes = resumed(stored, build.absolute_paths(config), origin.overrides, config["resume"])
        if summary.get("status") == "completed" and config["epochs"] <= stored["epochs"]:
            print(f"{folder} is complete: {summary['epochs']} epochs. epochs=N with a larger N trains on.")
            return Done(float(summary["best"]["bound"]), None)
        epoch = state["epoch"] if state else 0
        if config["epochs"] < epoch:
            raise UserError(f"epochs={config['epochs']}: {folder} has trained {epoch} epochs already; ask for more")
        job = prepare(config, trusted=True)
        if summary.get("data", {}).get("sha256", job.splits.sha256()) != job.splits.sha256():
            raise UserError(
                f"resume={folder}: the data have changed since it began (another checksum); start a new run"
            )
        before = Before(state, changes, rewind(folder, epoch), summary)
        write_config(folder, job.config)
        return train(folder, origin, lambda: job, before)


def train(folder: Path, origin: Origin, make_job: Callable[[], Job], before: Before | None = None) -> Done:
    """Train in a folder that this process holds, and leave word of how it ended."""
    history, summary = (before.history, before.summary) if before else ([], {"command": origin.command})
    logger = RunLogger(folder, Console(), history, summary)
    try:
        logger.summarise(status="running")
        return run(make_job(), folder, logger, origin, before)
    except (KeyboardInterrupt, SystemExit):
        with suppress(UserError):
            logger.summarise(status="interrupted", seconds=round(logger.seconds, 2))
        logger.say(f"interrupted; to go on: {resume_command(folder)}")
        raise
    except Exception as error:
        fail(logger, error)
        raise
    finally:
        logger.close()


def prepare(config: dict[str, Any], trusted: bool = False) -> Job:
    """Check everything and build everything; raises UserError before anything is written.

    trusted: the configuration comes from a file, so that only classes of vaecli's and of `trust`'s are built
    """
    settings = Config(**check_arguments(Config, config))
    build.check_trust(settings.trust)
    make = partial(build.instantiate, config, trusted=trusted, trust=settings.trust)
    if settings.output is not None:
        refuse_occupied(Path(settings.output).expanduser())
    device = build.pick_device(settings.device)
    dataset = make("dataset")
    config = build.absolute_paths(config)
    splits = dataset.load()
    per_epoch = -(-len(splits.train) // settings.batch_size)
    objective = make("objective", steps_per_epoch=per_epoch)
    if settings.early_stopping.patience and splits.val is None:
        raise UserError("early_stopping.patience needs a validation split: set dataset.val_size (val_fraction) above 0")
    torch.manual_seed(settings.seed)
    config = build.settle(config, splits.train, getattr(dataset, "recipe", None), trusted, settings.trust)
    model = build.build_vae(config, splits.train.x_shape, trusted, settings.trust)
    warning = build.check_data(model.decoder, splits.train, getattr(dataset, "recipe", None))
    build.learn_units(model, splits.train)
    if settings.start_at_mean:
        build.start_at_mean(model, splits.train)
    build.start_prior(model, splits.train)
    model.to(device)
    draws = settings.batch_size * settings.samples * getattr(objective, "k", 1)
    build.refuse_too_many_densities(model, draws)
    share_out(model, draws)
    optimizer = make("optimizer", params=model.parameters())
    total_steps = per_epoch * settings.epochs
    scheduler = make("scheduler", optimizer=optimizer, total_steps=total_steps, steps_per_epoch=per_epoch)
    average = averaged(model, settings.ema.decay)
    splits = splits.to(device)
    return Job(config, settings, dataset, splits, model, objective, optimizer, scheduler, average, warning)


def averaged(model: VAE, decay: float | None) -> AveragedModel | None:
    """A copy of the model whose weights follow the model's: w <- decay w + (1 - decay) w_model after every step."""
    return None if decay is None else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


def run(job: Job, folder: Path, logger: RunLogger, origin: Origin, before: Before | None) -> Done:
    """Train, evaluate the best checkpoint on the test split, and write it all down."""
    settings, device = job.settings, next(job.model.parameters()).device
    logger.config(write_config(folder, job.config))
    logger.summarise(**(resumption(before) if before else {}), **description(job, device))
    logger.say(headline(job, device, folder))
    if job.warning:
        logger.say(f"warning: {job.warning}", style="yellow")
    if not job.model.decoder.training_bound:
        logger.say("figures of training batches (train, *) use each batch's own scale: they are no bound of log p(x)")
    look = view_of(job.dataset, job.splits.train.x_shape)
    pictures = Pictures(job.model, job.splits, look, logger, settings.images.every_epochs, settings.epochs)
    pictures.data()
    done = position(job, before)
    progress = TrainingProgress(len(job.splits.train), settings.epochs, logger.console, logger.say, done=done)
    progress.mark = "" if job.model.decoder.training_bound else "*"
    with Interrupt() as interrupt, progress:
        trainer = Trainer(
            job.model, job.objective, job.optimizer, job.scheduler, job.splits, plan(settings),
            Observer(job, folder, logger, pictures), progress, interrupt, job.average,
            partial(calibrate, train=job.splits.train),
        )  # fmt: skip
        if before:
            go_on(trainer, job, before, logger)
        trainer.fit()
    pictures.curves()
    seconds = {
        "seconds": round(logger.seconds, 2),
        "observations_per_second": round((progress.done - done) / max(trainer.seconds, 1e-9), 1),
    }
    best = {key: trainer.best[key] for key in ("epoch", "elbo", "bound")}
    logger.summarise(epochs=trainer.epoch, best=best, **seconds)
    if interrupt.requested and trainer.epoch < settings.epochs:
        raise SystemExit(128 + interrupt.requested)
    return Done(finish(job, folder, logger, trainer, origin), interrupt.requested)


def plan(settings: Config) -> Plan:
    return Plan(
        settings.epochs, settings.batch_size, settings.seed, settings.validate.every_epochs,
        settings.checkpoint.every_epochs, settings.checkpoint.every_seconds, settings.early_stopping.patience,
        settings.clip_grad_norm,
    )  # fmt: skip


def position(job: Job, before: Before | None) -> int:
    """How many observations a run has been trained on before."""
    if before is None or before.state is None:
        return 0
    n, size = len(job.splits.train), job.settings.batch_size
    epoch, step = before.state["epoch"], before.state["step"]
    return epoch * n + (step - epoch * -(-n // size)) * size


def go_on(trainer: Trainer, job: Job, before: Before, logger: RunLogger) -> None:
    """Put the trainer where the run stopped, and say so."""
    state = before.state
    if state is None:
        logger.say("it was stopped before its first step: starting from there")
        return
    replanned = any(key == "epochs" or key.startswith(("scheduler", "optimizer")) for key in before.changes)
    planned = job.scheduler.state_dict()
    try:
        trainer.restore(state, replanned)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"last.pt does not fit its own configuration: {str(error).splitlines()[0][:150]}") from None
    logger.say(f"going on after epoch {state['epoch']}, step {state['step']}" + told(before.changes))
    horizon = {key: value for key, value in planned.items() if state["scheduler"].get(key) != value}
    if "epochs" in before.changes and {"T_max", "total_steps"} & horizon.keys():
        name, epochs = job.config["scheduler"]["name"], job.settings.epochs
        logger.say(f"scheduler={name} runs over all epochs: from here on the rates are those of a run of {epochs}")


def told(changes: dict[str, Any]) -> str:
    return "".join(f", {key}={plain(value)}" for key, value in changes.items())


def resumption(before: Before) -> dict[str, Any]:
    """What summary.json says of the times that a run was resumed."""
    step = before.state["step"] if before.state else 0
    return {"resumed": [*before.summary.get("resumed", []), {"step": step, "changes": before.changes}]}


def finish(job: Job, folder: Path, logger: RunLogger, trainer: Trainer, origin: Origin) -> float:
    """The test figures of the best checkpoint, for summary.json, TensorBoard and the user."""
    averaged = {} if trainer.average is None else {"test_ema": test_figures(job, folder, trainer, "ema")}
    test = {"test": test_figures(job, folder, trainer, "best"), **averaged}
    metrics = {f"{name}/{key}": value for name, figures in test.items() for key, value in figures.items()}
    logger.hparams(hyperparameters(job.config, origin), {**metrics, "best/elbo": trainer.best["elbo"]}, trainer.epoch)
    latents, warning = latents_in_use(job)
    logger.summarise(status="completed", epochs=trainer.epoch, **test, **latents)
    for name, epoch in (("test", trainer.best["epoch"]), ("test_ema", trainer.best_average["epoch"])):
        if name in test:
            logger.say(
                f"{name.replace('_ema', ' (averaged weights)')} {terms(test[name])}"
                f"  (best checkpoint, epoch {epoch}; {duration(logger.seconds)})"
            )
    if warning:
        logger.say(warning, style="yellow")
    logger.say(f"wrote {folder}  (tensorboard --logdir {folder})")
    return float(trainer.best["bound"])


def latents_in_use(job: Job) -> tuple[dict[str, Any], str | None]:
    """Active units and the KL of each latent for summary.json, and a warning where most latents say nothing of x."""
    split = (job.splits.val or job.splits.train).head(LOOKED_AT)
    active, kl = int(active_units(job.model, split).sum()), kl_per_dim(job.model, split)
    found = {"active_units": active, "kl_per_dim": None if kl is None else kl.tolist()}
    if 2 * active >= job.model.latent_dim:
        return found, None
    return found, (
        f"posterior collapse: {active} of {job.model.latent_dim} latents are active, the others stay at the prior: "
        "train longer, or try objective=warm_up or free_bits, a smaller latent_dim or a decoder that is more sure"
    )


def test_figures(job: Job, folder: Path, trainer: Trainer, which: str) -> dict[str, float]:
    """The mean metrics of a checkpoint on the test split."""
    job.model.load_state_dict(checkpoint.load(folder / "checkpoints" / f"{which}.pt")["model"])
    means = mean_metrics(job.model, job.objective, job.splits.test, trainer.step)
    return {key: means[key] for key in ("elbo", "log_px", "kl")}


class Observer:
    """Hands what the trainer produces to the files of the run."""

    def __init__(self, job: Job, folder: Path, logger: RunLogger, pictures: Pictures) -> None:
        self.config, self.x_shape, self.folder = stored(job.config), list(job.splits.train.x_shape), folder
        self.logger, self.epoch_done = logger, pictures.epoch_done
        self.is_bound = job.model.decoder.training_bound

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        label = {} if split != "train" or self.is_bound else {"is_bound": False}
        self.logger.metrics(split, epoch, step, {**means, **label}, lr, seconds)

    def checkpoint(self, which: str, state: dict[str, Any]) -> None:
        """The figures that led to a state are on disk before it is."""
        self.logger.flush()
        state = {"config": self.config, "x_shape": self.x_shape, **state}
        checkpoint.save(self.folder / "checkpoints" / f"{which}.pt", state)


def stored(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what says how and where to train it, rather than what."""
    return {**{key: value for key, value in config.items() if key not in ASKING}, "output": None}


def write_config(folder: Path, config: dict[str, Any]) -> str:
    """Write config.yaml; its text."""
    text = OmegaConf.to_yaml(OmegaConf.create(stored(config)))
    replace_text(folder / "config.yaml", text)
    return text


def description(job: Job, device: torch.device) -> dict[str, Any]:
    """What summary.json says of a run before it has trained."""
    train, val, test = (0 if part is None else len(part) for part in job.splits)
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
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "device": str(device),
        "seed": job.settings.seed,
        "versions": versions,
        "git_commit": git_commit(),
        "data": {
            "name": job.config["dataset"]["name"], "train": train, "val": val, "test": test,
            "sha256": job.splits.sha256(),
        },
    }  # fmt: skip


def git_commit() -> str | None:
    """The commit of the working folder's repository, `-dirty` where files differ from it; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


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


def fail(logger: RunLogger, error: Exception) -> None:
    """Leave the reason in the run's folder, as far as that can be written."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    with suppress(UserError):
        logger.summarise(status="failed", error=text, seconds=round(logger.seconds, 2))
        logger.note(f"failed: {text}")
