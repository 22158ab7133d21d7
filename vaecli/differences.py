"""What tells runs apart: the keys in which their configurations differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaecli.validation import plain


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; a group's chosen option stands under the group's own name."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flatten(value, f"{prefix}{key}.")
        elif key == "name" and prefix:
            found[prefix[:-1]] = value
        elif key != "_target_":
            found[prefix + key] = value
    return found


def differences(configs: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """For each configuration, the keys whose values are not the same in all of them.

    Where two runs chose different options of a group, the option's name says it, and the keys that follow from it
    (decoder.sigma beside decoder) are left out.
    """
    flat = [flatten(config) for config in configs]
    keys = list(dict.fromkeys(key for one in flat for key in one if key not in ("output", "device")))
    differing = [key for key in keys if len({plain(one.get(key)) for one in flat}) > 1]
    told = [key for key in differing if key.split(".", 1)[0] == key or key.split(".", 1)[0] not in differing]
    # where `samples` differs, so does objective.n_samples, which repeats it
    told = [key for key in told if key != "objective.n_samples" or "samples" not in told]
    return [{key: plain(one[key]) for key in told if key in one} for one in flat]


def titles(configs: Sequence[dict[str, Any]], otherwise: Sequence[str]) -> list[str]:
    """A short title for each run: what differs, or its entry of `otherwise` where nothing does."""
    found = [", ".join(f"{key}={value}" for key, value in one.items()) for one in differences(configs)]
    return [title or name for title, name in zip(found, otherwise, strict=True)]
