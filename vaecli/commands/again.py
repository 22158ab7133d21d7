"""A run once more: the configuration of one that goes on, or that is repeated."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from vaecli.command_line import command, setting
from vaecli.data_access import PATHS, Unasked, is_own, paths_of
from vaecli.differences import flatten
from vaecli.errors import UserError
from vaecli.files import expanded
from vaecli.plain_files import Damaged, load_yaml, read
from vaecli.runs import readable
from vaecli.training import checkpoint
from vaecli.training.folder import read_summary
from vaecli.validation import PositiveInt, check_value, is_number, plain

Config = dict[str, Any]
ASKING = ("resume", "repeat", "trust", "output")  # say what to do, and are no part of what is trained
FIXED = (  # what the weights and the figures so far came from
    "dataset", "architecture", "decoder", "posterior", "prior", "latent_dim", "batch_size", "seed", "start_at_mean",
    "optimizer", "ema.decay",
)  # fmt: skip


def find_resumable(run: str) -> Path:
    """The folder of a run that has a configuration; `latest` is the one that has written last, anywhere in outputs."""
    if run == "latest":
        configured = (Path(place) for place, _, names in os.walk("outputs") if "config.yaml" in names)
        found = [folder for folder in configured if (folder / "config.yaml").is_file()]
        if not found:
            raise UserError(f"resume=latest: no run under {Path('outputs').absolute()}; start one: vae train")
        return max(found, key=last_written)
    folder = expanded(run)
    if not folder.is_dir():
        raise UserError(f"resume={run}: there is no such folder; give a run's folder or resume=latest")
    if not (folder / "config.yaml").is_file() and not (folder / "checkpoints" / "last.pt").is_file():
        raise UserError(f"resume={run}: this folder holds no run that could go on; start one there: output={run}")
    return folder


def last_written(folder: Path) -> float:
    """When a run has written its configuration, its summary or its last checkpoint."""
    paths = [folder / name for name in ("config.yaml", "summary.json", "checkpoints/last.pt")]
    return max(path.stat().st_mtime for path in paths if path.is_file())


def read_state(folder: Path) -> dict[str, Any] | None:
    """The run's last checkpoint; None where it was stopped before it had written one."""
    path = folder / "checkpoints" / "last.pt"
    return checkpoint.load(path) if path.is_file() else None


def read_config(path: Path) -> Config:
    """A run's config.yaml, or that of a run's folder: plain values, in which nothing is interpolated or executed."""
    path = path / "config.yaml" if path.is_dir() else path
    try:
        if not path.exists():
            raise UserError(f"{path}: there is no such file; expected a run's folder or its config.yaml")
        config = load_yaml(read(path))
    except (OSError, ValueError, Damaged) as error:
        raise UserError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(config, dict) or not isinstance(config.get("dataset"), dict):
        raise UserError(f"{path}: is not the configuration of a run")
    return config


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


def with_later_best(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """The state, with the records of a best.pt and ema.pt written after it: the epochs to come may be worse."""
    state = {**state, "best": later(folder, "best", state["best"])}
    ema = state.get("ema")
    if isinstance(ema, dict) and isinstance(ema.get("best"), dict):
        state["ema"] = {**ema, "best": later(folder, "ema", ema["best"])}
    return state


def later(folder: Path, which: str, best: dict[str, Any]) -> dict[str, Any]:
    """The record in a checkpoint where it is of a later epoch than `best`."""
    path = folder / "checkpoints" / f"{which}.pt"
    found = checkpoint.load(path)["best"] if path.is_file() else best
    new, old = found.get("epoch"), best.get("epoch")
    return found if is_number(new) and is_number(old) and new > old else best


def planned(config: dict[str, Any]) -> int:
    """How many epochs a run was to have."""
    return int(check_value("epochs", config.get("epochs"), PositiveInt))


def nothing_left(config: dict[str, Any], state: dict[str, Any]) -> str | None:
    """Why a completed run does not go on, and what would make it; None where there are epochs left to train."""
    epoch, patience, waited = state["epoch"], config["early_stopping"]["patience"], state["best"].get("waited")
    if epoch >= config["epochs"]:
        return f"is complete: {epoch} epochs. epochs=N with a larger N trains on."
    if patience is not None and is_number(waited) and waited >= patience:
        return f"was stopped early: {epoch} epochs. early_stopping.patience=M with a larger M, or null, trains on."
    return None


def best_bound(state: dict[str, Any]) -> float:
    bound = state["best"].get("bound")
    return float(bound) if is_number(bound) else math.nan


def resume_command(folder: Path) -> str:
    """What to type to go on with a run."""
    return command(["vae-train", setting("resume", folder)])
