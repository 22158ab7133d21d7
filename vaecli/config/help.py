"""The help texts, made from the comments of the YAML files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vaecli.config.catalog import (
    Key,
    command_keys,
    conf_folder,
    config_dirs,
    default_choices,
    groups,
    header,
    keys,
    option_file,
)

FOOTER = """\
Flags: -m, --multirun  run every combination of comma-separated values     --cfg job  print the configuration
       --config-dir D  also find options in D/<group>/<name>.yaml          --hydra-help  Hydra's other flags"""


def overview(commands: Sequence[str]) -> str:
    """What `vae --help` prints."""
    rows = [(name, header(conf_folder() / f"{name}.yaml")[0]) for name in commands]
    return "\n".join(
        [
            "vae: train, inspect and compare variational autoencoders.",
            "",
            "Usage: vae COMMAND [key=value ...]",
            "",
            *table(rows),
            "",
            "vae COMMAND --help explains a command and its keys; vae --version prints the version.",
            "Start with: vae train && vae sample",
        ]
    )


def command_help(command: str, args: Sequence[str]) -> str:
    """What `vae COMMAND --help` prints; `args` may choose options, whose keys are then shown."""
    path = conf_folder() / f"{command}.yaml"
    own = [key for key in command_keys(command) if "${" not in key.default]
    parts = [*header(path), "", "Keys (key=default):", *key_table(own)]
    if default_choices(command):
        parts += ["", *choices(command, args)]
    return "\n".join([*parts, "", FOOTER])


def choices(command: str, args: Sequence[str]) -> list[str]:
    """The groups with their options, and the keys of the options chosen."""
    places = config_dirs(args)
    chosen = default_choices(command) | dict(arg.split("=", 1) for arg in args if arg.count("=") == 1)
    lines, rows = ["Choices (group=option):"], []
    for group, default in default_choices(command).items():
        options = groups(places).get(group, [])
        files = {name: option_file(places, group, name) for name in options}
        lines += [f"  {group}={default}", *table([(name, first_line(file)) for name, file in files.items()], indent=6)]
        file = files.get(chosen[group])
        if file is not None and group != "experiment":
            rows += keys(file, prefix=f"{group}.")
    visible = [row for row in rows if "${" not in row.default and row.name != "dataset.source"]
    return [
        *lines,
        "",
        f"Keys of the options chosen (vae {command} dataset=mnist --help shows mnist's):",
        *key_table(visible),
    ]


def first_line(file: Path | None) -> str:
    lines = [] if file is None else header(file)
    return lines[0] if lines else ""


def key_table(rows: Iterable[Key]) -> list[str]:
    return table([(f"{row.name}={row.default.replace(', ', ',')}", row.comment) for row in rows])


def table(rows: Sequence[tuple[str, str]], indent: int = 2) -> list[str]:
    width = max((len(left) for left, _ in rows), default=0)
    return [f"{'':{indent}}{left:{width}}  {right}".rstrip() for left, right in rows]
