"""The launchers and sweepers that come with extras of the package."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from vaecli.utils.errors import UserError
from vaecli.utils.ranks import world

EXTRAS = {  # module and extra by setting
    "hydra/launcher=joblib": ("joblib", "sweep"),
    "hydra/launcher=submitit_local": ("submitit", "cluster"),
    "hydra/launcher=submitit_slurm": ("submitit", "cluster"),
    "hydra/sweeper=vaecli_optuna": ("optuna", "optuna"),
}


def check_extras(words: Iterable[str]) -> None:
    """UserError for a launcher or sweeper that is not installed, or that does not work under torchrun."""
    for word in words:
        if word in EXTRAS and world() > 1:
            raise UserError(f"{word}: cannot be combined with torchrun; leave one of them out")
        module, extra = EXTRAS.get(word, ("os", ""))
        if find_spec(module) is None:
            raise UserError(f"{word}: is not installed; install it: pip install 'vaecli[{extra}]'")
