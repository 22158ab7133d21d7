"""Names of the folders of a sweep and of its jobs."""

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
from vaecli.utils.ranks import restarted
from vaecli.utils.schema import check_value
from vaecli.utils.types import FolderName

SWEEPS = Path("outputs", "sweeps")


def register(words: Sequence[str]) -> None:
    """Register the resolvers by which conf/train.yaml names folders; words: the command line's keys and values."""
    typed = single_keys(words)
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
    OmegaConf.register_new_resolver("job_folder", partial(job_folder, typed=typed), replace=True)


def single_keys(words: Iterable[str]) -> set[str]:
    """The keys that have one value on a command line, the same in all jobs of a sweep."""
    return {one.key_or_group for one in parsed(words) if not one.is_sweep_override()}


def sweep_folder(name: str | None, now: str) -> str:
    """The name that the user gave the sweep, or the time."""
    return now if name is None else name


def job_folder(number: int, overrides: str, typed: Collection[str] = (), length: int = 120) -> str:
    """The name of a job's folder: its number and the keys in which it differs from the other jobs.

    3 and `decoder=gaussian,epochs=5` make 3_decoder-gaussian if all jobs have these epochs.

    typed: the keys that have one value in all jobs
    """
    parts = [part.lstrip("+") for part in re.split(r",(?=[+~]*[\w./@]+=)", str(overrides))]
    text = "_".join(part for part in parts if part.partition("=")[0] not in typed)
    shown = re.sub(r"[^A-Za-z0-9._-]+", "-", text.replace(",", "_")).strip(".-_")[:length]
    return f"{number}_{shown}" if shown else str(number)


def parsed(words: Iterable[str]) -> list[Override]:
    """The keys and values of a command line; [] if one cannot be parsed, which is reported when they are composed."""
    try:
        return OverridesParser.create().parse_overrides(list(words))
    except HydraException:
        return []


def check_run_name(words: Sequence[str], multirun: bool) -> None:
    """UserError for an invalid name, and for one that a sweep already has, before its folder is created.

    With sweep.skip_completed=true, or if torchrun starts its processes again, the sweep of that name continues.
    """
    goes_on = restarted() or any(
        one.key_or_group == "sweep.skip_completed" and one.value() is True for one in parsed(words)
    )
    for one in parsed(words):
        if one.key_or_group != "name" or one.is_delete():
            continue
        if one.is_sweep_override():
            raise UserError(f"{one.input_line}: a sweep takes a single name")
        name = check_value("name", one.value(), FolderName | None)
        folder = SWEEPS / (name or "")
        if multirun and name and folder.exists() and not goes_on:
            raise UserError(
                f"name={name}: a sweep of this name exists already ({folder}); choose another, "
                "or continue it with sweep.skip_completed=true"
            )
