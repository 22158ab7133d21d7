"""The examples of docs/extending.md, written into a package of a user's own, train and are opened with trust."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.command_line import forked

DOCUMENT = Path(__file__).parents[2] / "docs/extending.md"
FILE = re.compile(r"^    # ((?:vaecli|conf)/\S+)\n((?:(?:    .*)?\n)+?)(?=    # (?:vaecli|conf)/|\n\S)", re.MULTILINE)


def examples() -> dict[str, str]:
    """The examples' files by their paths."""
    return {path: re.sub("^    ", "", text, flags=re.MULTILINE).strip() + "\n" for path, text in FILE.findall(DOCUMENT.read_text())}  # fmt: skip  # noqa: E501


def written(folder: Path) -> None:
    """The package `mine` and its configuration below a folder."""
    for path, text in examples().items():
        place = folder / path.replace("vaecli/", "mine/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.replace("_target_: vaecli.", "_target_: mine."))


@pytest.mark.parametrize(
    ("path", "n"),
    [("decoders/student_t", 14), ("priors/laplace", 11), ("objectives/renyi", 12), ("datasets/waves", 14)],
)
def test_examples_are_as_short_as_they_are_said_to_be(path: str, n: int) -> None:
    lines = [line for line in examples()[f"vaecli/{path}.py"].splitlines() if line.strip()]
    assert len(lines) == n
    assert f" in {n}" in DOCUMENT.read_text()


def test_examples_work(tmp_path: Path) -> None:
    written(tmp_path)
    words = ("decoder=student_t", "prior=laplace", "objective=renyi", "dataset=waves", "samples=4", "epochs=3")
    done = forked("train", "--config-dir", "conf", *words, "output=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "completed"
    refused = forked("sample", "run=run", cwd=tmp_path)
    assert refused.returncode == 1
    assert "trust=[mine]" in refused.stderr
    assert forked("sample", "run=run", "trust=[mine]", cwd=tmp_path).returncode == 0
    done = forked("evaluate", "run=run", "trust=[mine]", "k=20", "limit=20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = forked("train", "resume=run", "epochs=4", "trust=[mine]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
