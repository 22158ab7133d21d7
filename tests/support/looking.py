"""`vae data` in this process, its configuration composed once: what it reads of a file, or says."""

from __future__ import annotations

import copy
import functools
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

from vaecli.commands import data
from vaecli.commands._run import run_command
from vaecli.config.catalog import conf_folder


@functools.cache
def configuration(dataset: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        found: Any = OmegaConf.to_container(hydra.compose("data", [f"dataset={dataset}", "input=x"]), resolve=True)
    return found


def printed(path: Path, dataset: str = "arrays", form: str = "text", **keys: Any) -> str:
    """What `vae data input=PATH dataset=... dataset.KEY=...` prints; UserError where it is refused."""
    values = copy.deepcopy(configuration(dataset))
    values |= {"input": str(path), "format": form, "kinds": False}
    values["dataset"] |= {"path": str(path), **keys}
    out = io.StringIO()
    with redirect_stdout(out):
        run_command(data, values)
    return out.getvalue()


def look(path: Path, dataset: str = "arrays", **keys: Any) -> dict[str, Any]:
    """What it reads of the one file, as format=json has it, with the splits."""
    found = json.loads(printed(path, dataset, "json", **keys))
    file: dict[str, Any] = found["files"]["path"]
    return {**file, "splits": found["splits"]}
