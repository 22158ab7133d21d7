"""A table of the runs below a folder, read from their files: no model is built and torch is not imported."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from vaecli.runs.diff import differing
from vaecli.runs.folder import RunFolder, folders_below
from vaecli.runs.names import SUMMARY
from vaecli.runs.read import Damaged
from vaecli.utils.errors import UserError, nearest
from vaecli.utils.files import expanded
from vaecli.utils.schema import flatten, is_number
from vaecli.utils.text import lines as printable_lines
from vaecli.utils.types import Values

COLUMNS = ("status", "dataset", "differences", "epochs", "bound", "elbo", "test_elbo", "test_bound", "nll", "seconds",
           "folder", "error")  # fmt: skip
RISING = ("bound", "elbo", "test_elbo", "test_bound")  # the higher the better: these sort from the highest down

Row = dict[str, Any]


def table(path: str | os.PathLike[str] = "outputs", sort: str = "bound") -> list[Row]:
    """One row of COLUMNS for each run anywhere below `path`, best first.

    differences: the configuration keys in which the runs differ, with their values
    epochs: finished ones; bound, elbo: the best checkpoint's, on the validation split (the training split without one)
    test_elbo, test_bound: the best checkpoint's; nll: of evaluation.json; seconds: wall time of the training
    What a run does not have is None. Raises UserError for a path that is no folder and for an unknown column.
    """
    root = expanded(os.fspath(path))
    if root.is_file():
        raise UserError(f"path={path}: is a file; give a folder")
    if not root.is_dir():
        raise UserError(f"path={path}: there is no such folder; train a first run (vae train) or give another path")
    rows = [read_run(folder) for folder in run_folders(root)]
    for row, one in zip(rows, differing([row.pop("flat") for row in rows]), strict=True):
        # a key that is a column already says nothing more; JSON has no infinities
        row["differences"] = {key: finite(value) for key, value in one.items() if key not in COLUMNS}
    return sort_rows([{key: row[key] for key in COLUMNS} for row in rows], sort)


def run_folders(root: Path) -> list[RunFolder]:
    """Every folder with a summary.json, `root` included."""
    found = folders_below(root, SUMMARY)
    return sorted(found, key=lambda folder: [natural(part) for part in folder.path.parts])


def natural(text: str) -> list[tuple[int, str]]:
    """A key that puts job 10 of a sweep after job 9."""
    parts = re.split(r"([0-9]+)", text)  # every second one is a number, of any number of digits
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in enumerate(parts)]


def sort_rows(rows: list[Row], column: str) -> list[Row]:
    """Rows by a column or by a key that differs; a minus before it turns the order round. Empty ones come last."""
    name, reverse = column.removeprefix("-"), column.startswith("-")
    keys = list(dict.fromkeys(key for row in rows for key in row["differences"]))
    known = [key for key in COLUMNS if key != "differences"] + keys
    if name not in known:
        raise UserError(f"sort={column}: no such column{nearest(name, known)}\nThere are: {', '.join(known)}")
    values = [row[name] if name in COLUMNS else row["differences"].get(name) for row in rows]
    number = all(isinstance(value, int | float) for value in values if value is not None)
    keyed = [(value if number else natural(str(value)), row) for value, row in zip(values, rows, strict=True)
             if value is not None]  # fmt: skip
    keyed.sort(key=lambda pair: pair[0], reverse=(name in RISING) != reverse)
    return [row for _, row in keyed] + [row for value, row in zip(values, rows, strict=True) if value is None]


def read_run(folder: RunFolder) -> Row:
    """A run's row without its differences, but with its configuration, `flat`, and its checkpoints' epochs, `now`."""
    row: Row = {**dict.fromkeys(COLUMNS), "folder": str(folder), "flat": {}, "now": {}}
    problems: list[str] = []
    for part in (of_summary, of_config, of_metrics, of_evaluation):
        try:
            part(folder, row)
        except Damaged as error:
            problems.append(str(error))
    row["error"] = "; ".join([*([row["error"]] if row["error"] else []), *problems]) or None
    row["dataset"] = row["dataset"] or text(row["flat"].get("dataset"))
    return row


def of_summary(folder: RunFolder, row: Row) -> None:
    row["status"] = "damaged"  # should reading fail
    summary = folder.read_summary()
    best, test, data = (summary[key] if isinstance(summary.get(key), dict) else {} for key in ("best", "test", "data"))
    row |= {
        "status": text(summary.get("status")) or "damaged",
        "dataset": text(data.get("name")),
        "epochs": number(summary.get("epochs")),
        "bound": number(best.get("bound")),
        "elbo": number(best.get("elbo")),
        "test_elbo": number(test.get("elbo")),
        "test_bound": number(test.get("bound")),
        "seconds": number(summary.get("seconds")),
        "error": text(summary.get("error")),
        "now": {"best": number(best.get("epoch")), "last": number(summary.get("epochs"))},
    }
    if row["status"] == "damaged":
        raise Damaged(f"{SUMMARY} has no status")


def of_config(folder: RunFolder, row: Row) -> None:
    if folder.config.exists() or row["status"] not in ("failed", "damaged", "running"):
        row["flat"] = flatten(folder.read_config())


def of_metrics(folder: RunFolder, row: Row) -> None:
    """What the summary does not say: of a run that has not ended, or was killed, and every run's best bound."""
    if row["bound"] is not None or row["status"] in ("failed", "damaged"):
        return
    best: Values | None = None
    for line in folder.read_metrics(has_figures):
        if best is None or (line.get("split") == "val", line["bound"]) > (best.get("split") == "val", best["bound"]):
            best = line
        last = line
    if best is not None:
        row["bound"] = best["bound"]
        row["elbo"] = best["elbo"] if row["elbo"] is None else row["elbo"]
        row["epochs"] = row["epochs"] or last["epoch"]


def has_figures(line: Values) -> bool:
    return all(number(line.get(key)) is not None for key in ("epoch", "elbo", "bound"))


def of_evaluation(folder: RunFolder, row: Row) -> None:
    """The last evaluation, unless the run has been trained on since, so that its checkpoint is another one."""
    if not folder.evaluation.exists():
        return
    found = folder.read_evaluation()
    protocol = found["protocol"] if isinstance(found.get("protocol"), dict) else {}
    epoch = row["now"].get(text(protocol.get("checkpoint")))
    if epoch is None or epoch == protocol.get("epoch"):
        row["nll"] = number(found.get("nll"))


def number(value: Any) -> int | float | None:
    """A value that is a finite number of usual size; None for all others."""
    return value if is_number(value) else None


def finite(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value if isinstance(value, bool | str | None) or number(value) is not None else str(value)


def text(value: Any) -> str | None:
    return printable_lines(value) if isinstance(value, str) else None
