"""What sharing a batch costs: an all-reduce, and a training step, with as many processes as torchrun starts.

    OMP_NUM_THREADS=1 python benchmarks/scale.py
    OMP_NUM_THREADS=1 torchrun --nproc-per-node=2 benchmarks/scale.py
    python benchmarks/scale.py model        # what is to be expected of 8 and 64 GPUs

Printed are medians in milliseconds, of the clock and of this process's own core, which a busy machine changes less.
Every key that they depend on is named in CASES and WORDS.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir

import numpy as np
import torch
from torch import distributed

from vaecli.config.compose import Invocation
from vaecli.datasets.split import FileSplit, Split
from vaecli.training import lifecycle
from vaecli.training.api import composed
from vaecli.training.together import Member

WORDS = ("dataset=mnist_small", "dataset.binarize=none", "decoder=bernoulli", "architecture=mlp",
         "architecture.activation=relu", "posterior=gaussian", "prior=standard_normal", "objective=elbo", "samples=1",
         "latent_dim=20", "optimizer=adam", "optimizer.lr=0.001", "scheduler=constant", "device=cpu", "compile=false",
         "precision=float32", "epochs=1000", "seed=0")  # fmt: skip
CASES = {
    "784-400-40, 128": ("architecture.hidden=[400]", "batch_size=128"),
    "784-400-40, 1024": ("architecture.hidden=[400]", "batch_size=1024"),
    "784-2000-2000-40, 128": ("architecture.hidden=[2000,2000]", "batch_size=128"),
    "784-2000-2000-40, 1024": ("architecture.hidden=[2000,2000]", "batch_size=1024"),
}  # fmt: skip
WORLD, LEADS = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0") == "0"
SIZES = (1, 652_824, 12_000_000)  # numbers in an all-reduce
STEPS = 10


def median(work: Callable[[], object], times: int, parts: int = 1) -> tuple[float, float]:
    """Milliseconds of the clock and of this process's core, for one of the `parts` of the work."""
    clock, core = [], []
    for _ in range(times):
        started = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - started[0])
        core.append(time.process_time() - started[1])
    return 1000 * statistics.median(clock) / parts, 1000 * statistics.median(core) / parts


def step_of(words: tuple[str, ...]) -> tuple[tuple[float, float], int]:
    """A step's milliseconds, as `median` has them, and the number of parameters."""
    with tempfile.TemporaryDirectory() as place, chdir(place):
        member = Member(lifecycle.start_run(composed(*WORDS, *words), Invocation("vae-train", [], None, quiet=True)))
        member.start()
        trainer = member.trainer
        assert trainer is not None
        batches = len(trainer.splits.train) // trainer.plan.batch_size + 1

        def epoch() -> None:
            trainer.train_epoch(trainer.epoch + 1)
            trainer.epoch += 1

        epoch()
        parameters = sum(p.numel() for p in trainer.model.parameters())
        return median(epoch, -(-STEPS // batches), batches), parameters


def rows_of(split: Split) -> Callable[[], None]:
    """An epoch of shuffled batches, gathered and converted."""

    def epoch() -> None:
        for rows in split.gathered(torch.randperm(len(split)), 128):
            split.observations(rows)

    return epoch


def compare_reading() -> None:
    """Rows of uint8 images from memory and from a file that is mapped into it, which the system has in its cache."""
    x = torch.randint(0, 256, (200_000, 784), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as place:
        np.save(f"{place}/x.npy", x.numpy())
        mapped = torch.from_numpy(np.load(f"{place}/x.npy", mmap_mode="c"))
        for name, split in (("memory", Split(x, levels=255)), ("a mapped file", FileSplit(mapped, levels=255))):
            cost = median(rows_of(split), 3, len(x) // 128)
            print(f"batch of 128 from {name}: {cost[0]:.3f} ms, core {cost[1]:.3f} ms")


def model() -> None:
    """A step's milliseconds on N H100s, eight to a machine: compute, a ring's bytes over its slowest link, latency.

    Published: 67 TFLOP/s in float32, 900 GB/s of NVLink in both directions together, a 400 Gb/s link between machines
    for each GPU. Assumed: 30 % of the operations, 10 us for each of a ring's 2 (N - 1) messages, 1 ms of Python a step.
    """
    for parameters, batch in ((652_824, 128), (652_824, 8192), (11_264_824, 8192), (11_264_824, 65_536)):
        row = []
        for n in (1, 8, 64):
            compute = 6 * parameters * batch / n / (0.3 * 67e12)
            link = 450e9 if n <= 8 else 50e9
            share = 2 * (n - 1) / n * 4 * parameters / link + 2 * (n - 1) * 10e-6
            row.append(1000 * (1e-3 + compute + share))
        gains = " ".join(f"{one:8.2f} ms ({row[0] / one:4.1f} times)" for one in row)
        print(f"{parameters:11,} parameters, batch {batch:6,}: {gains}")


def main() -> None:
    if sys.argv[1:] == ["model"]:
        model()
        return
    if WORLD > 1:
        distributed.init_process_group("gloo")
        for size in SIZES:
            values = torch.ones(size)
            cost = median(lambda values=values: distributed.all_reduce(values), 20)  # type: ignore[misc]
            if LEADS:
                print(f"all-reduce of {4 * size:,} bytes, {WORLD} processes: {cost[0]:.3f} ms, core {cost[1]:.3f} ms")
    else:
        compare_reading()
    for name, words in CASES.items():
        cost, parameters = step_of(words)
        if LEADS:
            print(
                f"step {name} ({parameters:,} parameters), {WORLD} processes: {cost[0]:.2f} ms, core {cost[1]:.2f} ms"
            )


if __name__ == "__main__":
    main()
