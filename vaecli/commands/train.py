"""`vae train`: from a configuration to a run folder."""

from __future__ import annotations

from typing import Any

from vaecli.runs.config import write_config
from vaecli.runs.folder import RunFolder, held, new_folder, refuse_occupied
from vaecli.training.lifecycle import Origin, resume, sweep_job, train
from vaecli.training.resume import asked_for
from vaecli.training.setup import Config, prepare
from vaecli.utils.schema import check_arguments


def main(config: dict[str, Any], origin: Origin) -> float:
    """Train as `config` says; the best checkpoint's validation bound (training bound without a validation split).

    In a sweep the folder is there already, and a job that fails leaves its reason in it.
    """
    check_arguments(Config, config)
    if config["resume"] is not None:
        done = resume(config, origin)
    elif origin.sweep_folder is not None:
        done = sweep_job(config, origin, RunFolder(origin.sweep_folder))
    else:
        job = prepare(asked_for(config, origin.overrides), typed_here=config["repeat"] is None)
        folder = new_folder(job.settings.output, job.config["dataset"]["name"])
        with held(folder):
            if job.settings.output is not None:
                refuse_occupied(folder)  # again: another process may have been faster
            write_config(folder, job.config)
            done = train(folder, origin, lambda: job)
    if done.signal:  # during the very last validation: all is done, but a sweep should not go on
        raise SystemExit(128 + done.signal)
    return done.bound
