"""The examples of docs/data.md: the files are written, the commands run, and what they print is what stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import called

DOCUMENT = Path(__file__).parents[2] / "docs/data.md"


def blocks() -> list[list[str]]:
    """The indented blocks that begin with a command."""
    found = re.findall(r"^    \$ (?:.*)\n(?:    .*\n)*", DOCUMENT.read_text(), re.MULTILINE)
    return [[line.removeprefix("    ") for line in block.splitlines()] for block in found]


def examples() -> list[tuple[str, list[str]]]:
    """Each command with the lines below it."""
    steps: list[tuple[str, list[str]]] = []
    for line in (line for block in blocks() for line in block):
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


def test_every_block_is_an_example() -> None:
    steps = examples()
    assert sum(command.startswith("cat ") for command, _ in steps) >= 4
    assert sum(command.startswith("vae ") for command, _ in steps) >= 7
    assert all(lines for command, lines in steps if not command.startswith("python "))


def test_examples_print_what_stands_there(tmp_path: Path) -> None:
    for command, lines in examples():
        program, *words = shlex.split(command)
        if program == "cat":
            (tmp_path / words[0]).write_text("\n".join(lines) + "\n")
            continue
        if program == "python":
            subprocess.run([sys.executable, *words], cwd=tmp_path, check=True)
            continue
        assert program == "vae"
        done = called(*words, cwd=tmp_path)
        printed = done.stderr if lines[0].startswith("error: ") else done.stdout
        shown = [one[: len(line) - 3] + "..." if line.endswith(" ...") else one
                 for line, one in zip(lines, printed.splitlines(), strict=False)]  # fmt: skip
        assert shown == lines, command


@pytest.mark.parametrize("group", ["arrays", "images"])
def test_every_key_of_reading_is_explained(group: str) -> None:
    yaml = (DOCUMENT.parents[1] / f"conf/dataset/{group}.yaml").read_text()
    keys = set(re.findall(r"^(\w+):", yaml, re.MULTILINE)) - {
        "_target_", "name", "path", "colour", "binarize", "binarize_seed", "missing"}  # fmt: skip
    text = DOCUMENT.read_text()
    assert not [key for key in keys if f"dataset.{key}" not in text]
