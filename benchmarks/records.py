"""Records of runs: training and evaluating in processes of their own, what is kept of a run, and tables made of that.

A record is a folder with the run's config.yaml, summary.json and evaluation.json, as they were written, record.json,
which says when, where and by which commands, and curve.json, the training ELBO of each pass. None of them holds a path
of the machine: the data are found by VAE_DATA, and the run's folder is named from the folder that it is in.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("config.yaml", "summary.json", "evaluation.json")
EVALUATE = ("k=5000",)
SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # passes whose figures a page shows
MACHINE_PATH = re.compile(r"(?<![\w.)}~/])/(?:[\w.-]+/)*[\w.-]+")


class Where(NamedTuple):
    """The data, the folder of the runs, and where records go."""

    data: Path  # holds MNIST/raw
    runs: Path
    records: Path

    def vae(self, *words: str) -> None:
        """One command of vaecli, in the folder of the runs; ends this program if it fails."""
        git = subprocess.run(["git", "rev-parse", "--absolute-git-dir"], cwd=ROOT, capture_output=True, text=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "VAE_DATA": str(self.data.resolve())}
        if git.returncode == 0:
            environment["GIT_DIR"] = git.stdout.strip()  # summary.json names the commit
        self.runs.mkdir(parents=True, exist_ok=True)
        print("vae", shlex.join(words), flush=True)
        code = finished(subprocess.Popen([sys.executable, "-m", "vaecli", *words], cwd=self.runs, env=environment))
        if code:
            sys.exit(f"error: `vae {shlex.join(words)}` ended with exit code {code}")

    def evaluate(self, run: str, words: tuple[str, ...]) -> None:
        """Write the evaluation.json of a run, unless these words wrote it since the run was trained."""
        path = self.runs / run / "evaluation.json"
        trained = (self.runs / run / "summary.json").stat().st_mtime
        if path.is_file() and path.stat().st_mtime > trained and f"k={values(path).protocol.k}" in words:
            return
        self.vae("evaluate", f"run={run}", *words, f"output={run}/evaluation.json")


def finished(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a command that is running; after Ctrl-C, which it gets too, it saves and ends by itself."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


class Point(NamedTuple):
    """A pass of a run."""

    epoch: int
    seconds: float  # of training, until its end
    elbo: float  # mean over the pass, of training images


class Record(NamedTuple):
    """What is kept of a run."""

    folder: Path
    summary: SimpleNamespace  # summary.json
    evaluation: SimpleNamespace  # evaluation.json
    notes: dict[str, str]  # record.json: date, machine, train, evaluate

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """None where there is no record."""
        if not (folder / "record.json").is_file():
            return None
        notes = json.loads((folder / "record.json").read_text())
        return cls(folder, values(folder / KEPT[1]), values(folder / KEPT[2]), notes)

    @property
    def curve(self) -> list[Point]:
        return [Point(*values) for values in json.loads((self.folder / "curve.json").read_text())]

    @property
    def error(self) -> str:
        """The standard errors of the NLL, over the data and over the draws."""
        return f"± {self.evaluation.nll_stderr:.2f} ± {self.evaluation.nll_mc_stderr:.3f}"


def keep(run: Path, folder: Path, train: list[str], evaluate: list[str], more: tuple[str, ...] = ()) -> None:
    """Copy what is kept of a run, and `more` of its files; ends this program if a path of this machine stands in it.

    record.json is written last: without it the folder is no record, so none is read that was half copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    for name in (*KEPT, *more):
        found = MACHINE_PATH.search((run / name).read_text())
        if found:
            sys.exit(f"error: {run / name} holds a path of this machine, {found[0]}; give paths by VAE_DATA alone")
        shutil.copyfile(run / name, folder / name)
    (folder / "curve.json").write_text(json.dumps(read_curve(run / "metrics.jsonl")) + "\n")
    notes = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "train": "vae-train " + shlex.join(train),
        "evaluate": "vae evaluate " + shlex.join(evaluate),
    }
    (folder / "record.json").write_text(json.dumps(notes, indent=2) + "\n")


def read_curve(path: Path) -> list[Point]:
    """Every pass in a run's metrics.jsonl."""
    found, seconds = [], 0.0
    for entry in map(json.loads, path.read_text().splitlines()):
        if entry.get("split") == "train":
            seconds += entry["seconds"]
            found.append(Point(entry["epoch"], round(seconds, 1), round(entry["elbo"], 3)))
    return found


def curves(records: list[Record]) -> str:
    """A table of runs and passes: the ELBO, and the seconds until then."""
    each = [{point.epoch: point for point in record.curve} for record in records]
    passes = [n for n in SHOWN if any(n in one for one in each)]
    cells = [[f"{one[n].elbo:.1f} ({one[n].seconds:,.0f} s)" if n in one else "" for n in passes] for one in each]
    ends = [f"{point.epoch}: {point.elbo:.1f} ({point.seconds:,.0f} s)" for point in (one[max(one)] for one in each)]
    rows = [[record.folder.name, *line, end] for record, line, end in zip(records, cells, ends, strict=True)]
    return table(["run", *(f"pass {n}" for n in passes), "last pass"], rows)


def machine() -> str:
    """The processor, and how much of it torch was given."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    threads = os.environ.get("OMP_NUM_THREADS")
    return f"{model}, {os.cpu_count()} cores" + (f", OMP_NUM_THREADS={threads}" if threads else "")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def write_page(page: Path, name: str, text: str) -> None:
    """Replace a page's table in one step, so that another process never reads half a page."""
    new = page.with_suffix(".new")
    new.write_text(with_table(page.read_text(), name, text))
    new.replace(page)


def values(path: Path) -> SimpleNamespace:
    """The entries of a JSON file, as attributes."""
    try:
        found: SimpleNamespace = json.loads(path.read_text(), object_hook=lambda entries: SimpleNamespace(**entries))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {path} cannot be read ({error}); remove its folder, and make the record again")
    return found


def begun_by(run: Path, words: list[str]) -> SimpleNamespace:
    """The summary of a run that there is; ends this program if other words of vae-train began it."""
    summary = values(run / "summary.json")
    begun = shlex.split(summary.command or "")[2:]
    if begun != [*words, f"output={run.name}"]:
        sys.exit(f"error: {run} was trained with other words, {shlex.join(begun)}; move it away")
    return summary


def with_table(page: str, name: str, text: str) -> str:
    """The page, with `text` between its marks <!-- name --> and <!-- end of name -->."""
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not (mark and end):
        sys.exit(f"error: the page has no marks <!-- {name} --> and <!-- end of {name} -->")
    return f"{before}{mark}\n{text}\n\n{end}{after}"
