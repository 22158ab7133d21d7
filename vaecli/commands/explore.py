"""`vae explore`: a page in the browser on which a run's latent space can be moved through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vaecli.commands._explore_keys import Config
from vaecli.utils.preload import preload_torch

if TYPE_CHECKING:
    from vaecli.models.load import Run

__all__ = ["Config", "main"]


def main(config: Config, *runs: Run) -> Iterator[Path]:
    """Serve the page until Ctrl-C, or write it as one file."""
    if config.output is None:
        preload_torch()
        from vaecli.commands._explore_serve import serve

        serve(config)
        return
    from vaecli.commands._explore_file import write_page
    from vaecli.commands._explored import Explored

    write_page(config, Explored(runs[0], config.split, config.n, config.seed))
    yield config.target
