"""Training from Python, with the arguments of the command line."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from vaecli.analysis.api import Run
from vaecli.config.compose import Invocation, compose
from vaecli.runs.config import RunConfig
from vaecli.runs.find import find_resumable
from vaecli.runs.folder import RunFolder, timestamped_folder
from vaecli.runs.names import BEST, LAST
from vaecli.training.seeds import start
from vaecli.utils.errors import UserError


def train(*words: str) -> Run:
    """Train as `vae-train WORDS` does, as in train("dataset=mnist", "latent_dim=2"). Returns the run with its best
    weights.

    UserError for what the command would refuse.
    """
    if wrong := [word for word in words if not isinstance(word, str)]:
        raise UserError(f'{wrong[0]!r}: expected texts, as in train("dataset=mnist", "epochs=2")')
    config = composed(*words)
    if config.seeds is not None:
        raise UserError(f"seeds={config.seeds}: from Python, train one seed after another: seed=0, seed=1 ...")
    keys = [word.lstrip("+").split("=", 1)[0] for word in words]
    if config.resume is not None:
        folder = find_resumable(config.resume)
    else:
        folder = timestamped_folder(config.dataset.name) if config.output is None else RunFolder(Path(config.output))
        config = replace(config, output=str(folder))
    start(config, Invocation(f"vae-train {shlex.join(words)}".strip(), keys, None))
    return Run.load(folder, BEST if folder.has(BEST) else LAST)


def composed(*words: str) -> RunConfig:
    """The configuration that the arguments of `vae-train` describe."""
    return RunConfig.of(compose("train", words))
