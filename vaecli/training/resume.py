"""What a run resumes from: its stored state, the keys that may change, and checks that the two fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaecli.config.instantiate import OptionFactory, Trust
from vaecli.runs import checkpoint
from vaecli.runs.access import NotPermitted, is_own, paths_of, restrict_paths
from vaecli.runs.choice import Choice
from vaecli.runs.config import RunConfig, read_config
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import BEST, LAST
from vaecli.training.setup import TrainingSetup
from vaecli.training.state import Best, ResumeState, TrainingState
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.text import plural
from vaecli.utils.types import Values


def read_state(folder: RunFolder) -> tuple[Values, TrainingState | None]:
    """The run's configuration and state in its last checkpoint; no state if it was stopped before the first one."""
    if not folder.has(LAST):
        return read_config(folder.path), None
    path = folder.checkpoint(LAST)
    with misfit_as_user_error(path):
        stored = checkpoint.load(path)
        return stored["config"], TrainingState.from_dict(stored)


@contextmanager
def misfit_as_user_error(path: Path) -> Iterator[None]:
    """Turns every error about the contents of a checkpoint into a UserError: the contents can be wrong in any way."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path.name} does not fit its own configuration: {checkpoint.summary(error)}") from None


def new_or_repeated(config: RunConfig, keys: Sequence[str]) -> RunConfig:
    """The configuration of a new run: as composed, or that of the run that it repeats with the typed keys changed."""
    if config.repeat is None:
        return config
    path = Path(config.repeat)
    stored = RunConfig.from_stored(read_config(path), config)
    changed = stored.with_changes(config, keys)
    if "dataset" in keys:
        return changed
    return with_permitted_paths(stored, changed, path if path.is_dir() else path.parent, keys)


def with_permitted_paths(stored: RunConfig, config: RunConfig, folder: Path, keys: Sequence[str]) -> RunConfig:
    """`config` with the data's paths, if they may be read; UserError if the run in `folder`, whose configuration was
    `stored`, would read files that no typed key names."""
    own = is_own(RunFolder(folder).known_summary().id, stored.dataset)
    given = {key: path for key, path in paths_of(config.dataset).items() if f"dataset.{key}" in keys}
    chosen: Any = OptionFactory(config.options, Trust(tuple(config.trust))).option_class("dataset")
    dataset, unread = restrict_paths(config.dataset, folder, own, given, chosen.localise)
    if unread:
        raise NotPermitted(folder, unread)
    return replace(config, dataset=Choice(dataset))


def with_newer_best(folder: RunFolder, state: TrainingState) -> TrainingState:
    """The state, with newer records of `best` and `ema`.

    These may have been written after `last`, and worse epochs must not overwrite them.
    """
    stored = {which: read_best(folder.checkpoint(which)) for which in (BEST, *state.others) if folder.has(which)}

    def newer(which: str, best: Best) -> Best:
        return max(best, stored.get(which, best), key=lambda record: record.epoch)

    others = {which: one._replace(best=newer(which, one.best)) for which, one in state.others.items()}
    return state._replace(best=newer(BEST, state.best), others=others)


def read_best(path: Path) -> Best:
    """The record of the best epoch in a checkpoint."""
    with misfit_as_user_error(path):
        return Best.from_dict(checkpoint.load(path)["best"])


def nothing_left(config: RunConfig, state: TrainingState) -> str | None:
    """Why a completed run has nothing left to train, and how to train on; None if there are epochs left."""
    epoch, patience = state.epoch, config.early_stopping.patience
    if epoch >= config.n_epochs:
        return f"is complete: {plural(epoch, 'epoch')}. To train on, give epochs=N with a larger N."
    if patience is not None and state.best.validations_since_best >= patience:
        more = "give early_stopping.patience=M with a larger M, or null"
        return f"was stopped early: {plural(epoch, 'epoch')}. To train on, {more}."
    return None


def resume_command(folder: RunFolder) -> str:
    """The command that resumes a run."""
    return command(["vae-train", setting("resume", folder.path)])


def observations_done(setup: TrainingSetup, resume: ResumeState | None) -> int:
    """How many observations a run has been trained on before."""
    if resume is None or resume.training is None:
        return 0
    n, size = len(setup.splits.train), setup.config.batch_size
    epoch, step = resume.training.epoch, resume.training.step
    return epoch * n + (step - epoch * -(-n // size)) * size
