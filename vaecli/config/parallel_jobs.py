"""Divides the cores and GPUs of a machine among the jobs of a sweep that run at the same time."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from vaecli.utils.types import Values


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
