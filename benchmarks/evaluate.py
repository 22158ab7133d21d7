"""`vae evaluate` against its matrix products alone: python benchmarks/evaluate.py RUN [limit] [k] [rounds] [wall|cpu].

The floor is the decoder's linear layers into memory that is already there, for as many latents; whichever is faster of
all threads to each product and one thread to each chunk. Both are timed in turn and the medians compared. Leave other
work aside while it runs, or take processor time (cpu) in one thread (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn

from vaecli.analysis.importance_sampling import importance_weighted, pairs_at_once
from vaecli.models.load import load_run, load_split


@torch.no_grad()
def products(layers: list[nn.Linear], z: Tensor, out: list[Tensor]) -> None:
    for layer, there in zip(layers, out, strict=True):
        z = torch.addmm(layer.bias, z, layer.weight.t(), out=there)


def floor(layers: list[nn.Linear], total: int, rows: int, threads: int) -> None:
    """The products of `total` latents, `rows` at a time."""
    z = torch.randn(rows, layers[0].in_features)
    outs = [[torch.empty(rows, layer.out_features) for layer in layers] for _ in range(3 * threads + 3)]

    jobs = (outs[i % len(outs)] for i in range(round(total / rows)))
    if threads:
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            list(pool.map(partial(products, layers, z), jobs))
        return
    for out in jobs:
        products(layers, z, out)


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


@torch.no_grad()
def main(name: str, limit: str = "200", k: str = "5000", rounds: str = "5", kind: str = "wall") -> None:
    clock = time.process_time if kind == "cpu" else time.perf_counter
    run = load_run(name, device="cpu")
    split, draws, threads = load_split(run, "test").head(int(limit)), int(k), torch.get_num_threads()
    layers = [layer for layer in run.model.decoder_network.modules() if isinstance(layer, nn.Linear)]
    total, rows = len(split) * draws, pairs_at_once(run.model)
    floors, ours = [], []
    for _ in range(int(rounds)):
        together = timed(lambda: floor(layers, total, 5000, 0), clock)
        floors.append(min(together, timed(lambda: floor(layers, total, rows, threads), clock)))
        ours.append(timed(lambda: importance_weighted(run.model, split, draws), clock))
    low, here = statistics.median(floors), statistics.median(ours)
    ratio = statistics.median(o / f for o, f in zip(ours, floors, strict=True))
    flop = 2 * total * sum(layer.weight.numel() for layer in layers)
    print(f"{len(split):,} observations, k = {draws:,}, {threads} threads")
    print(f"matrix products {low:.2f} s ({flop / low / 1e9:.0f} GFLOP/s), evaluate {here:.2f} s, ratio {ratio:.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    main(*sys.argv[1:])
