"""Jobs that submitit runs: the signal with which the scheduler warns of their end, and the way back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

SWEEP_STOPS = getattr(signal, "SIGURG", None)  # from a sweep to its jobs in other processes; ignored by default


def in_job() -> bool:
    """Whether this process is a job of submitit, which may have been started before."""
    return "SUBMITIT_EXECUTOR" in os.environ


def warning_signal() -> int | None:
    """The signal that announces the time limit or a preemption; None outside of a job."""
    name = f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"
    return getattr(signal, name, None) if in_job() else None


def requeue(code: object) -> None:
    """Let submitit put this job into the queue again if a run has ended with the exit code of the warning signal.

    Ends the process then. The queued job finds its run's folder and resumes the run.
    """
    number = warning_signal()
    if number is None or code != 128 + number:
        return
    handler = signal.getsignal(number)
    if callable(handler):
        try:
            handler(number, None)
        except subprocess.CalledProcessError as error:
            if error.returncode != -signal.SIGTERM:
                raise
            sys.exit(-1)  # Slurm ends a job that it queues again, and with it the program that asked for this
