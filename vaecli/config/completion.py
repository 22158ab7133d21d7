"""Completion with TAB, from the YAML files read as text; fast, because Hydra is not imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config.catalog import Key, command_keys, commands, config_dirs, default_choices, option_file, option_keys
from vaecli.config.paths import files, folders, run_folders

FLAGS = ("--help", "--multirun", "-m", "--cfg", "--config-dir", "--hydra-help")
RUNS = {"run": ["latest"], "resume": ["latest"], "repeat": []}  # keys that take a run, and the words that stand for one
PATHS = ("input", "output", "z", "path", "val_path", "test_path", "root", "rows", "without_rows")
SHELL = re.compile(r"([\s'\"()<>&|;$`!*?#\\])")  # what has to be escaped in bash

SCRIPTS = {  # evaluated once by a shell, which then calls `vae --complete` at each TAB
    "bash": """\
_vae() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        "${1/#\\~/$HOME}" --complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null
    )
}
complete -o nospace -F _vae vae vae-train
""",
    "zsh": """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_vae() {
    local -a found
    local typed="${(j: :)words[1,CURRENT-1]} ${(q)${(Q)PREFIX}}"
    found=("${(@f)$("${words[1]/#\\~/$HOME}" --complete zsh "$typed" 2>/dev/null)}")
    compadd -U -S ' ' -- ${${(M)found:#* }% }
    compadd -U -S '' -- ${(M)found:#*[^ ]}
}
compdef _vae vae vae-train
""",
    "fish": """\
function __vae_complete
    set -l words (commandline -opc)
    $words[1] --complete fish (commandline -cp | string collect) 2>/dev/null
end
complete -c vae -f -a '(__vae_complete)'
complete -c vae-train -f -a '(__vae_complete)'
""",
}


class Line(NamedTuple):
    """A command line up to the cursor, which is in or after `word`."""

    command: str
    before: list[str]
    word: str

    @property
    def config_dirs(self) -> list[Path]:
        return config_dirs(self.before)

    @property
    def chosen(self) -> dict[str, str]:
        """The option of each group: the default, the recipe's, or the one typed."""
        options = default_choices(self.command)
        typed = dict(word.lstrip("+").split("=", 1) for word in self.before if "=" in word)
        recipe = option_file(self.config_dirs, "experiment", typed.get("experiment", ""))
        if recipe is not None:
            options |= dict(re.findall(r"^  - override /(\w+): (\w+)$", recipe.read_text(), re.MULTILINE))
        return {group: typed.get(group, option) for group, option in options.items()}

    def settable(self) -> list[Key]:
        """The command's keys and those of the options chosen."""
        entries = command_keys(self.command)
        for group, option in self.chosen.items():
            entries += option_keys(self.config_dirs, group, option) if group != "experiment" else []
        return [key for key in entries if "${" not in key.default and key.name != "dataset.source"]


def answer(shell: str, text: str, breaks: str = "") -> list[str]:
    """The completions of a command line, in the form that the shell expects.

    breaks: characters before which bash keeps what is typed, as in `key=`, and takes only the rest
    """
    words, kept, quoted = split(text, breaks if shell == "bash" else "")
    typed = words[-1].replace("'", "")  # a file's name may be quoted for Hydra
    completions = [word for word in candidates(words) if word.replace("'", "").startswith(typed) and word.isprintable()]
    if len(completions) > 1:  # quotes are added when only one is left: until then all begin with the typed text
        completions = [word if word.startswith(words[-1]) else word.replace("'", "") for word in completions]
    if shell == "fish":
        return [word.rstrip() for word in completions]
    completions = [word[kept:] for word in completions]
    if shell == "zsh" or quoted:
        return completions
    return [SHELL.sub(r"\\\1", word.rstrip()) + " " * word.endswith(" ") for word in completions]


def split(text: str, breaks: str) -> tuple[list[str], int, bool]:
    """A line's words without their quotes; how many characters of the last one come before its last word break; whether
    the line ends within quotes."""
    words, kept, quote, escaped = [""], 0, "", False
    for c in text:
        if escaped or (quote and c not in (quote, "\\")) or (quote == "'" and c == "\\"):
            words[-1] += c
            escaped = False
        elif c == "\\":
            escaped = True
        elif c in "'\"":
            quote = "" if quote else c
        elif c.isspace():
            words, kept = [*words, ""] if words[-1] else words, 0
        else:
            words[-1] += c
            kept = len(words[-1]) if c in breaks else kept
    return words, kept, bool(quote)


def candidates(words: Sequence[str]) -> list[str]:
    """The completions of the last word; a complete one ends in a space."""
    program, *before = words
    if Path(program).name == "vae-train":
        before = ["train", *before]
    command, *rest = before or [""]
    if not rest:
        return spaced([*commands(), "--help", "--version", "--completion"])
    if command == "--completion":
        return spaced(SCRIPTS)
    if command not in commands():
        return []
    line = Line(command, rest[:-1], rest[-1])
    last = rest[-2] if len(rest) > 1 else ""
    if last == "--cfg":
        return spaced(["job", "hydra", "all"])
    if last == "--config-dir":
        return folders(line.word)
    if line.word.startswith("-"):
        return spaced(FLAGS)
    return values_of(line) if "=" in line.word else keys_of(line)


def keys_of(line: Line) -> list[str]:
    """The keys and groups that are not given yet, after the + signs already typed."""
    signs = re.match(r"\+*", line.word)
    given = {word.lstrip("+").partition("=")[0] for word in line.before}
    names = [*line.chosen, *(key.name for key in line.settable())]
    return [f"{signs[0] if signs else ''}{name}=" for name in names if name not in given]


def values_of(line: Line) -> list[str]:
    """The values of `key=`; of a list, or of several values for a sweep, the last one is completed."""
    typed, _, value = line.word.partition("=")
    key = typed.lstrip("+")
    item = re.split(r"[\[,]", value)[-1]
    known = {one.name: one for one in line.settable()}
    if key in line.chosen:
        paths = (path for folder in line.config_dirs for path in (folder / key).glob("*.yaml"))
        values = spaced(sorted({path.stem for path in paths}))
    elif key not in known:
        return []
    elif key in RUNS:
        values = [*spaced(RUNS[key]), *run_folders(item)]
    else:
        values = spaced(choices(known[key]))
        if not values and key.rpartition(".")[2] in PATHS:
            values = files(item)
    before = line.word.removesuffix(item)
    return [before + (one.rstrip() if "[" in before else one) for one in values]


def choices(key: Key) -> list[str]:
    """The words that a key takes, if its comment lists them, as in `a | b` or `a: what it is; b: what it is`."""
    comment = re.sub(r" \([^)]*\)", "", key.comment)
    if listed := re.match(r"[\w-]+(( \| |, or )[\w-]+)+", comment):
        return re.split(r" \| |, or ", listed[0])
    words = re.findall(r"(?:^|; )([\w-]+): ", comment)
    if key.default in ("true", "false"):
        words = list(dict.fromkeys(["true", "false", *words]))
    return words if key.default in words and words != ["null"] else []


def spaced(words: Iterable[str]) -> list[str]:
    return [f"{word} " for word in words]
