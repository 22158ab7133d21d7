"""What tells runs apart: the keys in which their configurations differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaecli.runs.config import NON_DISTINGUISHING_KEYS
from vaecli.utils.schema import flatten, plain
from vaecli.utils.types import Values


def differing(flat: Sequence[Values]) -> Sequence[Values]:
    """For each flattened configuration, its entries whose values are not the same in all of them.

    An entry inside a group (decoder.sigma) counts among the runs that chose the same option of the group: where two
    runs chose different ones, the option's name tells them apart, and what follows from it is left out. A run that
    does not say its option, or lacks a key, is compared by what it says.
    """
    keys = [key for key in dict.fromkeys(key for one in flat for key in one) if key not in NON_DISTINGUISHING_KEYS]
    values: dict[str, dict[Any, set[str]]] = {key: {} for key in keys}  # of each key, by its group's option
    for one in flat:
        for key in keys:
            if key in one:
                values[key].setdefault(option(one, key), set()).add(plain(one[key]))
    order = {key: i for i, key in enumerate(keys)}
    entries = [
        {key: one[key] for key in sorted(one.keys() & order.keys(), key=order.__getitem__)
         if varies(values[key], option(one, key))}
        for one in flat
    ]  # fmt: skip
    if any("samples" in one for one in entries):  # objective.n_samples repeats it
        entries = [{key: value for key, value in one.items() if key != "objective.n_samples"} for one in entries]
    return entries


def option(flat: Values, key: str) -> str | None:
    """The option that was chosen of the group that a dotted key belongs to; None for a key of no group."""
    group, dot, _ = key.partition(".")
    return plain(flat[group]) if dot and group in flat else None


def varies(values: dict[Any, set[str]], chosen: str | None) -> bool:
    """Whether a key has several values among the runs with the option `chosen`, or with an unknown one."""
    sets = values.values() if chosen is None else [values[chosen], values.get(None, set())]
    return len(set().union(*sets)) > 1


def differences(configs: Sequence[Values]) -> list[dict[str, str]]:
    """For each configuration, the keys (as one types them) in which it differs from the others, and its values."""
    found = differing([flatten(config) for config in configs])
    return [{key: plain(value) for key, value in one.items()} for one in found]


def titles(configs: Sequence[Values], otherwise: Sequence[str]) -> list[str]:
    """A short title for each run: what differs, or its entry of `otherwise` where nothing does.

    How the weights began is left out where the rest tells the runs apart.
    """
    found = differences(configs)
    short = [{key: value for key, value in one.items() if key != "start_at_mean"} for one in found]
    apart = len({tuple(one.items()) for one in short}) == len(short)
    texts = [", ".join(f"{key}={value}" for key, value in one.items()) for one in (short if apart else found)]
    return [text or name for text, name in zip(texts, otherwise, strict=True)]
