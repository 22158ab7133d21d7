"""The keys of `vae explore`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from vaecli.commands._keys import DrawKeys
from vaecli.commands.reconstruct import check_same_shape
from vaecli.datasets.split import Part
from vaecli.models.load import Run
from vaecli.utils.errors import UserError
from vaecli.utils.types import PositiveInt, Seed

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

    def load(self) -> list[Run]:
        """All runs asked for; the first one's data are shown."""
        names = [self.run] if isinstance(self.run, str) else self.run
        if not names:
            raise UserError("run=[]: expected a run's folder, latest, or a list of folders")
        runs = [self.load_one(name, self.dataset.given if i == 0 else {}) for i, name in enumerate(names)]
        check_same_shape(runs)
        return runs
