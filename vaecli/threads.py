"""Independent pieces of work on all cores, one thread to each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_order(jobs: Iterable[tuple[T, Callable[[], R]]], threads: int) -> Iterator[tuple[T, R]]:
    """Each job's tag and result, in the jobs' order; without gradients, a few jobs ahead of the reader.

    Every job runs in one thread. When the threads of one operation share the work instead, they wait for each other
    at its end, which on a busy machine takes longer than the work. threads=0 runs the jobs here, as a GPU wants it.
    Jobs that draw random numbers would draw them in any order: let the iterable draw them.
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
    """Let glibc keep what is freed: otherwise the kernel maps and clears each temporary of each job anew.

    Its threshold for giving memory back follows the largest block freed so far, up to 32 MiB, so one is freed here.
    That took a third of the time of `vae evaluate`.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _alone() -> None:
    """Both settings are a thread's own."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
