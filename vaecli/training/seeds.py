"""Trains one run, or one run for each of several seeds, each in its own folder."""

from __future__ import annotations

import shlex
import statistics
from dataclasses import replace
from pathlib import Path

from vaecli.config.compose import Invocation
from vaecli.runs.config import RunConfig, read_config
from vaecli.runs.folder import check_unoccupied, make, new_folder
from vaecli.runs.seeds import seed_folder, seed_folders, seed_runs, spread_of
from vaecli.training import lifecycle
from vaecli.training.stack import gains
from vaecli.training.together import Member, follow
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.text import say

PLACES = ("seeds", "seed", "output", "name", "resume")  # keys that differ from run to run


def start(config: RunConfig, invocation: Invocation) -> float:
    """Train as a command line asks; returns the best bound, or its mean over several seeds."""
    folder = None if config.resume is None else Path(config.resume)
    if folder is not None and seed_runs(folder):
        if config.seeds is not None:
            raise UserError(f"resume={folder} seeds={config.seeds}: a resumed run keeps its seeds; leave seeds out")
        return train_all(resumed(config, folder), invocation, folder)
    if config.seeds is None:
        return lifecycle.start(config, invocation)
    if folder is not None:
        raise UserError(f"resume={folder} seeds={config.seeds}: a resumed run keeps its seed; leave seeds out")
    if invocation.sweep_folder is not None:
        raise UserError(f"seeds={config.seeds}: a sweep takes a list of seeds, as in seed=0,1,2")
    return start_new(config, invocation, config.seeds)


def start_new(config: RunConfig, invocation: Invocation, count: int) -> float:
    """Train new runs with the seeds seed to seed + count - 1; all folders are created first."""
    seeds = range(config.seed, config.seed + count)
    if config.folder is not None:
        for seed in seeds:
            check_unoccupied(seed_folder(Path(config.folder), seed))
    folder = new_folder(config.folder, config.dataset.name).path
    for seed in seeds:
        make(seed_folder(folder, seed), exist_ok=True)
    return train_all([of_seed(config, folder, seed) for seed in seeds], invocation, folder)


def of_seed(config: RunConfig, folder: Path, seed: int) -> RunConfig:
    """The configuration of a new run with one of the seeds."""
    return replace(config, seed=seed, seeds=None, name=None, resume=None, output=str(seed_folder(folder, seed)))


def resumed(given: RunConfig, folder: Path) -> list[RunConfig]:
    """The configurations that resume the runs below a folder, and start those that had not begun."""
    begun = seed_runs(folder)
    one = RunConfig.from_stored(read_config(next(iter(begun.values())).path), given)
    return [
        replace(given, resume=str(run)) if seed in begun else of_seed(one, folder, seed)
        for seed, run in seed_folders(folder).items()
    ]


def train_all(configs: list[RunConfig], invocation: Invocation, folder: Path) -> float:
    """Train all runs, at once where that is faster, else one after another; returns the mean of their bounds."""
    first, *others = configs
    members = [Member(lifecycle.course(first, invocation_of_run(invocation, first)))]
    members[0].start()
    if others and members[0].trainer is not None and gains(members[0].trainer):
        quiet = [invocation_of_run(invocation, config)._replace(quiet=True) for config in others]
        members += [Member(lifecycle.course(*pair)) for pair in zip(others, quiet, strict=True)]
        others = []
        for member in members[1:]:
            member.start()
    elif others:
        say("nothing is gained by training runs of this size at once: they are trained one after another")
    follow(members)
    for member in members:
        if member.error is not None:
            raise member.error
    bounds = [member.bound for member in members]
    bounds += [lifecycle.start(config, invocation_of_run(invocation, config)) for config in others]
    test_elbo = spread_of(list(seed_runs(folder).values()))
    if test_elbo is not None:
        say(f"{folder}: test ELBO {test_elbo}")
    return statistics.fmean(bounds)


def invocation_of_run(invocation: Invocation, config: RunConfig) -> Invocation:
    """The invocation that would train one of the runs alone."""
    words = [word for word in shlex.split(invocation.command) if word.partition("=")[0] not in PLACES]
    keys = [key for key in invocation.typed_keys if key not in PLACES]
    if config.resume is not None:
        return Invocation(command([*words, setting("resume", config.resume)]), keys, None)
    words += [f"seed={config.seed}", setting("output", str(config.output))]
    return Invocation(command(words), [*keys, "seed"], None)
