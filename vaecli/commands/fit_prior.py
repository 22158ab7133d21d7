"""`vae fit_prior`: a new run with another run's networks, and a prior fitted to its codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaecli.commands._run import Keys
from vaecli.config.compose import Invocation
from vaecli.runs.find import find_run
from vaecli.runs.names import BEST
from vaecli.training.api import composed
from vaecli.training.seeds import start
from vaecli.utils.command_line import command, setting
from vaecli.utils.schema import as_typed, flatten
from vaecli.utils.types import PositiveFloat, PositiveInt, Seed, Values

OF_PRIOR = ("_target_", "name")  # entries of an option that are not typed


@dataclass(kw_only=True)
class Config(Keys):
    prior: Values
    run: str
    epochs: PositiveInt | None
    lr: PositiveFloat
    seed: Seed
    device: str
    trust: list[str]
    output: str | None


def main(config: Config) -> list[Path]:
    """Train the new run; training prints what it writes."""
    folder = find_run(config.run, BEST)
    name = str(config.prior["name"])
    words = [
        setting("repeat", folder.path),
        setting("prior_of", folder.path.absolute()),
        setting("output", config.output or f"{folder.path}_{name}"),
        f"prior={name}",
        *(f"prior.{key}={as_typed(value)}" for key, value in flatten(config.prior).items() if key not in OF_PRIOR),
        "objective=elbo", "optimizer=adam", f"optimizer.lr={config.lr}", "scheduler=linear", "clip_grad_norm=null",
        "start_at_mean=false", "ema.decay=null", "early_stopping.patience=null",
        f"seed={config.seed}", f"device={config.device}", f"trust={as_typed(config.trust)}",
    ]  # fmt: skip
    words += [] if config.epochs is None else [f"epochs={config.epochs}"]
    keys = [word.partition("=")[0] for word in words]
    start(composed(*words), Invocation(command(["vae-train", *words]), keys, None))
    return []
