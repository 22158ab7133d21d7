"""How many threads a training step uses, and independent jobs on all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T")
R = TypeVar("R")
ONE_THREAD_BELOW = 1e9  # floating-point operations: ten to twenty milliseconds of one core
DEFAULT_THREADS = torch.get_num_threads()


def ordered_parallel_map(jobs: Iterable[tuple[T, Callable[[], R]]], threads: int) -> Iterator[tuple[T, R]]:
    """Each job's tag and result, in the jobs' order; jobs run without gradients, a few of them in advance.

    Every job runs in one thread. If several threads divided the work of each operation instead, they would wait for
    each other at its end, which on a busy machine takes longer than the work. threads=0 runs the jobs in the calling
    thread, which is right for a GPU. Jobs that draw random numbers would draw them in any order: let the iterable draw
    them.
    """
    if threads < 1:
        for tag, job in jobs:
            yield tag, job()
        return
    keep_freed_memory()
    waiting: deque[tuple[T, Future[R]]] = deque()
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=_alone)
    try:
        torch.set_num_threads(1)
        for tag, job in jobs:
            waiting.append((tag, pool.submit(job)))
            if len(waiting) > 2 * threads:
                tag, future = waiting.popleft()
                yield tag, future.result()
        while waiting:
            tag, future = waiting.popleft()
            yield tag, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let glibc keep freed memory: otherwise the kernel maps and clears the memory of each temporary tensor again.

    glibc's threshold for returning memory is the largest block freed so far, up to 32 MiB, so one of this size is freed
    here. Mapping and clearing took a third of the time of `vae evaluate`.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within it, results below 1.2e-38 are zero, as on a GPU.

    Matrix products with such numbers take twice as long, and the weights of importance-weighted bounds are full of
    them. It holds for this thread and those that it starts, so that it has to begin before torch starts its own.
    """
    already = float(torch.full((), 2.0**-127)) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


def _alone() -> None:
    """Settings of a worker thread; torch keeps both for each thread."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def set_cpu_threads(model: nn.Module, draws: int) -> None:
    """One thread for small steps, torch's default for others, unless OMP_NUM_THREADS decides.

    A small step gains little from a second core, and on a busy machine becomes up to ten times as slow: the threads
    wait for each other dozens of times a step. The count is three matrix products of two operations per weight and
    draw of z.
    draws: of z in a step
    """
    if "OMP_NUM_THREADS" not in os.environ:
        operations = 6 * draws * sum(p.numel() for p in model.parameters())
        torch.set_num_threads(1 if operations < ONE_THREAD_BELOW else DEFAULT_THREADS)
