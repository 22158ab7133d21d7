"""What the folders of a sweep and of its jobs are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from vaecli.utils.errors import UserError
from vaecli.utils.schema import check_value
from vaecli.utils.types import FolderName

SWEEPS = Path("outputs", "sweeps")


def register(words: Sequence[str]) -> None:
    """Let conf/train.yaml name folders; words: the keys and values of the command line."""
    typed = {one.key_or_group for one in parsed(words) if not one.is_sweep_override()}
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
    OmegaConf.register_new_resolver("job_folder", partial(job_folder, typed=typed), replace=True)


def sweep_folder(name: str | None, now: str) -> str:
    """The name that the user gave the sweep, or the time."""
    return now if name is None else name


def job_folder(number: int, overrides: str, typed: Collection[str] = (), length: int = 120) -> str:
    """The job's number and what it differs in from others: 3 and `decoder=gaussian,epochs=5` make 3_decoder-gaussian.

    typed: the keys that have one value in all jobs
    """
    parts = [part.lstrip("+") for part in re.split(r",(?=[+~]*[\w./@]+=)", str(overrides))]
    text = "_".join(part for part in parts if part.partition("=")[0] not in typed)
    shown = re.sub(r"[^A-Za-z0-9._-]+", "-", text.replace(",", "_")).strip(".-_")[:length]
    return f"{number}_{shown}" if shown else str(number)


def parsed(words: Iterable[str]) -> list[Override]:
    """The keys and values of a command line; none where one cannot be read, as is said when it is composed."""
    try:
        return OverridesParser.create().parse_overrides(list(words))
    except HydraException:
        return []


def check_run_name(words: Sequence[str], multirun: bool) -> None:
    """UserError for a name that is none, and for one that a sweep has already, before its folder is made."""
    for one in parsed(words):
        if one.key_or_group != "name" or one.is_delete():
            continue
        if one.is_sweep_override():
            raise UserError(f"{one.input_line}: a sweep has one name")
        name = check_value("name", one.value(), FolderName | None)
        folder = SWEEPS / (name or "")
        if multirun and name and folder.exists():
            raise UserError(f"name={name}: there is a sweep of this name already ({folder}); choose another")
