"""What `seeds=16` gains: processor time of steps on a stack of runs, and of the same runs one after another.

    python benchmarks/speed_seeds.py [ROUNDS]

The networks are those of a Beta curve (100-32-32-32-2) and of a table with 30 columns (30-64-4), in batches of 32 and
256, on one thread; an epoch has 9,984 observations, as many as full batches need of the default's 10,000. Printed are
medians over the rounds, in which both ways take turns, each with recorded graphs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import chdir
from typing import Any

import torch

from vaecli.config.compose import Invocation
from vaecli.training import execution, lifecycle
from vaecli.training.api import composed
from vaecli.training.stack import Stack
from vaecli.training.together import Member

SEEDS = 16
BETA = ("dataset=beta", "architecture.hidden=[32,32,32]", "architecture.activation=tanh", "latent_dim=2")
TABLE = ("dataset=beta", "dataset.points=30", "architecture.hidden=[64]", "architecture.activation=relu",
         "latent_dim=4")  # fmt: skip
WORDS = ("decoder=gaussian_identity", "dataset.val_size=0", "device=cpu", "optimizer=adam",
         "epochs=1000")  # fmt: skip


def members(words: tuple[str, ...]) -> list[Member]:
    """Sixteen runs whose first pass is due."""
    found = []
    for seed in range(SEEDS):
        config = composed(*words, f"seed={seed}", f"output=runs/{seed}")
        found.append(Member(lifecycle.start_run(config, Invocation("vae-train", [], None, quiet=True))))
        found[-1].start()
    return found


def measure(words: tuple[str, ...], rounds: int) -> tuple[float, float]:
    """Seconds for an epoch of all runs, one after another and at once."""
    alone, together = [], []
    with tempfile.TemporaryDirectory() as place, chdir(place):
        runs = members(words)
        trainers: list[Any] = [member.trainer for member in runs]
        stack = None
        for _ in range(rounds + 1):
            started = time.process_time()
            for trainer in trainers:
                trainer.train_epoch(trainer.epoch + 1)
                trainer.epoch += 1
            alone.append(time.process_time() - started)
            stack = stack or Stack(trainers)
            started = time.process_time()
            stack.train_epoch([member.states for member in runs])
            for trainer in trainers:
                trainer.end_epoch(trainer.epoch + 1, 0.0)
                trainer.epoch += 1
            together.append(time.process_time() - started)
    return statistics.median(alone[1:]), statistics.median(together[1:])


def main(rounds: str = "5") -> None:
    torch.set_num_threads(1)
    execution.RECORD_FROM = 1
    print("| network | batch | one after another, s | at once, s | gain |\n|---|---|---|---|---|")
    for name, words in {"beta": BETA, "table": TABLE}.items():
        for batch in (32, 256):
            more = (f"batch_size={batch}", "dataset.size=9984")
            alone, together = measure((*words, *WORDS, *more), int(rounds))
            print(f"| {name} | {batch} | {alone:.2f} | {together:.2f} | {alone / together:.1f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
