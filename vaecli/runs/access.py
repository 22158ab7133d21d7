"""Decides which files a run's data set may read.

If this user trained the run on this machine, these are all files that it names. Otherwise they are only files in the
run's own folder and those on the command line.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import cannot_write, check_utf8_name, expanded
from vaecli.utils.types import Values

PATHS = (
    "root",
    "path",
    "val_path",
    "test_path",
    "rows",
    "without_rows",
)  # the keys of data sets that name files and folders
NOWHERE = os.devnull  # not a folder, so that no path below it exists


class NotPermitted(UserError):
    """Raised if a run that was not trained here would read files that the command line does not name.

    settings: the words to add to the command line to allow it
    """

    def __init__(self, folder: Path, paths: Mapping[str, str]) -> None:
        self.settings = [setting(f"dataset.{key}", path) for key, path in paths.items()]
        files = ", ".join(f"{path} (dataset.{key})" for key, path in paths.items())
        super().__init__(
            f"{folder}: this run was not trained by you on this machine. It would read {files}, which is allowed only "
            f"if the command line names them.\nTo allow it, add {command(self.settings)}"
        )

    def with_command(self, words: list[str]) -> UserError:
        """The same error with the whole command line to copy."""
        reason, *_ = str(self).split("\n")
        return UserError(f"{reason}\nTo allow it: {command([*words, *self.settings])}")


def paths_of(dataset: Any) -> Values:
    """The files and folders that a data set's configuration names."""
    if not isinstance(dataset, Mapping):  # from a stranger's file; refused later
        return {}
    return {key: dataset[key] for key in PATHS if dataset.get(key) is not None}


def identify(run_id: str | None, dataset: Mapping[str, Any]) -> tuple[str, str | None]:
    """The id of a run that is trained here, for its summary.json, and the problem if the id cannot be recorded.

    An id belongs to the paths that it was created with: a run with other paths gets a new one.
    """
    if run_id is not None and is_own(run_id, dataset):
        return run_id, None
    run_id = secrets.token_hex(16)
    if not paths_of(dataset):
        return run_id, None
    try:
        remember(run_id, dataset)
    except UserError as error:
        words = command(setting(f"dataset.{key}", path) for key, path in paths_of(dataset).items())
        return run_id, f"{error}: this run is not recorded as yours; later commands need {words}"
    return run_id, None


def is_own(run_id: str | None, dataset: Mapping[str, Any]) -> bool:
    """Whether a run with this id was trained here by this user on the data that its configuration names."""
    if not paths_of(dataset):
        return True
    try:
        return run_id is not None and digest(run_id, dataset) in state_file().read_text().split()
    except (OSError, ValueError):
        return False


def remember(run_id: str, dataset: Mapping[str, Any]) -> None:
    """Add a run to the user's list of runs; UserError if that cannot be written."""
    path = state_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "ab", 0, opener=partial(os.open, mode=0o600)) as file:
            file.write(f"{digest(run_id, dataset)}\n".encode())  # in one write: other processes may be adding theirs
    except OSError as error:
        raise cannot_write(path, error) from None


def digest(run_id: str, dataset: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([run_id, paths_of(dataset)], sort_keys=True).encode()).hexdigest()


def state_file() -> Path:
    """The list of the runs that this user has trained on files: a line of hashes, which reveals neither id nor path."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    default = {"darwin": "~/Library/Application Support", "win32": os.environ.get("LOCALAPPDATA", "~")}
    place = chosen if os.path.isabs(chosen) else default.get(sys.platform, "~/.local/state")
    return Path(os.path.expanduser(place), "vaecli", "runs")


Localise = Callable[[Values, bool], Mapping[str, str]]


def restrict_paths(
    dataset: Values, folder: Path, own: bool, given: Values, localise: Localise
) -> tuple[Values, Mapping[str, str]]:
    """A data set's configuration without access to forbidden paths, and these paths by their keys.

    own: whether the user has trained the run here; given: the paths that the user names, by their keys
    localise: `Dataset.localise` of its class
    """
    dataset, unread = {**dataset, **given}, {} if own else unreadable_paths(folder, dataset, given)
    ours = {key: path for key, path in localise(dataset, own).items() if key not in given}
    dataset, unread = {**dataset, **ours}, {key: path for key, path in unread.items() if key not in ours}
    dead = {key: os.path.join(NOWHERE, Path(path).name) for key, path in unread.items()}
    return absolute_paths({**dataset, **dead}), unread


def unreadable_paths(folder: Path, dataset: Mapping[str, Any], given: Values) -> dict[str, str]:
    """The paths of a stranger's data set that may not be read: not given by the user and not in the run's folder."""
    paths = paths_of(dataset)
    return {key: str(path) for key, path in paths.items() if key not in given and not inside(folder, str(path))}


def inside(folder: Path, path: str) -> bool:
    """Whether a path and everything below it lie in a folder, after following all links."""
    try:
        home, first = folder.resolve(), expanded(path)
        if not first.resolve().is_relative_to(home):
            return False
        below = (Path(place, name) for place, folders, names in os.walk(first) for name in folders + names)
        return all(one.resolve().is_relative_to(home) for one in below)
    except (OSError, RuntimeError, UserError):  # a loop of links, an unknown user
        return False


def absolute_paths(dataset: Values) -> Values:
    """A data set's configuration with absolute paths, so that later commands find the data from any folder."""
    paths = {key: dataset[key] for key in PATHS if isinstance(dataset.get(key), str)}
    paths = {key: str(expanded(path).absolute()) for key, path in paths.items()}
    for key, path in paths.items():
        check_utf8_name(f"dataset.{key}={path}", path)
    return {**dataset, **paths}
