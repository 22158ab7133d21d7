"""Finds the folder that run= or resume= names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vaecli.runs.folder import RunFolder, checkpoint_name, checkpoints_below, folders_below
from vaecli.runs.names import BEST, CONFIG, LAST
from vaecli.runs.table import natural
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.version import __version__

VERSION = re.compile(r"[\w.+-]{1,30}", re.ASCII)


def find_resumable(run: str) -> RunFolder:
    """The folder of a run with a configuration; `latest` is the one written to last, anywhere under outputs."""
    if run == "latest":
        folders = [folder for folder in folders_below(Path("outputs"), CONFIG) if folder.config.is_file()]
        if not folders:
            raise UserError(f"resume=latest: no run under {Path('outputs').absolute()}; start one: vae train")
        return of_this_version(max(folders, key=last_written))
    folder = RunFolder(Path(run))
    if not folder.path.is_dir():
        raise UserError(f"resume={run}: there is no such folder; give a run's folder or resume=latest")
    if not folder.config.is_file() and not folder.has(LAST):
        raise UserError(f"resume={run}: this folder holds no run to resume; to train a new one there: output={run}")
    return of_this_version(folder)


def of_this_version(folder: RunFolder) -> RunFolder:
    """The folder; UserError if its checkpoints were written by an earlier version, which this one does not read."""
    if not folder.earlier_checkpoints:
        return folder
    version = (folder.known_summary().versions or {}).get("vaecli", "")
    known = VERSION.fullmatch(version) and version != __version__
    raise UserError(
        f"{folder.earlier_checkpoints[0]} was written by {f'vaecli {version}' if known else 'an earlier version'} and "
        f"cannot be read; to train it anew: {command(['vae-train', setting('repeat', folder.path)])}"
    )


def last_written(folder: RunFolder) -> float:
    """When a run last wrote its configuration, its summary or its last checkpoint."""
    paths = [folder.config, folder.summary, folder.checkpoint(LAST)]
    return max(path.stat().st_mtime for path in paths if path.is_file())


def find_run(run: str, which: str = BEST) -> RunFolder:
    """The folder of a run; `latest` is the newest one with that checkpoint anywhere under outputs."""
    if run != "latest":
        folder = RunFolder(expanded(run))
        if folder.path.is_file():
            raise UserError(f"run={run}: is a file; give the run's folder")
        if not folder.path.is_dir():
            raise UserError(f"run={run}: there is no such folder; give a run's folder or run=latest")
        if not folder.has_any_checkpoint:
            below = runs_of_jobs(folder.path)
            wanted = f"{checkpoint_name(BEST)} or {folder.checkpoint(LAST).name}"
            there = "is 1 run" if len(below) == 1 else f"are {len(below):,} runs"
            hint = f"; there {there} below it{which_of(below)}" if below else ""
            raise UserError(f"run={run}: this folder holds no checkpoint ({wanted}){hint}")
        return of_this_version(folder)
    names = (Path(checkpoint_name(which)).name, f"{which}.pt")
    checkpoints = [path for name in names for path in checkpoints_below(Path("outputs"), name)]
    if not checkpoints:
        if which == "ema" and next(iter(checkpoints_below(Path("outputs"), Path(checkpoint_name(BEST)).name)), None):
            raise UserError("run=latest: no run under outputs has averaged weights; train one with ema.decay=0.999, or "
                            "leave checkpoint=ema out")  # fmt: skip
        raise UserError(
            f"run=latest: no run with a checkpoint under {Path('outputs').absolute()}; train one: vae train"
        )
    return of_this_version(RunFolder(max(checkpoints, key=lambda path: path.stat().st_mtime).parent.parent))


def which_of(runs: Sequence[RunFolder], most: int = 20) -> str:
    """The names of a few runs, or of the first one, for a message."""
    if len(runs) > most or not all(run.name.startswith("seed_") for run in runs):
        return f", as {runs[0]}"
    return f": {', '.join(map(str, runs))}"


def runs_below(folder: Path) -> list[RunFolder]:
    """The runs directly below a folder, such as a sweep's, that have a checkpoint; in the order of their numbers."""
    runs = [run for run in map(RunFolder, folder.glob("*/")) if run.has_any_checkpoint]
    return sorted(runs, key=lambda run: natural(run.name))


def runs_of_jobs(folder: Path) -> list[RunFolder]:
    """The runs directly below a folder, or, of a sweep with several seeds for each job, the first one of each job."""
    jobs = sorted(folder.glob("*/"), key=lambda path: natural(path.name))
    return runs_below(folder) or [runs[0] for runs in map(runs_below, jobs) if runs]
