"""`vae train`: from a configuration to a run folder."""

from __future__ import annotations

from typing import Any

from vaecli.training.lifecycle import Origin, start
from vaecli.training.setup import Config
from vaecli.utils.schema import check_arguments


def main(config: dict[str, Any], origin: Origin) -> float:
    """Train as `config` says; the best checkpoint's validation bound (training bound without a validation split).

    In a sweep the folder is there already, and a job that fails leaves its reason in it.
    """
    check_arguments(Config, config)
    return start(config, origin)
