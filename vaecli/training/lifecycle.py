"""One run from its first line to its last: new, swept, repeated or resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from rich.console import Console

from vaecli.config.compose import Origin
from vaecli.models.build import calibrate
from vaecli.plots.view import view_of
from vaecli.runs import checkpoint
from vaecli.runs.config import RunConfig, read_config
from vaecli.runs.find import find_resumable
from vaecli.runs.folder import LAST, RunFolder, checkpoint_name, held, refuse_links, refuse_occupied
from vaecli.runs.logger import RunLogger
from vaecli.runs.rewind import rewind
from vaecli.training.interrupt import Interrupt
from vaecli.training.previews import Pictures
from vaecli.training.progress import TrainingProgress, terms
from vaecli.training.resume import (
    asked_for,
    best_bound,
    changes_of,
    changing,
    nothing_left,
    permitted,
    read_state,
    resume_command,
    with_later_best,
)
from vaecli.training.setup import Job, prepare
from vaecli.training.summary import (
    Observer,
    description,
    few_steps,
    headline,
    hyperparameters,
    identity,
    latents_in_use,
)
from vaecli.training.totals import mean_metrics
from vaecli.training.trainer import Plan, Trainer
from vaecli.utils.command_line import tensorboard
from vaecli.utils.errors import UserError
from vaecli.utils.progress import duration
from vaecli.utils.schema import plain
from vaecli.utils.text import say
from vaecli.utils.types import Values


class Before(NamedTuple):
    """What a run that goes on has done already."""

    state: dict[str, Any] | None  # of its last checkpoint; None where it had not come so far
    changes: Values  # the keys that the command line changes
    history: Sequence[Values]  # its lines of metrics.jsonl up to that checkpoint
    summary: Values


class Done(NamedTuple):
    bound: float  # the best checkpoint's, on the validation split (the training split without one)
    signal: int | None  # that arrived too late to stop the run


def sweep_job(config: RunConfig, origin: Origin, folder: RunFolder) -> Done:
    refuse_occupied(folder)
    with held(folder):
        config.write(folder)

        def job() -> Job:
            if config.output is not None:
                raise UserError(f"output={config.output}: a sweep makes a folder for each job; leave output out")
            return prepare(asked_for(config, origin.overrides))

        return train(folder, origin, job)


def resume(given: RunConfig, origin: Origin) -> Done:
    """Go on with a run in its own folder."""
    if origin.sweep_folder is not None:
        raise UserError(f"resume={given.resume}: a sweep cannot go on with a run; resume its runs one by one")
    if given.output is not None:
        raise UserError(f"output={given.output}: a run goes on in its own folder; leave output out")
    folder = find_resumable(str(given.resume))
    refuse_links(folder)
    with held(folder):
        state, summary = read_state(folder), folder.known_summary()
        stored = RunConfig.completed(read_config(folder.path) if state is None else state["config"], given)
        given = given.with_paths()
        keys = changing(stored, given, origin.overrides)
        changes = changes_of(stored, given, keys)
        config = permitted(stored, stored.with_changes(given, keys), folder.path, origin.overrides)
        epoch = state["epoch"] if state else 0
        if summary.get("status") == "completed":
            if state is None:
                raise UserError(f"resume={folder}: is complete, but has no {checkpoint_name(LAST)} to go on from")
            if config.epochs > stored.epochs:
                state = {**state, "best": {**state["best"], "waited": 0}}  # early stopping counts anew
            if finished := nothing_left(config, state):
                say(f"{folder} {finished}")
                return Done(best_bound(state), None)
        if config.epochs < epoch:
            raise UserError(f"epochs={config.epochs}: {folder} has trained {epoch} epochs already; ask for more")
        job = prepare(config)
        data = summary.get("data")
        if isinstance(data, dict) and data.get("sha256", job.splits.sha256()) != job.splits.sha256():
            raise UserError(f"resume={folder}: the data have changed (another checksum); start a new run")
        if state and changes:
            state = with_later_best(folder, state)
        before = Before(state, changes, rewind(folder, epoch), summary)
        job.config.write(folder)
        return train(folder, origin, lambda: job, before)


def train(folder: RunFolder, origin: Origin, make_job: Callable[[], Job], before: Before | None = None) -> Done:
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


def run(job: Job, folder: RunFolder, logger: RunLogger, origin: Origin, before: Before | None) -> Done:
    """Train, evaluate the best checkpoint on the test split, and write it all down."""
    config, device = job.config, next(job.model.parameters()).device
    logger.config(config.write(folder))
    logger.summarise(**identity(job, logger), **(resumption(before) if before else {}), **description(job, device))
    logger.say(headline(job, device, folder))
    if hint := few_steps(job):
        logger.say(hint)
    if job.warning:
        logger.say(f"warning: {job.warning}", style="yellow")
    if not job.model.decoder.training_bound:
        logger.say("figures of training batches (train, *) use each batch's own scale: they are no bound of log p(x)")
    look = view_of(job.dataset, job.splits.train.x_shape)
    pictures = Pictures(job.model, job.splits, look, logger, config.images.every_epochs, config.epochs)
    pictures.data()
    done = position(job, before)
    progress = TrainingProgress(len(job.splits.train), config.epochs, logger.console, logger.say, done=done)
    progress.mark = "" if job.model.decoder.training_bound else "*"
    with Interrupt() as interrupt, progress:
        trainer = Trainer(
            job.model, job.objective, job.optimizer, job.scheduler, job.splits, plan(config),
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
    if interrupt.requested and trainer.epoch < config.epochs:
        raise SystemExit(128 + interrupt.requested)
    return Done(finish(job, folder, logger, trainer, origin), interrupt.requested)


def plan(config: RunConfig) -> Plan:
    return Plan(
        config.epochs, config.batch_size, config.seed, config.validate.every_epochs,
        config.checkpoint.every_epochs, config.checkpoint.every_seconds, config.early_stopping.patience,
        config.clip_grad_norm,
    )  # fmt: skip


def position(job: Job, before: Before | None) -> int:
    """How many observations a run has been trained on before."""
    if before is None or before.state is None:
        return 0
    n, size = len(job.splits.train), job.config.batch_size
    epoch, step = before.state["epoch"], before.state["step"]
    return int(epoch * n + (step - epoch * -(-n // size)) * size)


def go_on(trainer: Trainer, job: Job, before: Before, logger: RunLogger) -> None:
    """Put the trainer where the run stopped, and say so."""
    state = before.state
    if state is None:
        logger.say("it was stopped before its first step: starting from there")
        return
    replanned = any(key == "epochs" or key.startswith(("scheduler", "optimizer")) for key in before.changes)
    schedule = job.scheduler.state_dict()
    try:
        trainer.restore(state, replanned)
    except Exception as error:  # what a file claims can fail to fit in any way
        raise UserError(
            f"{logger.folder.checkpoint(LAST).name} does not fit its own configuration: {checkpoint.summary(error)}"
        ) from None
    logger.say(f"going on after epoch {state['epoch']}, step {state['step']}" + told(before.changes))
    if any(key.startswith("objective") for key in before.changes) and trainer.epoch < trainer.plan.epochs:
        trainer.forget_best()
        logger.say("another objective has another bound: the best checkpoint is chosen anew from here on")
    if before.changes:
        trainer.save("last")  # with them in its configuration, so that they hold after another stop too
    horizon = {key: value for key, value in schedule.items() if state["scheduler"].get(key) != value}
    if "epochs" in before.changes and {"T_max", "total_steps"} & horizon.keys():
        name, epochs = job.config.scheduler.name, job.config.epochs
        logger.say(f"scheduler={name} runs over all epochs: from here on the rates are those of a run of {epochs}")


def told(changes: Values) -> str:
    return "".join(f", {key}={plain(value)}" for key, value in changes.items())


def resumption(before: Before) -> Values:
    """What summary.json says of the times that a run was resumed."""
    step = before.state["step"] if before.state else 0
    earlier = before.summary.get("resumed")
    resumed = {"step": step, "changes": dict(before.changes)}
    return {"resumed": [*(earlier if isinstance(earlier, list) else []), resumed]}


def finish(job: Job, folder: RunFolder, logger: RunLogger, trainer: Trainer, origin: Origin) -> float:
    """The test figures of the best checkpoint, for summary.json, TensorBoard and the user."""
    averaged = {} if trainer.average is None else {"test_ema": test_figures(job, folder, trainer, "ema")}
    test = {"test": test_figures(job, folder, trainer, "best"), **averaged}
    figures = {f"{name}/{key}": value for name, means in test.items() for key, value in means.items()}
    figures["best/elbo"] = trainer.best["elbo"]
    logger.hparams(hyperparameters(job.config, origin.sweep_over), figures, trainer.epoch)
    latents, warning = latents_in_use(job)
    logger.flush()  # once the run is called completed, nothing writes its figures again
    logger.summarise(status="completed", epochs=trainer.epoch, **test, **latents)
    for name, epoch in (("test", trainer.best["epoch"]), ("test_ema", trainer.best_average["epoch"])):
        if name in test:
            logger.say(
                f"{name.replace('_ema', ' (averaged weights)')} {terms(test[name])}"
                f"  (best checkpoint, epoch {epoch}; {duration(logger.seconds)})"
            )
    if warning:
        logger.say(warning, style="yellow")
    logger.say(f"wrote {folder}  ({tensorboard(folder.path)})")
    return float(trainer.best["bound"])


def test_figures(job: Job, folder: RunFolder, trainer: Trainer, which: str) -> dict[str, float]:
    """The mean metrics of a checkpoint on the test split."""
    path = folder.checkpoint(which)
    try:
        job.model.load_state_dict(checkpoint.load(path)["model"])
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the run's configuration: {checkpoint.summary(error)}") from None
    means = mean_metrics(job.model, job.objective, job.splits.test, trainer.step)
    return {key: means[key] for key in ("elbo", "bound", "log_px", "kl")}


def fail(logger: RunLogger, error: Exception) -> None:
    """Leave the reason in the run's folder, as far as that can be written."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    with suppress(UserError):
        logger.summarise(status="failed", error=text, seconds=round(logger.seconds, 2))
        logger.note(f"failed: {text}")
