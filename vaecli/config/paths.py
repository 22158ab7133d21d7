"""Completion of file and folder names, quoted as Hydra reads them; a complete one ends in a space."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from vaecli.runs.names import CHECKPOINTS, CONFIG
from vaecli.utils.command_line import RESERVED_WORDS

UNQUOTED = re.compile(r"[\w./:@+ -]*", re.ASCII)
SECONDS = 0.1  # at most, for finding out which folders hold runs


def folders(text: str) -> list[str]:
    return [name for name in files(text, os.DirEntry.is_dir) if name.endswith("/")]


def run_folders(text: str) -> list[str]:
    """Runs, and folders with runs somewhere below them."""
    until = time.monotonic() + SECONDS
    return files(text, lambda entry: entry.is_dir() and holds_run(entry.path, until), is_run)


def files(
    text: str,
    keep: Callable[[os.DirEntry[str]], bool] = lambda entry: True,
    is_complete: Callable[[str], bool] = os.path.isfile,
) -> list[str]:
    """The paths that begin with `text`; those of folders end in a slash."""
    quote, typed = ("'", text[1:]) if text.startswith("'") else ("", text)
    head, slash, start = typed.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(head + slash) or ".") as entries:
            matches = [entry for entry in entries if entry.name.startswith(start)]
        matches = sorted((one for one in matches if start or not one.name.startswith(".")), key=lambda one: one.name)
        names = [(one.name, is_complete(one.path)) for one in matches if keep(one)]
    except OSError:
        return []
    return [in_quotes(head + slash + name, done, quote) for name, done in names if not set(name) & set("'\\$")]


def in_quotes(path: str, done: bool, quote: str) -> str:
    """A path, quoted where Hydra would not read it literally; after a folder the quote stays open."""
    meant = path.lower() in RESERVED_WORDS or re.fullmatch(r"[\d._]*(e\d+)?", path)  # null, a number
    quote = quote or ("" if UNQUOTED.fullmatch(path) and not meant else "'")
    return f"{quote}{path}{quote} " if done else f"{quote}{path}/"


def is_run(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (CONFIG, CHECKPOINTS))


def holds_run(folder: str, until: float) -> bool:
    """Whether a folder is a run or contains one; True also if the time runs out first."""
    if is_run(folder) or time.monotonic() > until:
        return True
    try:
        inner = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return False
    return any(holds_run(path, until) for path in inner)
