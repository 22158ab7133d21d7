"""Runs that differ only in their seed, each in <folder>/seed_N, and the spread of their figures."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.runs.folder import RunFolder

NAME = re.compile(r"seed_(0|[1-9][0-9]{0,18})", re.ASCII)


def seed_folder(folder: Path, seed: int) -> RunFolder:
    """The folder of the run with a seed."""
    return RunFolder(folder / f"seed_{seed}")


def seed_folders(folder: Path) -> dict[int, RunFolder]:
    """The folders for runs directly below a folder, by their seeds in ascending order; none if it is a run itself."""
    if RunFolder(folder).config.is_file():
        return {}
    found = {path: NAME.fullmatch(path.name) for path in folder.glob("seed_*/")}
    return dict(sorted((int(match[1]), RunFolder(path)) for path, match in found.items() if match))


def seed_runs(folder: Path) -> dict[int, RunFolder]:
    """The runs that have begun, by their seeds."""
    return {seed: run for seed, run in seed_folders(folder).items() if run.config.is_file()}


class Spread(NamedTuple):
    """The spread of a figure over n seeds."""

    n: int
    mean: float
    stderr: float  # of the mean: the standard deviation over the root of n; NaN for one
    std: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.stderr:.2g} (standard deviation {self.std:.2g}) over {self.n} seeds"


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard error and standard deviation of a figure."""
    std = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(len(values), statistics.fmean(values), std / len(values) ** 0.5, std)


def spread_of(runs: Sequence[RunFolder]) -> Spread | None:
    """The spread of the known test ELBOs; None for fewer than two."""
    tests = [run.known_summary().test for run in runs]
    known = [float(test.elbo) for test in tests if test is not None and test.elbo is not None]
    return spread(known) if len(known) > 1 else None


def paired_difference(runs: Sequence[RunFolder], others: Sequence[RunFolder]) -> Spread | None:
    """The spread of the differences of the test ELBOs, `runs` minus `others`, of the runs with equal names.

    None for fewer than two pairs.
    """
    tests = [{run.name: run.known_summary().test for run in side} for side in (runs, others)]
    pairs = [(one, tests[1].get(name)) for name, one in tests[0].items()]
    known = [float(one.elbo) - float(other.elbo) for one, other in pairs
             if one and other and one.elbo is not None and other.elbo is not None]  # fmt: skip
    return spread(known) if len(known) > 1 else None
