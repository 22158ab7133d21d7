"""Runs a command: checks its keys, loads its runs, resolves `output`, and prints which files it wrote."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self

from vaecli.utils.errors import UserError
from vaecli.utils.ranks import leads, scratch_folder
from vaecli.utils.schema import check_arguments
from vaecli.utils.text import printable


@dataclass
class Keys:
    """The keys of a command: the base of its `Config`."""

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """From a command's configuration; UserError for what it does not allow."""
        return cls(**check_arguments(cls, values))

    def prepare(self) -> list[Any]:
        """Open the runs or files that the keys name; returns them as the arguments of `main` after the Config.

        UserError if that fails.
        """
        return []


class Written(NamedTuple):
    """A written file, and a note to print after its name."""

    path: Path
    note: str = ""  # printable; follows "wrote PATH"


Files = Path | Written | Iterable[Path | Written]  # what `main` returns; a generator's are announced one by one


def run_command(command: ModuleType, values: Mapping[str, Any], typed: Collection[str] = ()) -> list[Path]:
    """Run a command's `main(config, run)` with a composed configuration; the files that it has written.

    typed: the keys given on the command line
    """
    check_split(values, typed)
    config = command.Config.checked(values)
    runs = config.prepare()
    if not leads():  # of several processes one writes
        config.target = scratch_folder() / config.target.name
    files: Files = command.main(config, *runs)
    paths = []
    for file in [files] if isinstance(files, Path | Written) else files:
        path, note = file if isinstance(file, Written) else Written(file)
        print(f"wrote {printable(str(path))}{note}")
        paths.append(path)
    return paths


def check_split(values: Mapping[str, Any], typed: Collection[str]) -> None:
    """UserError if the command line asks for a split of the run's data and for other observations."""
    for other in ("input", "rows"):
        if "split" in typed and other in values and values[other] is not None:
            raise UserError(f"{other}= and split=: a split is of the run's own data, {other}= names others; give one")
