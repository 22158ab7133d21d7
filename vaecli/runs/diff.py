"""The keys in which the configurations of runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaecli.runs.config import NON_DISTINGUISHING_KEYS
from vaecli.utils.schema import as_typed, flatten
from vaecli.utils.types import Values

FOUND = ("dataset.kinds", "dataset.categories", "dataset.precision")  # keys that follow from the decoder and the data


def differing(flat: Sequence[Values]) -> Sequence[Values]:
    """For each flattened configuration, its entries whose values are not the same in all of them.

    An entry of a group (decoder.sigma) is compared among the runs with the same option of the group: runs with
    different options differ by the option's name, and their other entries of the group are left out. A run that
    lacks an option or a key is compared by the keys that it has.
    """
    keys = [key for key in dict.fromkeys(key for one in flat for key in one) if key not in NON_DISTINGUISHING_KEYS]
    values: dict[str, dict[Any, set[str]]] = {key: {} for key in keys}  # of each key, by its group's option
    for one in flat:
        for key in keys:
            if key in one:
                values[key].setdefault(option(one, key), set()).add(as_typed(one[key]))
    order = {key: i for i, key in enumerate(keys)}
    entries = [
        {key: one[key] for key in sorted(one.keys() & order.keys(), key=order.__getitem__)
         if varies(values[key], option(one, key))}
        for one in flat
    ]  # fmt: skip
    if any("samples" in one for one in entries):  # objective.n_samples has the same value
        entries = [{key: value for key, value in one.items() if key != "objective.n_samples"} for one in entries]
    if any("decoder" in one for one in entries):  # columns finds them, other decoders have none
        entries = [{key: value for key, value in one.items() if key not in FOUND} for one in entries]
    return entries


def option(flat: Values, key: str) -> str | None:
    """The option that was chosen of the group that a dotted key belongs to; None for a key of no group."""
    group, dot, _ = key.partition(".")
    return as_typed(flat[group]) if dot and group in flat else None


def varies(values: dict[Any, set[str]], chosen: str | None) -> bool:
    """Whether a key has several values among the runs with the option `chosen`, or with an unknown one."""
    sets = values.values() if chosen is None else [values[chosen], values.get(None, set())]
    return len(set().union(*sets)) > 1


def differences(configs: Sequence[Values]) -> list[dict[str, str]]:
    """For each configuration, the keys, as they are typed, in which it differs from the others, and its values."""
    entries = differing([flatten(config) for config in configs])
    return [{key: as_typed(value) for key, value in one.items()} for one in entries]


def titles(configs: Sequence[Values], otherwise: Sequence[str]) -> list[str]:
    """A short title for each run: its differences, or its entry of `otherwise` if there are none.

    start_at_mean and prior_of are left out if the other keys distinguish the runs.
    """
    entries = differences(configs)
    short = [{key: value for key, value in one.items() if key not in ("start_at_mean", "prior_of")} for one in entries]
    apart = len({tuple(one.items()) for one in short}) == len(short)
    texts = [", ".join(f"{key}={value}" for key, value in one.items()) for one in (short if apart else entries)]
    return [text or name for text, name in zip(texts, otherwise, strict=True)]
