"""What a run takes besides its steps: memory, seconds to its first step, and data larger than memory.

    python benchmarks/resources.py DATA [GIGABYTES]

DATA is the folder that holds MNIST/raw. Each figure is of a process of its own: the most memory that it holds
(resident set) while it trains on MNIST, above that of `import torch`, median of 3; seconds and processor seconds from
the start of `vae-train` to its first step, and of `vae --help`, medians of 5; the most private memory (anonymous
pages: those of a mapped file belong to the kernel) and the observations per second of an epoch
over an .npy file of so many gigabytes (default 4), and over one of 0.2 GB.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
MAIN = """
import sys
from vaecli.__main__ import main
sys.argv = ["vae", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
"""
FIRST_STEP = (
    "import os; from vaecli.training.trainer import Trainer; Trainer.train_step = lambda *_: os._exit(0)\n" + MAIN
)
PRIVATE = """
import threading, time
peak = 0
def watch():
    global peak
    while True:
        lines = open("/proc/self/smaps_rollup").read().splitlines()
        peak = max(peak, sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous")))
        time.sleep(0.5)
threading.Thread(target=watch, daemon=True).start()
"""


def last_number(code: str, *words: str) -> float:
    """The number in the last line that a program prints."""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def seconds(code: str, *words: str) -> tuple[float, float]:
    """Medians of 5 of the seconds and processor seconds that a program takes."""
    times = []
    for _ in range(5):
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, *words], capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.append((time.perf_counter() - wall, used))
    wall_times, used_times = zip(*times, strict=True)
    return statistics.median(wall_times), statistics.median(used_times)


def write_table(path: str, rows: int) -> None:
    """Normal numbers, 784 in a row, in float32."""
    block = np.random.default_rng(0).normal(size=(10_000, 784)).astype(np.float32)
    table = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 784))
    for start in range(0, rows, len(block)):
        table[start : start + len(block)] = block[: rows - start]


def main(data: str, gigabytes: str = "4") -> None:
    data = str(Path(data).absolute())
    mnist = ("train", "dataset=mnist", f"dataset.root={data}", "decoder=bernoulli", "device=cpu", "epochs=1")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        bare = last_number("import torch\n" + PEAK)
        training = statistics.median(last_number(MAIN + PEAK, *mnist) for _ in range(3))
        print(f"import torch: {bare:.0f} MB; training on MNIST: {training - bare:.0f} MB more")
        print("to the first step: {:.1f} s, {:.1f} of processor time".format(*seconds(FIRST_STEP, *mnist)))
        print("vae --help: {:.2f} s, {:.2f} of processor time".format(*seconds(MAIN, "--help")))
        for size in (0.2, float(gigabytes)):
            write_table("x.npy", int(size * 1e9 / 4 / 784))
            folder = f"run_of_{size:g}_GB"
            words = ("train", "dataset=arrays", "dataset.path=x.npy", "decoder=gaussian", "device=cpu", "epochs=1")
            memory = last_number(PRIVATE + MAIN + "print(peak / 1024)", *words, f"output={folder}")
            speed = json.loads(Path(folder, "summary.json").read_text())["observations_per_second"]
            print(f"{size:g} GB: {memory:.0f} MB of private memory, {speed:,.0f} observations a second")


if __name__ == "__main__":
    main(*sys.argv[1:])
