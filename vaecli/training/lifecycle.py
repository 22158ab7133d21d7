"""One training run from start to end: new, in a sweep, repeated or resumed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from vaecli.config.compose import Invocation
from vaecli.models.build import calibrate
from vaecli.plots.columns import Reference
from vaecli.plots.view import view_of
from vaecli.runs.config import RunConfig
from vaecli.runs.find import find_resumable
from vaecli.runs.folder import RunFolder, check_no_links, check_unoccupied, checkpoint_name, lock_run, new_folder
from vaecli.runs.logger import RunLogger
from vaecli.runs.names import LAST
from vaecli.runs.records import Resumed, Summary
from vaecli.runs.rewind import rewind
from vaecli.training.candidates import or_nan
from vaecli.training.ending import report_test_figures
from vaecli.training.interrupt import Interrupt, agreed_signal
from vaecli.training.plan import Plan, Prune
from vaecli.training.previews import Pictures
from vaecli.training.progress import TrainingProgress
from vaecli.training.resume import (
    misfit_as_user_error,
    new_or_repeated,
    nothing_left,
    observations_done,
    read_state,
    resume_command,
    with_newer_best,
    with_permitted_paths,
)
from vaecli.training.setup import TrainingSetup, make_update, prepare
from vaecli.training.state import ResumeState
from vaecli.training.summary import (
    RunRecorder,
    description,
    few_steps,
    headline,
    identity,
    large_values,
    reading_of,
)
from vaecli.training.trainer import Trainer, TrainingGenerator
from vaecli.utils.errors import SAID, UserError
from vaecli.utils.ranks import broadcast_text, leads, scratch_folder
from vaecli.utils.schema import as_typed
from vaecli.utils.text import plural, say


def start_run(config: RunConfig, invocation: Invocation) -> TrainingGenerator[float]:
    """The run that a command line asks for; returns its best bound on the validation split, or the training split.

    All runs, however they begin, go through `run_in_folder`.
    """
    if not leads():  # only one of several processes writes the run's folder
        invocation = invocation._replace(sweep_folder=None, quiet=True)
        config = config if config.resume is not None else replace(config, name=None, output=str(scratch_folder()))
    return start_new(config, invocation) if config.resume is None else start_resumed(config, invocation)


def start_new(config: RunConfig, invocation: Invocation) -> TrainingGenerator[float]:
    """A new run, or the repetition of one.

    Its folder is created after everything has been checked. A sweep has created one already: a job that is refused
    records its reason there.
    """
    make_setup: Callable[[], TrainingSetup] = partial(new_setup, config, invocation)
    if invocation.sweep_folder is None:
        setup = make_setup()
        config, make_setup = setup.config, lambda: setup
        folder = new_folder(config.folder, config.dataset.name)
    else:
        folder = RunFolder(invocation.sweep_folder)
    with lock_run(folder):
        check_unoccupied(folder)  # another process may have started a run there
        config.write(folder)
        return (yield from run_in_folder(folder, invocation, make_setup))


def new_setup(config: RunConfig, invocation: Invocation) -> TrainingSetup:
    """The setup of a new run; UserError for anything that is refused."""
    if invocation.sweep_folder is not None and config.output is not None:
        raise UserError(f"output={config.output}: a sweep makes a folder for each job; leave output out")
    if config.output is not None and config.name is not None:
        raise UserError(f"output={config.output} name={config.name}: both say where the run goes; give one of them")
    if invocation.sweep_folder is not None:
        config = replace(config, name=None)  # the name is that of the whole sweep
    config = new_or_repeated(config, invocation.typed_keys)
    if config.folder is not None:
        check_unoccupied(RunFolder(Path(config.folder)))
    return prepare(config)


def start_resumed(given: RunConfig, invocation: Invocation) -> TrainingGenerator[float]:
    """Resume a run in its own folder."""
    if invocation.sweep_folder is not None:
        raise UserError(f"resume={given.resume}: a sweep cannot resume a run; resume its runs one by one")
    if given.output is not None:
        raise UserError(f"output={given.output}: a run is resumed in its own folder; leave output out")
    if given.name is not None:
        raise UserError(f"name={given.name}: a run is resumed in its own folder; leave name out")
    folder = RunFolder(Path(str(broadcast_text(str(find_resumable(str(given.resume))) if leads() else None))))
    check_no_links(folder)
    with lock_run(folder) if leads() else nullcontext():
        (values, state), summary = read_state(folder), folder.known_summary()
        stored, given = RunConfig.from_stored(values, given), given.with_paths()
        keys = stored.changed_keys(given, invocation.typed_keys)
        changes = stored.changed_values(given, keys)
        config = with_permitted_paths(stored, stored.with_changes(given, keys), folder.path, invocation.typed_keys)
        epoch = state.epoch if state else 0
        if summary.status == "completed":
            if state is None:
                raise UserError(f"resume={folder}: is complete, but has no {checkpoint_name(LAST)} to resume from")
            if config.n_epochs > stored.n_epochs:  # early stopping counts from 0 again
                state = state._replace(best=state.best._replace(validations_since_best=0))
            if finished := nothing_left(config, state):
                say(f"{folder} {finished}")
                return or_nan(state.best.bound)
        if state and config.n_epochs < epoch:
            trained = plural(epoch, "epoch")
            raise UserError(f"epochs={config.epochs}: {folder} has trained {trained} already; ask for more")
        if state and changes:
            state = with_newer_best(folder, state)
        setup = prepare(config)
        if summary.data and summary.data.sha256 not in (None, setup.splits.sha256()):
            raise UserError(f"resume={folder}: the data have changed (another checksum); start a new run")
        resume = ResumeState(state, changes, rewind(folder, epoch) if leads() else [], summary)
        place = folder if leads() else RunFolder(scratch_folder())
        return (yield from run_in_folder(place, invocation, lambda: setup, resume))


def run_in_folder(
    folder: RunFolder,
    invocation: Invocation,
    make_setup: Callable[[], TrainingSetup],
    resume: ResumeState | None = None,
) -> TrainingGenerator[float]:
    """Train in a folder that this process has locked, and record how the run ended.

    Raises the exception that ended it; SystemExit also if a signal came too late to stop it, so that a sweep ends.
    """
    history, summary = (resume.history, resume.summary) if resume else ([], Summary(command=invocation.command))
    logger = RunLogger(folder, Console(quiet=invocation.quiet), history, summary)
    try:
        logger.summarise(status="running", host=socket.gethostname())
        setup = make_setup()
        trainer = yield from train_in_folder(setup, logger, resume, invocation)
        signal = agreed_signal(trainer.interrupt)
        if signal and trainer.epoch < setup.config.n_epochs:
            raise SystemExit(128 + signal)
        report_test_figures(setup, logger, trainer, invocation.swept_keys)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        record_failure(logger, error)
        raise
    finally:
        logger.close()
    if signal:
        raise SystemExit(128 + signal)
    return or_nan(trainer.best.bound)


def train_in_folder(
    setup: TrainingSetup, logger: RunLogger, resume: ResumeState | None, invocation: Invocation
) -> TrainingGenerator[Trainer]:
    """Record what is trained, and train to the end or an interrupt; returns the trainer."""
    announce(setup, logger, resume, invocation)
    config, data = setup.config, setup.splits.train
    look = view_of(setup.dataset, data.x_shape, config.images.channels, lambda: Reference.of(data))
    pictures = Pictures(setup.model, setup.splits, look, logger, config.images.every_epochs, config.n_epochs)
    pictures.data()
    done = observations_done(setup, resume)
    progress = TrainingProgress(len(setup.splits.train), config.n_epochs, logger.console, logger.say, done=done)
    progress.mark = "" if setup.model.decoder.training_bound else "*"
    update = make_update(setup, logger.say)
    recorder = RunRecorder(setup, logger, pictures)
    refit = partial(calibrate, train=setup.splits.train)
    with Interrupt() as interrupt, progress:
        trainer = Trainer(update, setup.splits, plan(setup, invocation.prune), recorder, progress, interrupt, refit)
        if resume:
            restore_trainer(trainer, setup, resume, logger)
        yield from trainer.epochs()
    if trainer.pruned:
        logger.say(f"pruned after epoch {trainer.epoch}: its bounds are hopeless compared with those of other trials")
    pictures.curves()
    speed = (progress.done - done) / max(trainer.seconds, 1e-9)
    best = {"epoch": trainer.best.epoch, "elbo": trainer.best.elbo, "bound": trainer.best.bound}
    logger.summarise(
        epochs=trainer.epoch, best=best, seconds=round(logger.seconds, 2), observations_per_second=round(speed, 1)
    )
    return trainer


PRINTED: set[tuple[Path, str]] = set()  # sweeps' folders, and the remarks that their jobs have printed


def announce(setup: TrainingSetup, logger: RunLogger, resume: ResumeState | None, invocation: Invocation) -> None:
    """Print and record what is trained, before the first step.

    Remarks are only in train.log if an earlier run of the command has printed them, as another job of the sweep may.
    """
    device = next(setup.model.parameters()).device
    reading = reading_of(setup)
    for line in [*reading.lines(), *reading.kind_lines()]:
        logger.say(line)
    logger.config(setup.config.write(logger.folder))
    logger.summarise(identity(setup, logger), resumption(resume) if resume else Summary(), description(setup, device))
    logger.say(headline(setup, device, logger.folder))
    remarks = [(hint, "") for hint in (few_steps(setup), large_values(setup)) if hint]
    if setup.warning:
        remarks.append((f"warning: {setup.warning}", "yellow"))
    if not setup.model.decoder.training_bound:
        remarks.append(("training ELBOs are marked *: sigma is fitted to each batch, so they are not lower bounds", ""))
    for remark, style in remarks:
        if invocation.hints and not said_in_sweep(remark, invocation.sweep_folder):
            logger.say(remark, style)
        else:
            logger.note(remark)


def said_in_sweep(remark: str, job: Path | None) -> bool:
    """Whether another job of the sweep has printed it in this process; remembers it for the next jobs."""
    if job is None:
        return False
    known = (job.parent, remark) in PRINTED
    PRINTED.add((job.parent, remark))
    return known


def plan(setup: TrainingSetup, prune: Prune | None = None) -> Plan:
    config = setup.config
    validate, save = (config.every_epochs(one.every_epochs) for one in (config.validate, config.checkpoint))
    return Plan(
        config.n_epochs, config.batch_size, config.seed, validate, save, config.checkpoint.every_seconds,
        config.early_stopping.patience, large_values(setup), prune,
    )  # fmt: skip


def restore_trainer(trainer: Trainer, setup: TrainingSetup, resume: ResumeState, logger: RunLogger) -> None:
    """Restore the trainer to where the run stopped, and print it."""
    state = resume.training
    if state is None:
        logger.say("the run was stopped before its first step and starts at the beginning")
        return
    schedule = setup.scheduler.state_dict()
    with misfit_as_user_error(logger.folder.checkpoint(LAST)):
        before = state.optimizer["param_groups"][0]["lr"]
        trainer.restore(state, resume.replanned)
    changes = "".join(f", {key}={as_typed(value)}" for key, value in resume.changes.items())
    logger.say(f"resuming after epoch {state.epoch}, step {state.step}{changes}")
    if any(key.startswith("objective") for key in resume.changes) and trainer.epoch < trainer.plan.epochs:
        for candidate in trainer.candidates:
            candidate.forget_best()
        logger.say("the objective has changed, and its bound cannot be compared with earlier ones: the best "
                   "checkpoint is chosen among later validations only")  # fmt: skip
    if resume.changes:
        trainer.save_last()  # with the changes in its configuration, so that they hold after another stop too
    horizon = {key: value for key, value in schedule.items() if state.scheduler.get(key) != value}
    if "epochs" in resume.changes and {"T_max", "total_steps"} & horizon.keys():
        name, now = setup.config.scheduler.name, setup.optimizer.param_groups[0]["lr"]
        logger.say(
            f"scheduler={name} runs over all epochs: the learning rate was {before:.3g} when the run stopped, "
            f"is {now:.3g} now, and continues as in a run of {setup.config.n_epochs} epochs"
        )


def resumption(resume: ResumeState) -> Summary:
    """The entry of summary.json about each time that the run was resumed."""
    resumed = Resumed(step=resume.training.step if resume.training else 0, changes=dict(resume.changes))
    return Summary(resumed=[*(resume.summary.resumed or []), resumed])


def record_failure(logger: RunLogger, error: BaseException) -> None:
    """Record in the run's folder why it was not completed, if that can still be written."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        with suppress(UserError):
            logger.summarise(status="interrupted", seconds=round(logger.seconds, 2))
        logger.say(f"interrupted; to resume: {resume_command(logger.folder)}")
        error.add_note(SAID)
        return
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    with suppress(UserError):
        logger.summarise(status="failed", error=text, seconds=round(logger.seconds, 2))
        logger.note(f"failed: {text}")
