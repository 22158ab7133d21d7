"""Finds the run that an earlier start of the same command line has left, to resume or to skip it."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from vaecli.runs.config import NON_DISTINGUISHING_KEYS, REQUEST_KEYS
from vaecli.runs.folder import RunFolder
from vaecli.runs.seeds import seed_folders, seed_runs

DONE = ("completed", "pruned")
WITHOUT_EFFECT = {*NON_DISTINGUISHING_KEYS, *REQUEST_KEYS} - {"repeat"}  # keys that do not change what is trained


def setting_words(command: str, ignored: Collection[str] = ()) -> Counter[str]:
    """The settings on a command line, in any order, except those of keys that do not change what is trained.

    ignored: further keys to leave out
    """
    words = [word for word in shlex.split(command) if "=" in word]
    return Counter(word for word in words if word.lstrip("+").partition("=")[0] not in {*WITHOUT_EFFECT, *ignored})


def runs_begun_by(folders: Iterable[Path], command: str, seeds: bool = False) -> list[Path]:
    """The folders with a run (or, with `seeds`, with runs of several seeds) that this command line has started.

    Folders whose runs are complete come last, and the newest of those at the end.
    """
    ignored = ("seed",) if seeds else ()
    wanted, found = setting_words(command, ignored), []
    for folder in folders:
        runs = list(seed_runs(folder).values()) if seeds else [RunFolder(folder)]
        known = runs[0].known_summary().command if runs else None
        if known is not None and setting_words(known, ignored) == wanted:
            found.append(folder)
    return sorted(found, key=lambda folder: (bound_of(folder) is not None, folder.stat().st_mtime))


def bound_of(folder: Path) -> float | None:
    """The best bound of a run that is complete, or the mean of those of several seeds; None if one of them is not."""
    runs = list(seed_folders(folder).values()) or [RunFolder(folder)]
    done = [summary.best for summary in (run.known_summary() for run in runs) if summary.status in DONE]
    bounds = [best.bound for best in done if best is not None and best.bound is not None]
    return statistics.fmean(bounds) if len(bounds) == len(runs) else None
