"""Trains one run, or one run for each of several seeds, each in its own folder."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vaecli.config.compose import Invocation
from vaecli.runs.config import NON_DISTINGUISHING_KEYS, RunConfig, read_config
from vaecli.runs.earlier import bound_of, runs_begun_by
from vaecli.runs.folder import check_unoccupied, create_folder, new_folder
from vaecli.runs.seeds import seed_folder, seed_folders, seed_runs, spread_of
from vaecli.training import lifecycle
from vaecli.training.stack import against_stacking
from vaecli.training.together import Member, drive
from vaecli.utils.cluster import in_job
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.ranks import broadcast_text, leads, restarted, world
from vaecli.utils.text import say
from vaecli.utils.threads import flushed_denormals

PER_RUN_KEYS = ("seeds", "seed", "output", "name", "resume", "sweep.skip_completed")  # keys that differ from run to run


@flushed_denormals()
def start(config: RunConfig, invocation: Invocation) -> float:
    """Train as a command line asks; returns the best bound, or its mean over several seeds."""
    if config.sweep.skip_completed and invocation.sweep_folder is None:
        raise UserError("sweep.skip_completed=true: is only for sweeps; add -m, or resume a single run with resume=RUN")
    goes_on = config.sweep.skip_completed or (config.resume is None and (restarted() or in_job()))
    if goes_on and (name := broadcast_text(earlier_run(config, invocation) if leads() else None)) is not None:
        earlier = Path(name)
        bound = bound_of(earlier)
        if bound is not None:
            say(f"{earlier} is complete")
            return bound
        config, invocation = resumption_of_job(config, invocation, earlier)
    resume = None if config.resume is None else Path(config.resume)
    several = resume is not None and bool(seed_runs(resume))
    if config.seeds is None and not several:
        return train_all([(config, invocation)])
    if config.seeds is not None and resume is not None:
        raise UserError(f"resume={resume} seeds={config.seeds}: a resumed run keeps its seeds; leave seeds out")
    if invocation.sweep_folder is not None:
        if config.output is not None:
            raise UserError(f"output={config.output}: a sweep makes a folder for each job; leave output out")
        config = replace(config, name=None, output=str(invocation.sweep_folder))
    folder, configs = new_runs(config) if resume is None else (resume, resumed(config, resume))
    bound = train_all([(one, invocation_of_run(invocation, one)) for one in configs])
    test_elbo = spread_of(list(seed_runs(folder).values()))
    if test_elbo is not None:
        say(f"{folder}: test ELBO {test_elbo}")
    return bound


def earlier_run(config: RunConfig, invocation: Invocation) -> str | None:
    """The folder of the run that an earlier start of this command line, or of the sweep, has begun.

    The empty folder that the sweep has made for the job is removed.
    """
    seeds, job = config.seeds is not None, invocation.sweep_folder
    if job is None:  # torchrun has started the processes again
        folders = Path("outputs", config.dataset.name).glob("*/") if config.folder is None else [Path(config.folder)]
        found = sorted(runs_begun_by(folders, invocation.command, seeds), key=lambda folder: folder.stat().st_mtime)
    else:
        found = runs_begun_by(sorted(job.parent.glob("*/")), invocation.command, seeds)
    if not found:
        return None
    if job is not None and not found[-1].samefile(job) and not any(job.iterdir()):
        job.rmdir()
    return str(found[-1])


def resumption_of_job(config: RunConfig, invocation: Invocation, folder: Path) -> tuple[RunConfig, Invocation]:
    """What resumes a sweep's job in the folder where it was begun."""
    keys = [key for key in invocation.typed_keys if key.startswith("dataset.") or key in NON_DISTINGUISHING_KEYS]
    config = replace(config, resume=str(folder), name=None, seeds=None)
    return config, invocation._replace(typed_keys=keys, sweep_folder=None)


def new_runs(config: RunConfig) -> tuple[Path, list[RunConfig]]:
    """The folder of new runs with the seeds seed to seed + seeds - 1, and their configurations; creates all folders."""
    seeds = range(config.seed, config.seed + (config.seeds or 1))
    if config.folder is not None:
        for seed in seeds:
            check_unoccupied(seed_folder(Path(config.folder), seed))
    folder = new_folder(config.folder, config.dataset.name).path
    for seed in seeds:
        create_folder(seed_folder(folder, seed), exist_ok=True)
    return folder, [of_seed(config, folder, seed) for seed in seeds]


def of_seed(config: RunConfig, folder: Path, seed: int) -> RunConfig:
    """The configuration of a new run with one of the seeds."""
    return replace(config, seed=seed, seeds=None, name=None, resume=None, output=str(seed_folder(folder, seed)))


def resumed(given: RunConfig, folder: Path) -> list[RunConfig]:
    """The configurations that resume the runs below a folder, and start those that have not begun."""
    begun = seed_runs(folder)
    one = RunConfig.from_stored(read_config(next(iter(begun.values())).path), given)
    return [
        replace(given, resume=str(run)) if seed in begun else of_seed(one, folder, seed)
        for seed, run in seed_folders(folder).items()
    ]


def train_all(runs: Sequence[tuple[RunConfig, Invocation]]) -> float:
    """Train runs, at once if that is faster, else one after another; returns the mean of their best bounds."""
    first, *others = runs
    members = start_members([first])
    reason = against_training_together(members[0]) if others else None
    if others and reason is None:
        members += start_members([(config, invocation._replace(quiet=True)) for config, invocation in others])
        others = []
    elif others:
        say(f"these runs are trained one after another: {reason}")
    bounds = drive(members)
    for config, invocation in others:
        bounds += drive(start_members([(config, invocation._replace(hints=False))]))
    return statistics.fmean(bounds)


def against_training_together(first: Member) -> str | None:
    """Why runs like the first one are not trained at once; None if they are."""
    if world() > 1:
        return "all processes work on the same one"
    return "the first has ended" if first.trainer is None else against_stacking(first.trainer)


def start_members(runs: Sequence[tuple[RunConfig, Invocation]]) -> list[Member]:
    """Start the runs; each pauses before its first epoch."""
    members = [Member(lifecycle.start_run(config, invocation)) for config, invocation in runs]
    for member in members:
        member.start()
    return members


def invocation_of_run(invocation: Invocation, config: RunConfig) -> Invocation:
    """The invocation that would train one of the runs alone."""
    words = [word for word in shlex.split(invocation.command) if word.partition("=")[0] not in PER_RUN_KEYS]
    keys = [key for key in invocation.typed_keys if key not in PER_RUN_KEYS]
    if config.resume is not None:
        return Invocation(command([*words, setting("resume", config.resume)]), keys, None)
    words += [f"seed={config.seed}", setting("output", str(config.output))]
    return Invocation(command(words), [*keys, "seed"], None)
