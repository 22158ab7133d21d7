"""`dataset=arrays` against pyarrow alone on a table of a million rows: python benchmarks/reading.py [rows] [rounds].

Ten columns of numbers and one of classes, as .csv. Ours is all that happens between the file and the tensors: layout,
parsing, labels, ranges, what is missing. Both are timed in turn, in one process, by the clock and in CPU seconds; the
medians of the rounds and of their ratios are printed. Leave other work aside while it runs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.files import read

COLUMNS = 10


def make(path: Path, rows: int) -> None:
    """Numbers of six digits, and three classes."""
    rng = np.random.default_rng(0)
    columns = {f"col{i}": rng.normal(size=rows).round(6) for i in range(COLUMNS)}
    kinds = np.array(["setosa", "versicolor", "virginica"])[rng.integers(0, 3, rows)]
    csv.write_csv(pa.table({**columns, "kind": kinds}), path)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of all cores."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def main(rows: int = 1_000_000, rounds: int = 7) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        make(path, rows)
        works: tuple[Callable[[], object], ...] = (
            lambda: csv.read_csv(path),
            lambda: read("x", path, ReadOptions(precision=None)),
        )
        for work in works:  # once, so that both find the file in memory and the libraries imported
            work()
        found = [[timed(work) for work in works] for _ in range(rounds)]
    for k, what in enumerate(("clock", "CPU")):
        alone, ours = (statistics.median(one[w][k] for one in found) for w in (0, 1))
        ratio = statistics.median(one[1][k] / one[0][k] for one in found)
        print(f"{what}: pyarrow alone {alone:.3f} s, vaecli {ours:.3f} s, ratio {ratio:.2f} (median of {rounds})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
