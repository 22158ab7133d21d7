"""vaecli: train, inspect and compare variational autoencoders, from the command line or from Python."""

from importlib import import_module
from typing import Any

HOMES = {
    "Run": "vaecli.analysis.notebook",
    "UserError": "vaecli.utils.errors",
    "__version__": "vaecli.utils.version",
    "load": "vaecli.analysis.notebook",
    "train": "vaecli.training.notebook",
}


def __getattr__(name: str) -> Any:
    """What is imported when it is first used: torch takes seconds."""
    if name not in HOMES:
        raise AttributeError(f"module 'vaecli' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(HOMES)
