"""`vae train`: from a configuration to a run folder."""

from __future__ import annotations

from vaecli.config.compose import Invocation
from vaecli.runs.config import RunConfig
from vaecli.training.seeds import start
from vaecli.utils.types import Values


def main(config: Values, invocation: Invocation) -> float:
    """Train as `config` says; the best checkpoint's validation bound (training bound without a validation split).

    In a sweep the folder exists already, and a job that fails records its reason there.
    """
    return start(RunConfig.of(config), invocation)
