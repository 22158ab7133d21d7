"""A table of the runs below a folder, read from their files: no model is built and torch is not imported."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from vaecli.differences import differing, flatten
from vaecli.errors import UserError, nearest, printable
from vaecli.validation import is_number

COLUMNS = ("status", "dataset", "differences", "epochs", "bound", "elbo", "test_elbo", "nll", "seconds", "folder",
           "error")  # fmt: skip
RISING = ("bound", "elbo", "test_elbo")  # the higher the better: these sort from the highest down
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster
LARGEST = 2**26  # bytes of a file that is read
DEEPEST = 50  # brackets and indentations within each other

Row = dict[str, Any]


class Damaged(Exception):
    """A file of a run that cannot be read."""


def table(path: str | os.PathLike[str] = "outputs", sort: str = "bound") -> list[Row]:
    """One row of COLUMNS for each run anywhere below `path`, best first.

    differences: the configuration keys in which the runs differ, with their values
    epochs: finished ones; bound, elbo: the best checkpoint's, on the validation split (the training split without one)
    test_elbo: the best checkpoint's; nll: of evaluation.json; seconds: wall time of the training
    What a run does not have is None. Raises UserError for a path that is no folder and for an unknown column.
    """
    root = Path(path).expanduser()
    if root.is_file():
        raise UserError(f"path={path}: is a file; give a folder")
    if not root.is_dir():
        raise UserError(f"path={path}: there is no such folder; train a first run (vae train) or give another path")
    rows = [read_run(folder) for folder in run_folders(root)]
    for row, one in zip(rows, differing([row.pop("flat") for row in rows]), strict=True):
        # a key that is a column already says nothing more; JSON has no infinities
        row["differences"] = {key: finite(value) for key, value in one.items() if key not in COLUMNS}
    return sort_rows([{key: row[key] for key in COLUMNS} for row in rows], sort)


def run_folders(root: Path) -> list[Path]:
    """Every folder with a summary.json, `root` included."""
    found = [Path(place) for place, _, names in os.walk(root) if "summary.json" in names]
    return sorted(found, key=lambda folder: [natural(part) for part in folder.parts])


def natural(text: str) -> list[tuple[int, int | str]]:
    """A key that puts job 10 of a sweep after job 9."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", text)]


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


def read_run(folder: Path) -> Row:
    """A run's row without its differences, but with its configuration, `flat`, and its checkpoints' epochs, `now`."""
    row: Row = {**dict.fromkeys(COLUMNS), "folder": str(folder), "flat": {}, "now": {}}
    problems: list[str] = []
    for part in (of_summary, of_config, of_metrics, of_evaluation):
        try:
            part(folder, row)
        except Damaged as error:
            problems.append(str(error))
    row["error"] = "; ".join([*([row["error"]] if row["error"] else []), *problems]) or None
    row["dataset"] = row["dataset"] or row["flat"].get("dataset")
    return row


def of_summary(folder: Path, row: Row) -> None:
    row["status"] = "damaged"  # should reading fail
    summary = mapping(folder / "summary.json", json.loads)
    best, test, data = (summary[key] if isinstance(summary.get(key), dict) else {} for key in ("best", "test", "data"))
    row |= {
        "status": text(summary.get("status")) or "damaged",
        "dataset": text(data.get("name")),
        "epochs": number(summary.get("epochs")),
        "bound": number(best.get("bound")),
        "elbo": number(best.get("elbo")),
        "test_elbo": number(test.get("elbo")),
        "seconds": number(summary.get("seconds")),
        "error": text(summary.get("error")),
        "now": {"best": number(best.get("epoch")), "last": number(summary.get("epochs"))},
    }
    if row["status"] == "damaged":
        raise Damaged("summary.json has no status")


def of_config(folder: Path, row: Row) -> None:
    path = folder / "config.yaml"
    if path.exists() or row["status"] not in ("failed", "damaged", "running"):
        row["flat"] = flatten(mapping(path, load_yaml))


def of_metrics(folder: Path, row: Row) -> None:
    """What the summary does not say: of a run that has not ended, or was killed, and every run's best bound."""
    if row["bound"] is not None or row["status"] in ("failed", "damaged"):
        return
    path = folder / "metrics.jsonl"
    lines = complete_lines(read(path)) if path.is_file() else []
    judged = [line for line in lines if line["split"] == "val"] or lines
    if not judged:
        return
    best = max(judged, key=lambda line: line["bound"])
    row["bound"] = best["bound"]
    row["elbo"] = best["elbo"] if row["elbo"] is None else row["elbo"]
    row["epochs"] = row["epochs"] or lines[-1]["epoch"]


def complete_lines(content: str) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, but for what cannot be used: the last one may be half written."""
    found = []
    for line in content.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and all(number(values.get(key)) is not None for key in ("epoch", "elbo", "bound")):
            found.append({"split": None, **values})
    return found


def of_evaluation(folder: Path, row: Row) -> None:
    """The last evaluation, unless the run has been trained on since, so that its checkpoint is another one."""
    path = folder / "evaluation.json"
    if not path.exists():
        return
    found = mapping(path, json.loads)
    protocol = found["protocol"] if isinstance(found.get("protocol"), dict) else {}
    epoch = row["now"].get(text(protocol.get("checkpoint")))
    if epoch is None or epoch == protocol.get("epoch"):
        row["nll"] = number(found.get("nll"))


def mapping(path: Path, parse: Any) -> dict[str, Any]:
    """A JSON or YAML file that holds a mapping; Damaged otherwise."""
    try:
        found = parse(read(path))
    except (ValueError, OverflowError, yaml.YAMLError, RecursionError):
        raise Damaged(f"{path.name} is damaged") from None
    if not isinstance(found, dict):
        raise Damaged(f"{path.name} is damaged")
    return found


def load_yaml(content: str) -> Any:
    """The values of a YAML text; aliases, by which little stands for much, and deep nesting are refused."""
    depth = 0
    for event in yaml.parse(content, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise ValueError("too deep, or with an alias")
    return yaml.load(content, Loader)


def read(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:  # a pipe, which would never end
            raise Damaged(f"{path.name} cannot be read (it is no regular file, or too large)")
        return path.read_text(errors="replace")
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None


def number(value: Any) -> int | float | None:
    """A value that is a finite number of usual size; None for all others."""
    return value if is_number(value) else None


def finite(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value if isinstance(value, bool | str | None) or number(value) is not None else str(value)


def text(value: Any) -> str | None:
    return "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else None
