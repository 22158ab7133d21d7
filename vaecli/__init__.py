"""vaecli: train, inspect and compare variational autoencoders, from the command line or from Python."""

from importlib import import_module
from typing import Any

LAZY_IMPORTS = {
    "Run": "vaecli.analysis.api",
    "UserError": "vaecli.utils.errors",
    "__version__": "vaecli.utils.version",
    "load": "vaecli.analysis.api",
    "train": "vaecli.training.api",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: importing torch takes seconds."""
    if name not in LAZY_IMPORTS:
        raise AttributeError(f"module 'vaecli' has no attribute {name!r}")
    return getattr(import_module(LAZY_IMPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(LAZY_IMPORTS)
