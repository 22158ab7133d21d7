"""`vae explore`: a page in the browser on which a run's latent space can be moved through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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


def main(config: Config, *runs: Run) -> Iterator[Path]:
    """Serve the page until Ctrl-C, or write it as one file."""
    if config.output is not None:
        from vaecli.commands._explore_file import write_page
        from vaecli.commands._explored import Explored

        if len(runs) > 1:
            raise UserError("output=: a page without a server shows one run; give run=FOLDER")
        write_page(config, Explored(runs[0], config.split, config.n, config.seed))
        yield config.target
        return
    from vaecli.commands._explore_serve import serve

    serve(config, runs)
