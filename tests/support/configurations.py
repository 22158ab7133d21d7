"""The configuration that a command line stands for, as plain values: by Hydra, and the same without it, sooner."""

from __future__ import annotations

import copy
import functools
import shlex
import sys
from collections.abc import Callable
from typing import Any

import hydra
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from support.making import fill_from_data

from vaecli.config import compose
from vaecli.config.catalog import conf_folder, groups
from vaecli.datasets.split import Split

Config = dict[str, Any]

OPTIONS = groups()
ELEMENTWISE = [name for name in OPTIONS["decoder"] if name not in ("auto", "columns")]  # one likelihood for all numbers
GREY = Split(torch.arange(17, dtype=torch.uint8).reshape(17, 1), levels=16)
with_hydra = compose.run


def composed(*overrides: str, command: str = "train") -> Config:
    """The configuration that `vae COMMAND OVERRIDES` works with.

    Hydra takes a tenth of a second for it. Words that choose options and set values are put in here instead;
    test_configurations.py compares the two. KeyError where there is no such key.
    """
    parsed = [parse(word) for word in overrides]
    if any(one.key_or_group == "experiment" or one.is_delete() or one.is_sweep_override() for one in parsed):
        return copy.deepcopy(by_hydra(command, overrides))
    config = copy.deepcopy(by_hydra(command, ()))
    for one in sorted(parsed, key=lambda one: one.key_or_group not in OPTIONS):  # options first, as Hydra does
        put(config, one)
    return config


def filled(*overrides: str) -> Config:
    """The same, with what the decoder takes from the data filled in from images of 17 grey levels."""
    return fill_from_data(composed(*overrides), GREY)


def without_hydra(
    command: str, load_main: Callable[[], compose.Main], args: list[str], program: str, *end_sweep: Any
) -> None:
    """In the place of vaecli.config.compose.run, to which it leaves flags, sweeps, $ and what should be refused.

    And `vae data`, where a key's default is what another key holds.
    """
    words = compose.force_data_paths(args)
    try:
        if command == "data" or any(
            word.startswith(("-", "~")) or "$" in word or parse(word).is_sweep_override() for word in words
        ):
            raise KeyError
        values = composed(*words, command=command)
    except (HydraException, KeyError, TypeError):
        with_hydra(command, load_main, args, program, *end_sweep)
        return
    sys.argv = [program, *words]
    keys = [word.lstrip("+").split("=", 1)[0] for word in words]
    invocation = compose.Invocation(f"{program} {shlex.join(words)}".strip(), keys, None)
    compose.translate_errors(load_main(), compose.resolve_config(OmegaConf.create(values)), invocation)


@functools.cache
def by_hydra(command: str, overrides: tuple[str, ...]) -> Config:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        config: Any = OmegaConf.to_container(hydra.compose(command, list(overrides)), resolve=True)
    return dict(config)


@functools.cache
def parse(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def put(config: Config, override: Override) -> None:
    """One word of the command line; KeyError where + adds a key that is there, or there is no such key to be set."""
    *path, key = override.key_or_group.split(".")
    for part in path:
        config = config[part]
    if not override.is_force_add() and (key in config) == override.is_add():
        raise KeyError(override.key_or_group)
    config[key] = copy.deepcopy(option(key, override.value()) if not path and key in OPTIONS else plain(override))


def plain(override: Override) -> Any:
    """The value as YAML would have it: what the command line quotes is text."""
    return OmegaConf.to_container(OmegaConf.create({"value": override.value()}))["value"]  # type: ignore[index,call-overload]


@functools.cache
def option(group: str, name: str) -> Any:
    """The entries of conf/<group>/<name>.yaml; KeyError where there is none."""
    if name not in OPTIONS[group]:
        raise KeyError(f"{group}={name}")
    return OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{name}.yaml"))
