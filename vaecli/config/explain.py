"""Rewords Hydra's errors: one or two lines that name the nearest valid key or option."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from vaecli.config.catalog import conf_folder, default_choices, groups, keys, option_keys
from vaecli.utils.errors import nearest
from vaecli.utils.schema import flatten, unknown_key

OTHER_NAMES = {  # what users of other programs call a key
    "learning_rate": "optimizer.lr", "lr": "optimizer.lr", "n_epochs": "epochs", "num_epochs": "epochs",
    "batch": "batch_size", "latents": "latent_dim", "z_dim": "latent_dim", "model": "architecture",
    "likelihood": "decoder", "loss": "objective", "data": "dataset", "num_samples": "n", "file": "input",
}  # fmt: skip
NUMBERS = ("seeds", "seed", "latent_dim", "epochs", "batch_size", "samples", "n", "k")  # keys that take one


def explain(error: Exception, command: str, words: list[str], places: Sequence[Path] = ()) -> str:
    """One or two lines for an error of Hydra or OmegaConf; unknown keys and options name the nearest valid one.

    places: the user's own folders with options
    """
    offers = offered(command, places)
    for word in words:
        problem = malformed(word, command) or no_such_option(word, offers, str(error))
        if problem:
            return problem
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown and unknown[1] in offers:
        return f"{unknown[1]} takes the name of an option: {', '.join(offers[unknown[1]])}"
    if unknown:
        known = known_keys(command, words)
        if OTHER_NAMES.get(unknown[1]) in known:
            return f"unknown key {unknown[1]}; did you mean {OTHER_NAMES[unknown[1]]}?"
        return elsewhere(unknown[1], offers, places) or unknown_key(unknown[1], known)
    several = re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", str(error))
    if several:
        key, value = several.groups()
        if key in NUMBERS:
            return f"{key}={value}: expected one number; several values make a sweep with -m"
        return f"{key}={value}: several values make a sweep with -m, or a list in brackets: {key}=[{value}]"
    twice = re.match(r"Multiple values for (\w+)", str(error))
    if twice:
        return f"{twice[1]} is chosen already: give {twice[1]}=OPTION, without a +"
    return first_lines(error)


def first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "full_key" not in line]
    return "; ".join(line for line in lines[:2] if not line.startswith("object_type"))


def malformed(word: str, command: str) -> str | None:
    """What is wrong with the form of an override."""
    if ("=" not in word and not word.startswith("~")) or word.startswith("="):
        return f"{word}: expected key=value{example(word, command)}"
    try:
        OverridesParser.create().parse_overrides([word])
    except HydraException:
        return f"{word}: cannot be read; put a value with special characters in quotes, as in \"output='a b'\""
    return None


def example(word: str, command: str) -> str:
    """`, as in KEY=word` where the word is a run's folder or a file that the command can take."""
    folder, taken = os.path.isdir(word), {key.name for key in keys(conf_folder() / f"{command}.yaml")}
    if not os.path.exists(word):
        return ""
    if command == "train":
        return f", as in dataset={'images' if folder else 'arrays'} dataset.path={word}"
    if command == "compare":
        return f", as in 'run=[{word},OTHER]'"
    if folder and command != "data":
        return f", as in {'path' if command == 'runs' else 'run'}={word}"
    return f", as in input={word}" if "input" in taken else ""


def no_such_option(word: str, offers: dict[str, list[str]], error: str) -> str | None:
    """The message for an option that its group does not have."""
    key, _, value = word.partition("=")
    wrong = [option for option in value.split(",") if key in offers and f"{key}/{option}'" in error]
    if not wrong:
        return None
    hint = nearest(wrong[0], offers[key])
    return f"{key}={wrong[0]}: no such option{hint}\nThere are: {', '.join(offers[key])}"


def elsewhere(key: str, offers: dict[str, list[str]], places: Sequence[Path]) -> str | None:
    """The message for a key of an option that was not chosen."""
    group = key.split(".")[0]
    every = [*places, conf_folder()]
    names = [name for name in offers.get(group, []) if any(k.name == key for k in option_keys(every, group, name))]
    return f"unknown key {key} here: it belongs to {group}={' or '.join(names)}" if names else None


def offered(command: str, places: Sequence[Path] = ()) -> dict[str, list[str]]:
    """The groups that a command knows, with their options."""
    chosen = default_choices(command)
    return {group: options for group, options in groups(places).items() if group in chosen}


def known_keys(command: str, words: list[str]) -> list[str]:
    """Every key of the command's configuration, with the options that `words` choose."""
    offers = offered(command)
    valid = [word for word in words if word.partition("=")[2] in offers.get(word.partition("=")[0], [])]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        config: Any = OmegaConf.to_container(hydra.compose(command, valid))
    return list(dict.fromkeys([*offers, *flatten(config)]))
