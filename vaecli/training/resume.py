"""What a run goes on from: its stored state, what may change, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaecli.models.load import readable
from vaecli.runs import checkpoint
from vaecli.runs.access import PATHS, Unasked, is_own, paths_of
from vaecli.runs.config import ASKING, read_config
from vaecli.runs.diff import flatten
from vaecli.runs.folder import read_summary
from vaecli.training.candidates import Best
from vaecli.training.state import TrainingState
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.schema import check_value, plain
from vaecli.utils.types import Config, PositiveInt

FIXED = (  # what the weights and the figures so far came from
    "dataset", "architecture", "decoder", "posterior", "prior", "latent_dim", "batch_size", "seed", "start_at_mean",
    "optimizer", "ema.decay",
)  # fmt: skip


def read_state(folder: Path) -> tuple[Config, TrainingState | None]:
    """The run's configuration and state in its last checkpoint; no state where it was stopped before it wrote one."""
    path = folder / "checkpoints" / "last.pt"
    if not path.is_file():
        return read_config(folder), None
    stored = checkpoint.load(path)
    with fitting(path):
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


def resumed(stored: Config, given: Config, keys: list[str], run: str) -> tuple[Config, dict[str, Any]]:
    """The configuration that a run goes on with, and what it changes: what was given on the command line.

    given: as composed from the command line; keys: those that were typed there. Raises UserError for a change of what
    has been trained, naming the keys.
    """
    keys = [key for key in keys if key not in ASKING and not same_option(stored.get(key), given.get(key))]
    before = flatten(stored)
    changes = {key: value for key, value in typed(given, keys).items() if value != before.get(key)}
    refused = [key for key in changes if is_fixed(key)]
    if refused:
        was = ", ".join(f"{key}={plain(before.get(key))}" for key in refused)
        raise UserError(
            f"resume={run}: {', '.join(refused)} cannot change in a run that goes on (it has {was}); "
            "leave it out, or start a new run"
        )
    return with_changes(stored, given, keys), changes


def same_option(stored: Any, given: Any) -> bool:
    """Whether both are the same option of a group: naming it again changes nothing."""
    return isinstance(stored, dict) and isinstance(given, dict) and stored.get("name") == given.get("name", stored)


def typed(given: Config, keys: list[str]) -> dict[str, Any]:
    """The values at the keys typed, a group's chosen option under the group's own name."""
    below = tuple(f"{key}." for key in keys)
    return {key: value for key, value in flatten(given).items() if key in keys or key.startswith(below)}


def is_fixed(key: str) -> bool:
    """Whether a key is in FIXED, or below one of its groups; of the optimizer only the choice itself is fixed, of the
    data all but the place where they are."""
    group, _, name = key.partition(".")
    if group == "dataset" and name in PATHS:  # the data's checksum says that they are the same
        return False
    return key in FIXED or (group in FIXED and group != "optimizer")


def asked_for(config: Config, keys: list[str]) -> Config:
    """The configuration of a new run: as composed, or that of the run that it repeats, with the keys typed in place."""
    if config["repeat"] is None:
        return config
    path = expanded(config["repeat"])
    stored = read_config(path)
    changed = with_changes(stored, config, keys)
    return changed if "dataset" in keys else permitted(stored, changed, path if path.is_dir() else path.parent, keys)


def permitted(stored: Config, config: Config, folder: Path, keys: list[str]) -> Config:
    """`config` with the data's paths as they may be read; UserError where the run in `folder`, whose configuration
    was `stored`, would read what no key typed names."""
    dataset, own = config["dataset"], is_own(read_summary(folder).get("id"), stored["dataset"])
    given = {key: path for key, path in paths_of(dataset).items() if f"dataset.{key}" in keys}
    config, unread = readable(config, folder, own, given)
    if unread:
        raise Unasked(folder, unread)
    return config


def with_changes(stored: Config, given: Config, keys: list[str]) -> Config:
    """`stored` with the values that `given` has at the keys typed, at those of ASKING, and where `stored` has none."""
    changed = {**given, **stored, **{key: given[key] for key in ASKING}}
    for key in keys:
        if key.startswith("~"):
            raise UserError(f"{key}: a run that goes on or is repeated keeps its keys; give this one another value")
        if key == "experiment":
            raise UserError("experiment= sets too much at once to be combined with resume= or repeat=: give its keys")
        if key not in ASKING:
            changed = put(changed, given, key.split("."))
    return changed


def put(config: Config, given: Config, path: list[str]) -> Config:
    """`config` with the value that `given` has at a path of keys."""
    first, *rest = path
    config = config if isinstance(config, dict) else {}  # a stranger's; what it lacks is refused later
    return {**config, first: put(config.get(first, {}), given[first], rest) if rest else given[first]}


def with_newer_best(folder: Path, state: TrainingState) -> TrainingState:
    """The state, with the records of a best.pt and ema.pt written after it: the epochs to come may be worse."""
    folder /= "checkpoints"
    others = {
        name: other._replace(best=newer_best(folder / f"{name}.pt", other.best)) for name, other in state.others.items()
    }
    return state._replace(best=newer_best(folder / "best.pt", state.best), others=others)


def newer_best(path: Path, best: Best) -> Best:
    """The record in a checkpoint where it is of a later epoch than `best`."""
    if not path.is_file():
        return best
    with fitting(path):
        found = Best.from_dict(checkpoint.load(path)["best"])
    return found if found.epoch > best.epoch else best


def planned(config: dict[str, Any]) -> int:
    """How many epochs a run was to have."""
    return int(check_value("epochs", config.get("epochs"), PositiveInt))


def nothing_left(config: dict[str, Any], state: TrainingState) -> str | None:
    """Why a completed run does not go on, and what would make it; None where there are epochs left to train."""
    epoch, patience = state.epoch, config["early_stopping"]["patience"]
    if epoch >= config["epochs"]:
        return f"is complete: {epoch} epochs. epochs=N with a larger N trains on."
    if patience is not None and state.best.validations_since_best >= patience:
        return f"was stopped early: {epoch} epochs. early_stopping.patience=M with a larger M, or null, trains on."
    return None


def resume_command(folder: Path) -> str:
    """What to type to go on with a run."""
    return command(["vae-train", setting("resume", folder)])
