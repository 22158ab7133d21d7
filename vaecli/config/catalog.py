"""Reads the YAML files of conf/ as text: commands, options, their keys and what the keys mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

KEY_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: +(?P<value>[^#]*?))?(?: *# *(?P<comment>.*))?$")
HIDDEN = ("_target_", "name", "hydra", "defaults")
COMMAND_ORDER = (
    "train", "sample", "reconstruct", "impute", "alarm", "evaluate", "compare", "encode", "manifold", "traverse",
    "interpolate", "fit", "fit_prior", "report", "explore", "runs", "data",
)  # fmt: skip
KEY_ORDER = {"run": 0, "checkpoint": 0, "images": 2, "device": 2, "output": 3, "trust": 4, "dataset": 5}  # in the help


class Key(NamedTuple):
    """One `key: default  # comment` of a YAML file; nested keys are joined by dots."""

    name: str
    default: str
    comment: str


def conf_folder() -> Path:
    """The folder conf/: inside the package when installed from a wheel, next to it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    return next(folder for folder in (here / "conf", here.parent / "conf") if (folder / "train.yaml").is_file())


def header(path: Path) -> list[str]:
    """The comment at the beginning of a file, without its `# `."""
    lines = []
    for line in path.read_text("utf-8", "replace").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def keys(path: Path, prefix: str = "") -> list[Key]:
    """The keys that a user can set, in the file's order."""
    entries: list[Key] = []
    parents: list[tuple[int, str]] = []
    hidden_at = -1
    for line in path.read_text("utf-8", "replace").splitlines():
        match = KEY_LINE.match(line)
        if not match:
            continue
        depth, key, value = len(match["indent"]), match["key"], (match["value"] or "").strip()
        if 0 <= hidden_at < depth:
            continue
        hidden_at = depth if key in HIDDEN and (key != "name" or prefix) else -1
        if hidden_at >= 0:
            continue
        parents = [(d, k) for d, k in parents if d < depth]
        name = prefix + ".".join([*(k for _, k in parents), key])
        if value:
            entries.append(Key(name, value, match["comment"] or ""))
        else:
            parents.append((depth, key))
    return entries


def commands() -> list[str]:
    """All commands (a file in commands/ and one in conf/), in COMMAND_ORDER; others follow in alphabetical order."""
    modules = Path(__file__).resolve().parent.parent / "commands"
    names = {path.stem for path in modules.glob("[a-z]*.py")} & {path.stem for path in conf_folder().glob("*.yaml")}
    return sorted(
        names, key=lambda name: (COMMAND_ORDER.index(name) if name in COMMAND_ORDER else len(COMMAND_ORDER), name)
    )


def command_keys(command: str) -> list[Key]:
    """The keys of a command, in the order of its help: which run, the command's own keys, then how and where.

    Keys that the command's file lists after `output` stay there; if the file repeats a shared key, its own comment is
    shown.
    """
    path = conf_folder() / f"{command}.yaml"
    own = {key.name: key for key in keys(path)}
    shared = {key.name: key for name in included(path) for key in keys(path.with_name(f"{name}.yaml"))}
    if not shared:
        return list(own.values())
    names = list(own)
    behind = names[names.index("output") :] if "output" in names else []

    def place(key: Key) -> int:
        return KEY_ORDER.get(key.name.split(".")[0], KEY_ORDER["output"] if key.name in behind else 1)

    return sorted({**shared, **own}.values(), key=place)


def included(path: Path) -> list[str]:
    """The files in the same folder that its defaults name."""
    return [name for name in re.findall(r"^  - (\w+)$", path.read_text(), re.MULTILINE) if name != "_self_"]


def config_dirs(args: Sequence[str]) -> list[Path]:
    """The folders in which options are looked for, those named on the command line first."""
    flags = ("--config-dir", "-cd")
    given = [after for word, after in zip(args, [*args[1:], ""], strict=False) if word in flags]
    given += [word.partition("=")[2] for word in args if word.startswith(tuple(f"{flag}=" for flag in flags))]
    return [*(Path(folder).expanduser() for folder in given), conf_folder()]


def hidden_options(places: Sequence[Path]) -> list[Path]:
    """The files in `places` that Hydra never reads, because vaecli has an option of the same group and name."""
    own = conf_folder()
    given = (path for place in places if place != own for path in sorted(place.glob("*/*.yaml")))
    return [path for path in given if (own / path.parent.name / path.name).is_file()]


def groups(places: Sequence[Path] = ()) -> dict[str, list[str]]:
    """The options of each configuration group, including those in `places`."""
    options: dict[str, set[str]] = {}
    for place in (*places, conf_folder()):
        for path in place.glob("*/*.yaml"):
            if path.parent.name.isidentifier():
                options.setdefault(path.parent.name, set()).add(path.stem)
    return {name: sorted(options[name]) for name in sorted(options)}


def option_file(places: Sequence[Path], group: str, option: str) -> Path | None:
    """The first file of an option; None where there is none."""
    paths = [place / group / f"{option}.yaml" for place in places]
    return next((path for path in paths if path.is_file()), None)


def option_keys(places: Sequence[Path], group: str, option: str) -> list[Key]:
    """The keys of an option as they are typed; none where there is no such option."""
    path = option_file(places, group, option)
    return [] if path is None else keys(path, prefix=f"{group}.")


def default_choices(command: str = "train") -> dict[str, str]:
    """The option of each group that a plain `vae COMMAND` uses, in the order of its file; {}: it has no groups."""
    text = (conf_folder() / f"{command}.yaml").read_text()
    return dict(re.findall(r"^  - (\w+): (\w+)$", text, flags=re.MULTILINE))
