"""`vae train`: from a configuration to a run folder."""

from __future__ import annotations

from vaecli.config.compose import Origin
from vaecli.runs.config import RunConfig
from vaecli.runs.folder import RunFolder, held, new_folder, refuse_occupied
from vaecli.training.lifecycle import resume, sweep_job, train
from vaecli.training.resume import asked_for
from vaecli.training.setup import prepare
from vaecli.utils.types import Values


def main(config: Values, origin: Origin) -> float:
    """Train as `config` says; the best checkpoint's validation bound (training bound without a validation split).

    In a sweep the folder is there already, and a job that fails leaves its reason in it.
    """
    given = RunConfig.of(config)
    if given.resume is not None:
        done = resume(given, origin)
    elif origin.sweep_folder is not None:
        done = sweep_job(given, origin, RunFolder(origin.sweep_folder))
    else:
        job = prepare(asked_for(given, origin.overrides))
        folder = new_folder(job.config.output, job.config.dataset.name)
        with held(folder):
            if job.config.output is not None:
                refuse_occupied(folder)  # again: another process may have been faster
            job.config.write(folder)
            done = train(folder, origin, lambda: job)
    if done.signal:  # during the very last validation: all is done, but a sweep should not go on
        raise SystemExit(128 + done.signal)
    return done.bound
