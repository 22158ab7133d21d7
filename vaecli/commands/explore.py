"""`vae explore`: a page in the browser on which a run's latent space can be moved through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vaecli.commands._explore_keys import Config
from vaecli.models.load import Run
from vaecli.utils.errors import UserError


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
