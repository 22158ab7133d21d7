"""A table of the runs below a folder, read from their files: no model is built and torch is not imported."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

from vaecli.runs.diff import differing
from vaecli.runs.folder import RunFolder, folders_below
from vaecli.runs.names import BEST, LAST, SUMMARY
from vaecli.runs.read import Damaged
from vaecli.runs.records import Evaluation, EvaluationSettings, Summary
from vaecli.utils.errors import UserError, nearest
from vaecli.utils.files import expanded
from vaecli.utils.schema import flatten, is_number
from vaecli.utils.text import printable_lines, shorten
from vaecli.utils.types import Values

RISING = ("bound", "elbo", "test_elbo", "test_bound")  # higher is better: sorted from the highest down

T = TypeVar("T")


class Row(TypedDict):
    """A run in the table."""

    status: str
    dataset: str | None
    differences: Values
    epochs: int | None
    bound: float | None
    elbo: float | None
    test_elbo: float | None
    test_bound: float | None
    nll: float | None
    nll_k: int | None
    nll_protocol: str | None
    seconds: float | None
    folder: str
    error: str | None


COLUMNS = tuple(Row.__annotations__)


def table(path: str | os.PathLike[str] = "outputs", sort: str = "bound") -> list[Row]:
    """One row of COLUMNS for each run anywhere below `path`, best first.

    differences: the configuration keys in which the runs differ, with their values
    epochs: finished ones; bound, elbo: the best checkpoint's, on the validation split (the training split without one)
    test_elbo, test_bound: the best checkpoint's; seconds: wall time of the training
    nll: of evaluation.json, from nll_k draws; nll_protocol: observations, kind of draws, checkpoint
    Entries that a run does not have are None. UserError if the path is not a folder, and for an unknown column.
    """
    root = expanded(os.fspath(path))
    if root.is_file():
        raise UserError(f"path={path}: is a file; give a folder")
    if not root.is_dir():
        raise UserError(f"path={path}: there is no such folder; train a first run (vae train) or give another path")
    read = [read_run(folder) for folder in run_folders(root)]
    for (row, _), one in zip(read, differing([flat for _, flat in read]), strict=True):
        # keys that are columns are left out; JSON has no infinities
        row["differences"] = {key: finite(value) for key, value in one.items() if key not in COLUMNS}
    return sort_rows([row for row, _ in read], sort)


def run_folders(root: Path) -> list[RunFolder]:
    """Every folder with a summary.json, `root` included."""
    folders = folders_below(root, SUMMARY)
    return sorted(folders, key=lambda folder: [natural(part) for part in folder.path.parts])


def natural(text: str) -> list[tuple[int, str]]:
    """A key that puts job 10 of a sweep after job 9."""
    parts = re.split(r"([0-9]+)", text)  # every second one is a number, of any number of digits
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in enumerate(parts)]


def sort_rows(rows: list[Row], column: str) -> list[Row]:
    """Rows by a column or by a key that differs; a minus before it reverses the order. Empty ones come last."""
    name, reverse = column.removeprefix("-"), column.startswith("-")
    keys = list(dict.fromkeys(key for row in rows for key in row["differences"]))
    known = [key for key in COLUMNS if key != "differences"] + keys
    if name not in known:
        raise UserError(f"sort={column}: no such column{nearest(name, known)}\nThere are: {', '.join(known)}")
    values = [{**row["differences"], **row}.get(name) for row in rows]
    number = all(isinstance(value, int | float) for value in values if value is not None)
    keyed = [(value if number else natural(str(value)), row) for value, row in zip(values, rows, strict=True)
             if value is not None]  # fmt: skip
    keyed.sort(key=lambda pair: pair[0], reverse=(name in RISING) != reverse)
    return [row for _, row in keyed] + [row for value, row in zip(values, rows, strict=True) if value is None]


def read_run(folder: RunFolder) -> tuple[Row, Values]:
    """A run's row, still without the differences, and its flattened configuration."""
    problems: list[str] = []
    summary = attempt(lambda: summary_of(folder), None, problems)
    flat: Values = attempt(lambda: config_of(folder, summary), {}, problems)
    known = summary or Summary()
    best, test = known.best, known.test
    summarised = Progress(known.epochs, best.bound if best else None, best.elbo if best else None)
    progress = attempt(lambda: completed_by_metrics(folder, known, summarised), summarised, problems)
    evaluation = attempt(lambda: evaluation_of(folder, known), None, problems)
    row: Row = {
        "status": status_of(folder, known),
        "dataset": text(known.data.name if known.data else flat.get("dataset")),
        "differences": {},
        "epochs": progress.epochs,
        "bound": progress.bound,
        "elbo": progress.elbo,
        "test_elbo": test.elbo if test else None,
        "test_bound": test.bound if test else None,
        "nll": None if evaluation is None else evaluation.nll,
        "nll_k": None if evaluation is None else evaluation.protocol.k,
        "nll_protocol": None if evaluation is None else protocol_of(evaluation.protocol),
        "seconds": known.seconds,
        "folder": str(folder),
        "error": "; ".join([*filter(None, [text(known.error)]), *problems]) or None,
    }
    return row, flat


def attempt(read: Callable[[], T], otherwise: T, problems: list[str]) -> T:
    """What `read` returns, or `otherwise` and a line in `problems` if the file is damaged."""
    try:
        return read()
    except Damaged as error:
        problems.append(str(error))
        return otherwise


def status_of(folder: RunFolder, summary: Summary) -> str:
    """The status in summary.json, except that a run that was killed, and could not write it, is `stopped`.

    An interrupted run that is locked is being resumed, and reads its data.

    The lock of a run ends with its process. `unknown`: its lock cannot be seen from here, as it was begun on another
    machine, or by a version that did not record where, or lies on a disk that cannot lock folders.
    """
    if summary.status not in ("running", "interrupted"):
        return summary.status or "damaged"
    if locked := folder.is_locked:
        return "running"
    if summary.status == "interrupted":
        return summary.status
    if (now := folder.known_summary().status) != "running":  # it has ended since
        return now or "damaged"
    return "stopped" if locked is False and summary.host == socket.gethostname() else "unknown"


def summary_of(folder: RunFolder) -> Summary:
    summary = folder.read_summary()
    if summary.status is None:
        raise Damaged(f"{SUMMARY} has no status")
    return summary


def config_of(folder: RunFolder, summary: Summary | None) -> Values:
    """The flattened configuration; empty if the run may have ended before it wrote one."""
    may_lack_it = summary is None or summary.status in ("failed", "running")
    return {} if may_lack_it and not folder.config.exists() else flatten(folder.read_config())


class Progress(NamedTuple):
    """Finished epochs, and the best checkpoint's bound and ELBO."""

    epochs: int | None
    bound: float | None
    elbo: float | None


def completed_by_metrics(folder: RunFolder, summary: Summary, progress: Progress) -> Progress:
    """`progress`, completed from metrics.jsonl if the run is still training or was killed."""
    if progress.bound is not None or summary.status in ("failed", None):
        return progress
    best: Values | None = None
    for line in folder.read_metrics(has_figures):
        if best is None or (line.get("split") == "val", line["bound"]) > (best.get("split") == "val", best["bound"]):
            best = line
        last = line
    if best is None:
        return progress
    return Progress(
        progress.epochs or last["epoch"], best["bound"], best["elbo"] if progress.elbo is None else progress.elbo
    )


def has_figures(line: Values) -> bool:
    return all(is_number(line.get(key)) for key in ("epoch", "elbo", "bound"))


def evaluation_of(folder: RunFolder, summary: Summary) -> Evaluation | None:
    """The last evaluation, unless the run has been trained on since, so that its checkpoint is another one."""
    if not folder.evaluation.exists():
        return None
    found = folder.read_evaluation()
    now = {BEST: summary.best.epoch if summary.best else None, LAST: summary.epochs}.get(found.protocol.checkpoint)
    return found if now in (None, found.protocol.epoch) else None


def protocol_of(p: EvaluationSettings) -> str:
    """The settings behind an NLL besides k: "300 of 300 test observations, draws from q(z|x), best checkpoint"."""
    where = printable_lines(shorten(p.input or p.split or "", 60))
    whence = "the prior" if p.estimator == "prior" else "q(z|x)"
    checkpoint = printable_lines(shorten(p.checkpoint, 20))
    return f"{p.observations:,} of {p.of:,} {where} observations, draws from {whence}, {checkpoint} checkpoint"


def finite(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value if isinstance(value, bool | str | None) or is_number(value) else str(value)


def text(value: Any) -> str | None:
    return printable_lines(value) if isinstance(value, str) else None
