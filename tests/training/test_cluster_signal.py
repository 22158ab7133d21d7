"""A job that has been warned of its end goes back into the queue."""

from __future__ import annotations

import signal
import subprocess
from types import FrameType

import pytest

from vaecli.utils.cluster import requeue


@pytest.mark.parametrize(("ended_by", "raised"), [(-signal.SIGTERM, SystemExit), (1, subprocess.CalledProcessError)])
def test_slurm_may_end_the_program_that_queues_a_job(
    ended_by: int, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`scontrol requeue` belongs to the job that it ends: the job has no result then, and is queued again."""

    def queue(number: int, frame: FrameType | None) -> None:
        raise subprocess.CalledProcessError(ended_by, ["scontrol", "requeue", "1_1"])

    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "USR2")
    before = signal.signal(signal.SIGUSR2, queue)
    try:
        requeue(128 + signal.SIGTERM)  # another signal: the job is not queued
        with pytest.raises(raised):
            requeue(128 + signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
