"""One run, or one for each of several seeds, each in a folder of its own."""

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
from vaecli.training.course import finish
from vaecli.training.stack import gains
from vaecli.training.together import Member, follow
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.text import say

PLACES = ("seeds", "seed", "output", "name", "resume")  # keys that are each run's own


def start(config: RunConfig, invocation: Invocation) -> float:
    """Train as a command line asks; the best bound, of several seeds their mean."""
    folder = None if config.resume is None else Path(config.resume)
    if folder is not None and seed_runs(folder):
        if config.seeds is not None:
            raise UserError(f"resume={folder} seeds={config.seeds}: it goes on with the seeds it has; leave seeds out")
        return train_all(resumed(config, folder), invocation, folder)
    if config.seeds is None:
        return lifecycle.start(config, invocation)
    if folder is not None:
        raise UserError(f"resume={folder} seeds={config.seeds}: a run goes on with its seed; leave seeds out")
    if invocation.sweep_folder is not None:
        raise UserError(f"seeds={config.seeds}: a sweep takes a list of seeds, as in seed=0,1,2")
    return start_new(config, invocation, config.seeds)


def start_new(config: RunConfig, invocation: Invocation, count: int) -> float:
    """Train new runs with the seeds seed to seed + count - 1; all folders are made first, by which they are known."""
    seeds = range(config.seed, config.seed + count)
    if config.folder is not None:
        for seed in seeds:
            check_unoccupied(seed_folder(Path(config.folder), seed))
    folder = new_folder(config.folder, config.dataset.name).path
    for seed in seeds:
        make(seed_folder(folder, seed), exist_ok=True)
    return train_all([of_seed(config, folder, seed) for seed in seeds], invocation, folder)


def of_seed(config: RunConfig, folder: Path, seed: int) -> RunConfig:
    """The configuration of one seed's run, which is new."""
    return replace(config, seed=seed, seeds=None, name=None, resume=None, output=str(seed_folder(folder, seed)))


def resumed(given: RunConfig, folder: Path) -> list[RunConfig]:
    """The configurations that go on with the runs below a folder, and start those that had not begun."""
    begun = seed_runs(folder)
    one = RunConfig.from_stored(read_config(next(iter(begun.values())).path), given)
    return [
        replace(given, resume=str(run)) if seed in begun else of_seed(one, folder, seed)
        for seed, run in seed_folders(folder).items()
    ]


def train_all(configs: list[RunConfig], invocation: Invocation, folder: Path) -> float:
    """Train all runs, at once where that is faster; the mean of their bounds."""
    first, *others = (lifecycle.course(config, told(invocation, config, i > 0)) for i, config in enumerate(configs))
    members = [Member(first)]
    members[0].start()
    if others and members[0].trainer is not None and gains(members[0].trainer):
        members += map(Member, others)
        for member in members[1:]:
            member.start()
        others = []
    elif others:
        say("nothing is gained by training runs of this size at once: they are trained one after another")
    follow(members)
    for member in members:
        if member.error is not None:
            raise member.error
    bounds = [member.bound for member in members] + [finish(course) for course in others]
    found = spread_of(list(seed_runs(folder).values()))
    if found is not None:
        say(f"{folder}: test ELBO {found}")
    return statistics.fmean(bounds)


def told(invocation: Invocation, config: RunConfig, quiet: bool) -> Invocation:
    """How one of the runs could have been asked for; quiet: its lines are in its own train.log alone."""
    words = [word for word in shlex.split(invocation.command) if word.partition("=")[0] not in PLACES]
    keys = [key for key in invocation.typed_keys if key not in PLACES]
    if config.resume is not None:
        return Invocation(command([*words, setting("resume", config.resume)]), keys, None, quiet)
    words += [f"seed={config.seed}", setting("output", str(config.output))]
    return Invocation(command(words), [*keys, "seed"], None, quiet)
