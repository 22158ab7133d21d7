"""A run's config.yaml: what of a configuration is kept, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaecli.runs.access import PATHS
from vaecli.runs.folder import CONFIG, RunFolder
from vaecli.runs.read import Damaged, dump_yaml, load_yaml, read
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, refuse_no_text, replace_text
from vaecli.utils.types import Config


def absolute_paths(config: Config) -> Config:
    """The configuration with the data's paths as every later command will find them, from whichever folder."""
    dataset = config["dataset"]
    paths = {key: dataset[key] for key in PATHS if isinstance(dataset.get(key), str)}
    paths = {key: str(expanded(path).absolute()) for key, path in paths.items()}
    for key, path in paths.items():
        refuse_no_text(f"dataset.{key}={path}", path)
    return {**config, "dataset": {**dataset, **paths}}


def stored(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what says how and where to train it, rather than what."""
    return {**{key: value for key, value in config.items() if key not in ASKING}, "output": None}


def write_config(folder: RunFolder, config: dict[str, Any]) -> str:
    """Write config.yaml; its text."""
    text = dump_yaml(stored(config))
    replace_text(folder.config, text)
    return text


ASKING = ("resume", "repeat", "trust", "output")  # say what to do, and are no part of what is trained


def read_config(path: Path) -> Config:
    """A run's config.yaml, or that of a run's folder: plain values, in which nothing is interpolated or executed."""
    path = RunFolder(path).config if path.is_dir() else path
    try:
        if not path.exists():
            raise UserError(f"{path}: there is no such file; expected a run's folder or its {CONFIG}")
        config = load_yaml(read(path))
    except (OSError, ValueError, Damaged) as error:
        raise UserError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(config, dict) or not isinstance(config.get("dataset"), dict):
        raise UserError(f"{path}: is not the configuration of a run")
    return config
