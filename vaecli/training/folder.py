"""A run's folder: made for one run, held by one process, and taken back to its last checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vaecli.errors import UserError
from vaecli.files import check_writable, remove_leftovers, replace_text
from vaecli.training import events
from vaecli.validation import is_number

RUN_FILES = ("config.yaml", "summary.json", "metrics.jsonl", "checkpoints")
LOCK = ".lock"
FIGURES = ("step", "elbo", "bound", "log_px", "kl", "loss", "lr", "seconds")  # in every line of metrics.jsonl


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder for this process alone, until it ends in whatever way; UserError where another one holds it."""
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder}: another process is training this run; wait for it or stop it") from None
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror or error}") from None
    with lock:
        yield


def refuse_links(folder: Path) -> None:
    """UserError where a run's folder holds a link, which could lead what is written there to any file, or a pipe."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise UserError(
                f"{folder}: {path.name} is a link, and a run goes on in its own folder only; put what it leads to there"
            )
        if not path.is_file() and not path.is_dir():
            raise UserError(f"{folder}: {path.name} is neither a file nor a folder; take it away")


def refuse_occupied(folder: Path) -> None:
    """UserError where a folder holds a run already or cannot be written."""
    if any((folder / name).exists() for name in RUN_FILES):
        raise UserError(
            f"output={folder}: this folder already holds a run; choose another output, or continue it: "
            f"vae-train resume={folder}"
        )
    check_writable(folder)


def new_folder(output: str | None, dataset: str) -> Path:
    """Make the run's folder: `output`, or one of its own under outputs/<dataset>."""
    if output is not None:
        folder = Path(output).expanduser()
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
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    kept = [line for line in map(parsed, lines) if line is not None and line["epoch"] <= epoch]
    replace_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    events.rewind(folder, epoch)
    return kept


def parsed(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None for one that was cut off, or is none of ours."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or type(found.get("epoch")) is not int or not isinstance(found.get("split"), str):
        return None
    return found if all(is_number(found.get(key)) for key in FIGURES) else None


def read_summary(folder: Path) -> dict[str, Any]:
    """A run's summary.json; empty where there is none."""
    try:
        found = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
