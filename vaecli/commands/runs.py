"""`vae runs`: the runs below a folder as a table."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding

from vaecli.commands._run import Keys, Written
from vaecli.runs.seeds import paired_difference, seed_runs, spread_of
from vaecli.runs.table import COLUMNS, Row, natural, table
from vaecli.utils.command_line import command, setting
from vaecli.utils.files import check_output, expanded, replace_text
from vaecli.utils.progress import duration
from vaecli.utils.schema import as_typed
from vaecli.utils.text import csv_line, plural, printable, rich, say, shorten

HEADINGS = {"bound": "best bound", "test_elbo": "test ELBO", "nll": "NLL", "seconds": "time",
            "differences": "what differs"}  # fmt: skip
STYLES = {"failed": "red", "damaged": "red", "interrupted": "yellow", "stopped": "yellow", "unknown": "yellow",
          "running": "cyan", "pruned": "dim"}  # fmt: skip
SHORT_COLUMNS = ("status", "dataset", "epochs", "bound", "test_elbo", "nll", "seconds")
LONG_COLUMNS = ("differences", "error", "folder")
MAX_RESUMABLE = 3  # commands that resume a run
MAX_ERROR, MAX_VALUE, MAX_DIFFERENCES = 120, 60, 240  # characters of a message, a value and all that differ
NUMERIC = ("epochs", "bound", "test_elbo", "nll", "seconds")


@dataclass
class Config(Keys):
    path: str
    sort: str
    format: Literal["table", "csv", "json"]
    output: str | None
    target: Path | None = field(init=False)

    def prepare(self) -> list[Any]:
        self.target = None
        if self.output is not None:
            self.target = check_output(expanded(self.output), "txt" if self.format == "table" else self.format,
                                       "change name or format")  # fmt: skip
        return []


def main(config: Config) -> list[Written]:
    """Print the table, or write it."""
    rows = table(config.path, config.sort)
    if config.format == "table" and config.target is None:
        print_table(rows, config.path, Console())
        return []
    if config.format == "table":
        file = io.StringIO()
        print_table(rows, config.path, Console(file=file))
        written = file.getvalue()
    else:
        written = as_csv(rows) if config.format == "csv" else as_json(rows)
    if config.target is None:
        sys.stdout.write(written)
        return []
    replace_text(config.target, written)
    return [Written(config.target, f": {plural(len(rows), 'run')}")]


def print_runs(folder: Path) -> None:
    """Print the table of the runs below a folder, such as a sweep's, the best bound first."""
    print_table(table(folder), str(folder), Console())


def print_table(rows: Sequence[Row], path: str, console: Console) -> None:
    """A line for each run; in a terminal too narrow for that, its figures and below them the longer columns.

    Lines are cut to the width of the terminal.
    """
    if not rows:
        show(console, f"no runs under {path}; train one: vae train")
        return
    failed = sum(row["status"] == "failed" for row in rows)
    show(console, f"{plural(len(rows), 'run')} under {path}" + (f", {failed} failed" if failed else ""), "bold")
    short, long = aligned([with_k(row) for row in rows], SHORT_COLUMNS), aligned(rows, LONG_COLUMNS)
    lines = [f"{left}  {right}".rstrip() for left, right in zip(short, long, strict=True)]
    narrow = console.is_terminal and max(map(len, lines)) > console.width
    heading, *lines = short if narrow else lines
    show(console, heading.rstrip(), "bold")
    cut = narrow and max(map(len, short)) > console.width
    cut = cut or any(is_long_list(value) for row in rows for value in row["differences"].values())
    for row, line in zip(rows, lines, strict=True):
        show(console, line.rstrip(), STYLES.get(row["status"], ""))
        cells = {key: cell(key, value) for key, value in row.items() if key in LONG_COLUMNS and narrow}
        for key in filter(cells.get, LONG_COLUMNS):
            style, whole = STYLES["failed"] if key == "error" else "dim", key == "folder"  # never cut: users copy it
            show(console, f"    {cells[key]}", style, whole)
            cut = cut or (not whole and cell_len(cells[key]) + 4 > console.width)
    for protocol in dict.fromkeys(row["nll_protocol"] for row in rows if row["nll_protocol"]):
        show(console, f"NLL of {protocol}", "dim")
    for line in together(rows):
        show(console, line)
    for line in how_to_resume(rows):
        show(console, line, whole=True)
    if cut:
        show(console, "cut to fit; format=csv has all", "dim")
    if any({"decoder", "dataset", "dataset.binarize"} & row["differences"].keys() for row in rows):
        show(console, "figures of different data, binarisations or kinds of decoder are not comparable", "dim")


def how_to_resume(rows: Sequence[Row]) -> list[str]:
    """Lines about runs that were interrupted or killed, with the commands that resume them."""
    ended = [row for row in rows if row["status"] in ("interrupted", "stopped")]
    lines = [f"{row['status']}; to resume: {command(['vae-train', setting('resume', row['folder'])])}"
             for row in ended[:MAX_RESUMABLE]]  # fmt: skip
    if len(ended) > MAX_RESUMABLE:
        lines.append(f"and {len(ended) - MAX_RESUMABLE} more that were interrupted or stopped")
    if any(row["status"] == "unknown" for row in rows):
        lines.append("unknown: may still train; begun on another machine, by an earlier version, or on a disk that "
                     "cannot lock folders")  # fmt: skip
    return lines


def with_k(row: Row) -> Mapping[str, Any]:
    """A row with the number of draws behind its NLL."""
    return row if row["nll"] is None else {**row, "nll": f"{row['nll']:.2f} (k={row['nll_k']})"}


def together(rows: Sequence[Row]) -> list[str]:
    """A line for each folder of several seeds: mean, standard error and standard deviation of their test ELBOs.

    If several such folders lie side by side, a second line for each but the best: its difference from the best, paired
    by seed; not for other data, whose ELBOs differ for that alone.
    """
    parents = sorted({Path(row["folder"]).parent for row in rows}, key=lambda path: [*map(natural, path.parts)])
    runs = {parent: list(seed_runs(parent).values()) for parent in parents}
    data = {Path(row["folder"]).parent: data_keys(row) for row in rows}
    found = {parent: one for parent in parents if (one := spread_of(runs[parent])) is not None}
    lines = [f"{printable(str(parent))}: test ELBO {one}" for parent, one in found.items()]
    for sweep in dict.fromkeys(parent.parent for parent in found):
        inside = [parent for parent in found if parent.parent == sweep]
        best = max(inside, key=lambda parent: found[parent].mean)
        for parent in (one for one in inside if one != best and data[one] == data[best]):
            if (difference := paired_difference(runs[parent], runs[best])) is not None:
                lines.append(f"{printable(parent.name)} minus {printable(best.name)}, paired by seed: {difference}")
    return lines


def data_keys(row: Row) -> Mapping[str, Any]:
    """What distinguishes a run's data from those of the others."""
    keys = {key: value for key, value in row["differences"].items() if key.startswith("dataset.")}
    return {"dataset": row["dataset"], **keys}


def show(console: Console, line: str, style: str = "", whole: bool = False) -> None:
    """Print a line; in a terminal cut to its width, or, `whole`, broken into several."""
    if console.is_terminal:
        indent = len(line) - len(line.lstrip())
        text = Padding(rich(line.lstrip()), (0, 0, 0, indent), expand=False)
        console.print(text, style=style, highlight=False, no_wrap=not whole, overflow="fold" if whole else "ellipsis")
    else:
        say(line, console, style)


def aligned(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """The columns that have any entries, below their headings, padded to one width: a line for each row."""
    lines = [""] * (len(rows) + 1)
    for key in columns:
        cells = [cell(key, row[key]) for row in rows]
        if any(cells):
            cells = [HEADINGS.get(key, key), *cells]
            width = max(map(len, cells))
            pad = str.rjust if key in NUMERIC else str.ljust
            lines = [line + ("  " if line else "") + pad(text, width) for line, text in zip(lines, cells, strict=True)]
    return lines


def cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "differences":
        return listed_differences(value)
    if key == "error":
        return shorten(" ".join(value.split()), MAX_ERROR)  # a message of several lines
    if key == "folder":
        return printable(value)  # all of it, to be copied
    if key == "seconds":
        return shorten(duration(value), MAX_VALUE)
    return shorten(f"{value:.2f}" if isinstance(value, float) else str(value), MAX_VALUE)


def listed_differences(entries: Mapping[str, Any]) -> str:
    """As many as fit, and how many more there are; long lists, such as those of columns, last and as their lengths.

    Keys that are null are not listed where other keys are: rows stay apart, as one that has a value shows it.
    """
    entries = {name: entry for name, entry in entries.items() if entry is not None} or entries
    long = [f"{name}=({len(entry):,} values)" for name, entry in entries.items() if is_long_list(entry)]
    shown = [f"{name}={shorten(as_typed(entry), MAX_VALUE)}" for name, entry in entries.items()
             if not is_long_list(entry)] + long  # fmt: skip
    ends = list(accumulate(len(text) + 1 for text in shown))
    n = max(1, sum(end <= MAX_DIFFERENCES for end in ends))
    more = f"and {len(shown) - n} more" if len(shown) > n else ""
    return " ".join([*shown[:n], more]).rstrip()


def is_long_list(value: Any) -> bool:
    return isinstance(value, list) and len(as_typed(value)) > MAX_VALUE


def as_csv(rows: Sequence[Row]) -> str:
    """The columns, and one more for each key in which the runs differ."""
    keys = list(dict.fromkeys(key for row in rows for key in row["differences"]))
    columns = [key for key in COLUMNS if key != "differences"]
    lines = [csv_line([*columns, *keys])]
    for row in rows:
        values = {key: as_typed(value) for key, value in row["differences"].items()}
        lines.append(csv_line([*map(row.get, columns), *map(values.get, keys)]))
    return "".join(lines)


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps(rows, indent=2, allow_nan=False, default=str) + "\n"
