"""The configuration that a command line of `vae train` stands for, as plain values."""

from __future__ import annotations

import copy
import functools
from typing import Any

import hydra
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from support.making import fill_from_data

from vaecli.config.catalog import conf_folder, groups
from vaecli.datasets.split import Split

Config = dict[str, Any]

OPTIONS = groups()
GREY = Split(torch.arange(17, dtype=torch.uint8).reshape(17, 1), levels=16)


def composed(*overrides: str) -> Config:
    """The resolved configuration that `vae train OVERRIDES` works with.

    Hydra takes a tenth of a second for it. Words that choose options and set values are put in here instead;
    test_configurations.py compares the two.
    """
    parsed = [parse(word) for word in overrides]
    if any(one.key_or_group == "experiment" or one.is_delete() for one in parsed):
        return copy.deepcopy(by_hydra(overrides))
    config = copy.deepcopy(by_hydra(()))
    for one in sorted(parsed, key=lambda one: one.key_or_group not in OPTIONS):  # options first, as Hydra does
        put(config, one)
    return config


def filled(*overrides: str) -> Config:
    """The same, with what the decoder takes from the data filled in from images of 17 grey levels."""
    return fill_from_data(composed(*overrides), GREY)


@functools.cache
def by_hydra(overrides: tuple[str, ...]) -> Config:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        config: Any = OmegaConf.to_container(hydra.compose("train", list(overrides)), resolve=True)
    return dict(config)


@functools.cache
def parse(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def put(config: Config, override: Override) -> None:
    """One word of the command line; KeyError where there is no such key and the word does not begin with +."""
    *path, key = override.key_or_group.split(".")
    for part in path:
        config = config[part]
    if key not in config and not override.is_add():
        raise KeyError(override.key_or_group)
    config[key] = copy.deepcopy(option(key, override.value()) if not path and key in OPTIONS else plain(override))


def plain(override: Override) -> Any:
    """The value as YAML would have it: what the command line quotes is text."""
    return OmegaConf.to_container(OmegaConf.create({"value": override.value()}))["value"]  # type: ignore[index,call-overload]


@functools.cache
def option(group: str, name: str) -> Any:
    """The entries of conf/<group>/<name>.yaml."""
    return OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{name}.yaml"))
