"""The jobs of a sweep that run at the same time: their cores and GPUs, and how they are stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig

from vaecli.utils.cluster import SWEEP_STOPS
from vaecli.utils.types import Values

WAIT = 60.0  # seconds for the jobs to save


def divide_threads(launcher: DictConfig, given: bool) -> None:
    """Give this process its share of the cores, before it imports torch.

    joblib tells it in OMP_NUM_THREADS, submitit in cpus_per_task. Within its share a run chooses its threads itself,
    unless the user has set OMP_NUM_THREADS.
    given: whether the user has set it
    """
    if given:
        return
    if "submitit" in launcher["_target_"]:
        os.environ["OMP_NUM_THREADS"] = str(launcher.get("cpus_per_task") or 1)
    from vaecli.utils import threads  # torch reads the variable when it is imported

    assert threads.DEFAULT_THREADS
    os.environ.pop("OMP_NUM_THREADS", None)


def divide_devices(values: Values, number: int) -> Values:
    """The configuration of the job of this number; with device=auto the jobs take the GPUs in turn."""
    import torch

    if values.get("device") != "auto" or torch.cuda.device_count() < 2:
        return values
    return {**values, "device": f"cuda:{number % torch.cuda.device_count()}"}


@contextmanager
def jobs_save_first(sweep_folder: Callable[[], Path | None]) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM let the jobs in joblib's processes save before they end this one, too.

    Otherwise joblib kills them in the middle of a step. A second signal does not wait.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        folder = sweep_folder()
        if folder is not None:
            stop_jobs(folder)
        before[number](number, frame)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before: dict[int, Callable[[int, FrameType | None], object]] = {}
    for one in (signal.SIGINT, signal.SIGTERM):
        if callable(handler := signal.getsignal(one)):
            before[one] = handler
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def stop_jobs(sweep_folder: Path) -> None:
    """Tell the jobs that are training in other processes to save and stop, and wait until they have."""
    from vaecli.runs.table import run_folders

    processes = multiprocessing.active_children()
    running = [run for run in run_folders(sweep_folder) if run.is_locked] if processes else []
    for process in processes:
        if process.pid is not None and SWEEP_STOPS is not None:
            os.kill(process.pid, SWEEP_STOPS)
    give_up = time.monotonic() + WAIT
    while any(run.is_locked for run in running) and time.monotonic() < give_up:
        time.sleep(0.1)
