"""vaecli: train, inspect and compare variational autoencoders from the command line."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`vaecli.load`, imported when it is first used: torch takes seconds."""
    if name != "load":
        raise AttributeError(f"module 'vaecli' has no attribute {name!r}")
    from vaecli.models.load import load

    return load
