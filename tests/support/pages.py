"""The commands and programs that README.md and the pages of docs/ show, and what a reader has before running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from support.runs import SMALL, train

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:vae|vae-train) [^`\n]*)`")
BLANKS = re.compile(r"\b[A-Z]{4,}\b|\bRUN\b|\bN\b|\.\.\.|\$\(")  # what the reader fills in
CAPS = {"hydra.sweeper.n_trials": 2, "k": 20, "limit": 2, "n": 50}
LAUNCHER = ("hydra/launcher", "hydra.launcher.n_jobs")  # processes of their own; tests/scale has them


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str  # sh or python
    text: str


def pages() -> list[str]:
    """All pages that have such a block, by their paths in the repository."""
    found = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
    return [str(path.relative_to(ROOT)) for path in found if blocks(str(path.relative_to(ROOT)))]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [Block(*found.groups()) for found in FENCE.finditer((ROOT / page).read_text())]


def command_lines(block: Block) -> list[list[str]]:
    """The words of each command of a block of shell commands, comments left out."""
    words = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    return [line for line in words if line]


def inline_commands(page: str) -> list[list[str]]:
    """The words of each command within the text of a page that leaves nothing for the reader to fill in."""
    text = FENCE.sub("", (ROOT / page).read_text())
    found = [line.replace(r"\|", "|") for line in INLINE.findall(text)]
    return [shlex.split(line) for line in dict.fromkeys(found) if not BLANKS.search(line)]


def all_commands(page: str) -> list[list[str]]:
    """The words of all commands of a page, those of its blocks first."""
    shown = [words for block in blocks(page) if block.language == "sh" for words in command_lines(block)]
    return [*shown, *inline_commands(page)]


def shrunk(words: list[str]) -> list[str]:
    """The arguments of `vae` for a command as it is shown, but of few epochs, observations and draws."""
    args = ["train", *words[1:]] if words[0] == "vae-train" else words[1:]
    args = [capped(word) for word in args if word.partition("=")[0] not in LAUNCHER]
    if args[0] == "explore":  # would serve until Ctrl-C
        page = [word for word in args if not word.startswith(("output=", "run=[", "port="))]
        return [*page, "output=page.html"] if len(args) > 1 else [*args, "--help"]
    if args[0] == "fit":
        return [*args, "restarts=0"]
    if args[0] != "train" or "--help" in args:
        return args
    if any(word.startswith(("resume=", "repeat=")) for word in args):
        return [re.sub(r"^epochs=\d+$", "epochs=6", word) for word in args]
    mnist = any("mnist" in word or "aevb" in word for word in args)
    args = [word for word in args if not word.startswith(("epochs=", "dataset.val_size="))]
    return [*args, "epochs=2", "dataset.limit=40", *(["dataset.val_size=10"] if mnist else [])]


def capped(word: str) -> str:
    """A key that says how much is to be done, at most the number that a test has time for."""
    key, _, value = word.partition("=")
    return f"{key}={min(int(value), CAPS[key])}" if key in CAPS and value.isdigit() else word


def tables() -> None:
    """A table with labels, an array, a table with gaps, and a folder of images."""
    rng = np.random.default_rng(0)
    flowers = [",".join([*(f"{x:.2f}" for x in row), name]) for row, name in zip(rng.normal(5, 1, (30, 3)), "ab" * 15, strict=True)]  # fmt: skip  # noqa: E501
    Path("flowers.csv").write_text("\n".join(["petal,sepal,stem,species", *flowers]) + "\n")
    np.save("spectra.npy", rng.normal(100, 20, (30, 12)))
    patients = [f"{weight:.1f},{'' if i % 3 else f'{height:.2f}'}" for i, (weight, height) in enumerate(rng.normal(70, 9, (240, 2)))]  # fmt: skip  # noqa: E501
    people = [f"{20 + i},{'female' if i % 2 else 'male'},{1000 * rng.lognormal():.2f}" for i in range(40)]
    Path("people.csv").write_text("\n".join(["age,sex,income", *people]) + "\n")
    for name in ("patients.csv", "new_patients.csv"):
        Path(name).write_text("\n".join(["weight,height", *patients]) + "\n")
    Path("photos").mkdir()
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)).save(f"photos/{i}.png")


def stopped_run() -> None:
    """A run that was interrupted in its second epoch."""
    assert train(*SMALL, "output=outputs/first", stop_at=5) == 130


def runs_to_look_into() -> None:
    """A run of curves and two of digits, the newest with 20 latents; codes and a picture of a digit."""
    few = ("dataset.limit=40", "epochs=1")
    digits = ("dataset=digits",)
    curves = ("dataset=beta", "decoder=gaussian_identity", "latent_dim=2", "output=outputs/curves")
    for words in (curves, (*digits, "output=outputs/a"), (*digits, "output=outputs/b")):
        assert train(*few, *words) == 0
    np.save("codes.npy", np.zeros((3, 20), dtype=np.float32))
    Image.fromarray(np.full((8, 8), 100, dtype=np.uint8)).save("digit.png")


BEFORE: dict[str, Callable[[], None]] = {
    "README.md": tables,
    "docs/own-data.md": tables,
    "docs/tables.md": tables,
    "docs/resuming.md": stopped_run,
    "docs/inspecting.md": runs_to_look_into,
    "docs/python.md": runs_to_look_into,
}
