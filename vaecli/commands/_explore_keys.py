"""The keys of `vae explore`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vaecli.commands._keys import DrawKeys
from vaecli.runs.find import find_run
from vaecli.runs.folder import RunFolder
from vaecli.utils.errors import UserError
from vaecli.utils.types import Part, PositiveInt, Seed

if TYPE_CHECKING:
    from vaecli.models.load import Run

Port = Annotated[int, Field(strict=True, ge=1024, le=65535)]


@dataclass
class Config(DrawKeys):
    FILE = "explore.html"
    run: str | list[str]  # type: ignore[assignment]
    split: Part
    n: PositiveInt
    open: bool
    port: Port | None
    seed: Seed
    folders: list[RunFolder] = field(init=False)  # of the runs

    def prepare(self) -> list[Run]:
        """Find the runs; they are loaded here for a file, and else when the page is there already."""
        names = [self.run] if isinstance(self.run, str) else self.run
        if not names:
            raise UserError("run=[]: expected a run's folder, latest, or a list of folders")
        if len(names) > 1 and self.output is not None:
            raise UserError("output=: a page without a server shows one run; give run=FOLDER")
        self.folders = [find_run(name, self.checkpoint) for name in names]
        return [] if self.output is None else super().prepare()

    def load(self) -> list[Run]:
        """All runs asked for; the first one's data are shown."""
        from vaecli.commands.reconstruct import check_same_shape

        given = [self.dataset.given, *({} for _ in self.folders[1:])]
        runs = [self.load_one(str(folder.path), data) for folder, data in zip(self.folders, given, strict=True)]
        check_same_shape(runs)
        return runs
