"""What a run goes on from: its stored state, what may change, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaecli.config.instantiate import OptionFactory, Trust
from vaecli.runs import checkpoint
from vaecli.runs.access import Unasked, is_own, paths_of, readable
from vaecli.runs.choice import Choice
from vaecli.runs.config import RunConfig, read_config
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import BEST, LAST
from vaecli.training.setup import TrainingSetup
from vaecli.training.state import Best, ResumeState, TrainingState
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.schema import plain
from vaecli.utils.types import Values


def read_state(folder: RunFolder) -> tuple[Values, TrainingState | None]:
    """The run's configuration and state in its last checkpoint; no state where it was stopped before it wrote one."""
    if not folder.has(LAST):
        return read_config(folder.path), None
    path = folder.checkpoint(LAST)
    with fitting(path):
        stored = checkpoint.load(path)
        return stored["config"], TrainingState.from_dict(stored)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """UserError for whatever goes wrong with the contents of a checkpoint: they can fail to fit in any way."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path.name} does not fit its own configuration: {checkpoint.summary(error)}") from None


def asked_for(config: RunConfig, keys: Sequence[str]) -> RunConfig:
    """The configuration of a new run: as composed, or that of the run that it repeats, with the keys typed in place."""
    if config.repeat is None:
        return config
    path = Path(config.repeat)
    stored = RunConfig.from_stored(read_config(path), config)
    changed = stored.with_changes(config, keys)
    return changed if "dataset" in keys else permitted(stored, changed, path if path.is_dir() else path.parent, keys)


def permitted(stored: RunConfig, config: RunConfig, folder: Path, keys: Sequence[str]) -> RunConfig:
    """`config` with the data's paths as they may be read; UserError where the run in `folder`, whose configuration
    was `stored`, would read what no key typed names."""
    own = is_own(RunFolder(folder).known_summary().id, stored.dataset)
    given = {key: path for key, path in paths_of(config.dataset).items() if f"dataset.{key}" in keys}
    chosen: Any = OptionFactory(config.options, Trust(tuple(config.trust))).option_class("dataset")
    dataset, unread = readable(config.dataset, folder, own, given, chosen.localise)
    if unread:
        raise Unasked(folder, unread)
    return replace(config, dataset=Choice(dataset))


def with_newer_best(folder: RunFolder, state: TrainingState) -> TrainingState:
    """The state, with the records of a best and ema checkpoint written after it: the epochs to come may be worse."""
    stored = {which: read_best(folder.checkpoint(which)) for which in (BEST, *state.others) if folder.has(which)}

    def newer(which: str, best: Best) -> Best:
        return max(best, stored.get(which, best), key=lambda record: record.epoch)

    others = {which: one._replace(best=newer(which, one.best)) for which, one in state.others.items()}
    return state._replace(best=newer(BEST, state.best), others=others)


def read_best(path: Path) -> Best:
    """The record of the best epoch in a checkpoint."""
    with fitting(path):
        return Best.from_dict(checkpoint.load(path)["best"])


def nothing_left(config: RunConfig, state: TrainingState) -> str | None:
    """Why a completed run does not go on, and what would make it; None where there are epochs left to train."""
    epoch, patience = state.epoch, config.early_stopping.patience
    if epoch >= config.n_epochs:
        return f"is complete: {epoch} epochs. epochs=N with a larger N trains on."
    if patience is not None and state.best.validations_since_best >= patience:
        return f"was stopped early: {epoch} epochs. early_stopping.patience=M with a larger M, or null, trains on."
    return None


def describe_changes(changes: Values) -> str:
    return "".join(f", {key}={plain(value)}" for key, value in changes.items())


def resume_command(folder: RunFolder) -> str:
    """What to type to go on with a run."""
    return command(["vae-train", setting("resume", folder.path)])


def observations_done(setup: TrainingSetup, resume: ResumeState | None) -> int:
    """How many observations a run has been trained on before."""
    if resume is None or resume.training is None:
        return 0
    n, size = len(setup.splits.train), setup.config.batch_size
    epoch, step = resume.training.epoch, resume.training.step
    return epoch * n + (step - epoch * -(-n // size)) * size
