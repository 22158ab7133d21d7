"""What README.md and the pages of docs/ tell a reader to type works, in the order in which it stands there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from support.command_line import called
from support.configurations import composed
from support.mnist_files import fake
from support.pages import BEFORE, ROOT, all_commands, blocks, command_lines, inline_commands, pages, shrunk

from vaecli.config.catalog import command_keys, commands, default_choices

NOT_RUN = {"tensorboard"}  # a server that runs until it is stopped
ASKS = {"resume", "repeat"}  # of a run that is there already


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and MNIST's files elsewhere."""
    fake(tmp_path / "data", "MNIST", n_train=50, n_test=20)
    monkeypatch.setenv("VAE_DATA", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(words: list[str], folder: Path) -> None:
    """Run a command as it is shown; only its size is less."""
    done = called(*shrunk(words), cwd=folder)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"


def run_blocks(page: str, folder: Path) -> None:
    """Everything in the blocks of a page, from top to bottom."""
    BEFORE.get(page, lambda: None)()
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), {})
            continue
        for words in command_lines(block):
            if words[0] not in NOT_RUN:
                run(words, folder)


def test_the_first_commands_of_the_readme_run(reader: Path) -> None:
    """Those below the installation; the others of it under `slow`."""
    (first,) = [block for block in blocks("README.md") if block.text.startswith("vae-train  ")]
    for words in command_lines(first):
        if words[0] not in NOT_RUN:
            run(words, reader)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages())
def test_page_runs(page: str, reader: Path) -> None:
    run_blocks(page, reader)


@pytest.mark.slow
def test_commands_behind_the_results_run(reader: Path) -> None:
    for words in inline_commands("docs/results.md"):
        run(words, reader)


@pytest.mark.parametrize("page", pages())
def test_keys_and_options_of_pages_exist(page: str) -> None:
    """The quick check of what the slow tests run."""
    for program, *words in all_commands(page):
        if program in NOT_RUN:
            continue
        command, settings = ("train", words) if program == "vae-train" else (words[0], words[1:])
        settings = [word for word in settings if not word.startswith(("-", "hydra"))]
        names = [word.partition("=")[0] for word in settings]
        if command == "train" and not ASKS & set(names):
            composed(*[re.split(r",(?![^\[]*\])", word)[0] for word in settings if "(" not in word])
        elif not command.startswith("-"):
            known = {key.name for key in command_keys(command)} | set(default_choices(command))
            assert {name for name in names if name.partition(".")[0] not in default_choices(command)} <= known, words


def test_readme_has_an_example_of_every_command() -> None:
    shown = {"train" if words[0] == "vae-train" else words[1] for words in all_commands("README.md")}
    assert set(commands()) <= shown


def test_functions_of_the_mathematics_exist() -> None:
    cells = [
        line.rsplit(" | ", 1)[-1]
        for line in (ROOT / "docs/mathematics.md").read_text().splitlines()
        if "](../vaecli/" in line
    ]
    found = [link for cell in cells for link in re.findall(r"((?:`[^`]*`[^`\[]*)+)\[[^]]*\]\(\.\./([^)]*)\.py\)", cell)]
    assert len(found) > 30
    for names, path in found:
        module = importlib.import_module(path.replace("/", "."))
        for name in re.findall(r"`([A-Za-z]\w+)[`.]", names):
            assert getattr(module, name).__module__ == module.__name__, (name, path)
