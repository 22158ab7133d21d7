"""What a training step costs with more draws of z: L (`samples`) and k (`objective=iwae`), the MNIST MLP otherwise.

    python benchmarks/speed_draws.py DATA [ROUNDS] [STEPS]

DATA is the folder that holds MNIST/raw. Processor time of a recorded step on one thread, medians over rounds of STEPS
steps in which all take turns.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import torch
from speed_options import WIDTHS, WORDS, seconds, trainer

from vaecli.training import execution

DRAWS = (1, 2, 4, 8)


def main(data: str, rounds: str = "5", steps: str = "5") -> None:
    torch.set_num_threads(1)
    execution.RECORD_FROM = 1
    root = f"dataset.root={Path(data).absolute()}"
    cases = {f"L={n}": (f"samples={n}",) for n in DRAWS}
    cases |= {f"k={n}": ("objective=iwae", f"objective.k={n}") for n in DRAWS}
    with tempfile.TemporaryDirectory() as place, chdir(place):
        trainers = {name: trainer((*WORDS, *WIDTHS, root, *words)) for name, words in cases.items()}
        found: dict[str, list[float]] = {name: [] for name in trainers}
        for _ in range(int(rounds) + 1):
            for name, one in trainers.items():
                found[name].append(seconds(one, int(steps)) / int(steps))
    print("| draws | ms a step |\n|---|---|")
    for name, times in found.items():
        print(f"| {name} | {1e3 * statistics.median(times[1:]):.1f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
