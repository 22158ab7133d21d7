"""Cleans up after Hydra's sweeps: releases the memory of jobs, and removes empty folders."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback


class SweepCleanup(Callback):
    """Releases the memory of each job when it is done, and remembers the sweep's folder."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        SweepCleanup.folder = Path(config.hydra.sweep.dir)

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        """Hydra keeps a job's two configurations until the sweep ends, and its error, whose frames hold the model."""
        job_return.cfg = job_return.hydra_cfg = None
        error = job_return._return_value
        while isinstance(error, BaseException):
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__


def remove_empty() -> None:
    """Remove the folder that Hydra created for a sweep whose jobs wrote nothing there."""
    folder = SweepCleanup.folder
    if folder is None or folder.is_absolute() or [path.name for path in folder.glob("*")] != ["multirun.yaml"]:
        return
    (folder / "multirun.yaml").unlink()
    for place in (folder, *folder.parents[:-1]):  # outputs/sweeps/TIME, outputs/sweeps, outputs
        if not any(place.iterdir()):
            place.rmdir()
