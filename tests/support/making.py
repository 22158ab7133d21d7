"""What a plain configuration describes, made as the program makes it."""

from __future__ import annotations

from typing import Any

import yaml

from vaecli.config.catalog import conf_folder
from vaecli.config.instantiate import TYPED_HERE, OptionFactory, Trust, imported
from vaecli.datasets.split import Split
from vaecli.models import build
from vaecli.models.vae import VAE
from vaecli.runs.config import RunConfig
from vaecli.training import setup


def options(config: dict[str, Any], trust: Trust = TYPED_HERE) -> OptionFactory:
    return OptionFactory(config, trust)


def options_of(group: str, base: type) -> list[str]:
    """The options of a group whose class derives from `base`."""
    targets = {
        path.stem: str(yaml.safe_load(path.read_text())["_target_"]) for path in (conf_folder() / group).glob("*")
    }
    return sorted(name for name, target in targets.items() if issubclass(imported(target), base))


def instantiate(config: dict[str, Any], group: str, trust: Trust = TYPED_HERE, **supplied: Any) -> Any:
    return options(config, trust).make(group, **supplied)


def build_vae(config: dict[str, Any], x_shape: tuple[int, ...], trust: Trust = TYPED_HERE) -> VAE:
    return build.build_vae(options(config, trust), config["latent_dim"], x_shape)


def fill_from_data(config: dict[str, Any], train: Split, recipe: str | None = None) -> dict[str, Any]:
    """The configuration with what the decoder takes from the data."""
    return {**config, "decoder": dict(build.filled_decoder(options(config), train, recipe))}


def prepare(config: dict[str, Any]) -> setup.TrainingSetup:
    return setup.prepare(RunConfig.of(config))
