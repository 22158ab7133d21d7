"""A run's folder: made for one run, held by one process, and taken back to its last checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vaecli.runs import tensorboard as events
from vaecli.runs.read import Damaged, json_lines, load_json, mapping
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import check_writable, expanded, remove_leftovers, replace_text
from vaecli.utils.memory import check_memory
from vaecli.utils.schema import is_number

RUN_FILES = ("config.yaml", "summary.json", "metrics.jsonl", "checkpoints")
LOCK = ".lock"
WRITTEN = (*RUN_FILES, "images", "train.log", events.PATTERN, LOCK)
AS_VALUES = 20  # times its size is what a text of numbers takes as dicts and floats
FIGURES = ("step", "elbo", "bound", "log_px", "kl", "loss", "lr", "seconds")  # in every line of metrics.jsonl


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder for this process alone, until it ends in whatever way; UserError where another one holds it."""
    with ExitStack() as locks:
        try:
            locks.enter_context(FileLock(folder / LOCK).acquire(timeout=0))
            locks.enter_context(folder_locked(folder))
        except (Timeout, BlockingIOError):
            raise UserError(f"{folder}: another process is training this run; wait for it or stop it") from None
        except OSError as error:
            raise UserError(f"cannot write into {folder}: {error.strerror or error}") from None
        yield


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """The folder itself locked, where the system can do that: deleting the lock's file then lets nobody in."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open cannot be deleted
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a network file system that locks no folders
            pass
        yield
    finally:
        os.close(descriptor)


def refuse_links(folder: Path, names: Sequence[str] = ("*",)) -> None:
    """UserError where a run's folder holds a link, which could lead what is written there to any file, or a pipe.

    names: which of its entries are looked at
    """
    for path in sorted(path for path in folder.iterdir() if any(map(path.match, names))):
        if path.is_symlink():
            raise UserError(
                f"{folder}: {path.name} is a link, and a run writes in its own folder only; put what it leads to there"
            )
        if not path.is_file() and not path.is_dir():
            raise UserError(f"{folder}: {path.name} is neither a file nor a folder; take it away")


def refuse_occupied(folder: Path) -> None:
    """UserError where a folder holds a run already, cannot be written, or leads what is written there elsewhere."""
    if any((folder / name).exists() for name in RUN_FILES):
        raise UserError(
            f"output={folder}: this folder already holds a run; choose another output, or continue it: "
            + command(["vae-train", setting("resume", folder)])
        )
    check_writable(folder)
    if folder.is_dir():
        refuse_links(folder, WRITTEN)


def new_folder(output: str | None, dataset: str) -> Path:
    """Make the run's folder: `output`, or one of its own under outputs/<dataset>."""
    if output is not None:
        folder = expanded(output)
        refuse_occupied(folder)
        return make(folder, exist_ok=True)
    while True:
        folder = Path("outputs", dataset, datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
        try:
            return make(folder, exist_ok=False)
        except FileExistsError:  # a run that started in the same microsecond
            continue


def make(folder: Path, exist_ok: bool) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"output={folder}: cannot be made ({error.strerror}); choose another output") from None
    return folder


def rewind(folder: Path, epoch: int) -> list[dict[str, Any]]:
    """Take away what a run has written after `epoch`, to be written again; its lines of metrics.jsonl until then."""
    remove_leftovers(folder)
    path = folder / "metrics.jsonl"
    if path.is_file():
        check_memory(AS_VALUES * path.stat().st_size, str(path), "use a copy of the run without it")
    try:
        kept = [line for line in json_lines(path, usable) if line["epoch"] <= epoch] if path.exists() else []
    except Damaged as error:
        raise UserError(f"{folder}: {error}; a run cannot go on from it") from None
    replace_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    events.rewind(folder, epoch)
    return kept


def usable(line: dict[str, Any]) -> bool:
    """Whether a line of metrics.jsonl is one of ours."""
    if type(line.get("epoch")) is not int or not isinstance(line.get("split"), str):
        return False
    return all(is_number(line.get(key)) for key in FIGURES)


def read_summary(folder: Path) -> dict[str, Any]:
    """A run's summary.json; empty where there is none, or nothing like one."""
    try:
        return mapping(folder / "summary.json", load_json)
    except Damaged:
        return {}
