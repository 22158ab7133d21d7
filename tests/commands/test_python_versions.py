"""Which versions of Python vaecli runs under, and what it says under others."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = "import runpy, sys; sys.version_info, sys.argv = {version}, ['vae', 'train']; runpy.run_module('vaecli', run_name='__main__')"  # noqa: E501


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0), (4, 0, 0)])
def test_one_line_under_other_versions(version: tuple[int, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-c", START.format(version=version)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        rf"error: .* Python 3\.11, 3\.12 or 3\.13, and this is {version[0]}\.{version[1]}: .*\n", done.stderr
    )
    assert not list(tmp_path.iterdir())


def test_all_places_name_the_same_versions() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert package["requires-python"] == ">=3.11,<3.14"
    listed = [name.rsplit(" ", 1)[1] for name in package["classifiers"] if "Python :: 3." in name]
    assert listed == ["3.11", "3.12", "3.13"]
    for path in ("Makefile", "README.md", "CONTRIBUTING.md", "docs/compatibility.md", "vaecli/__main__.py"):
        assert "3.11, 3.12 or 3.13" in (ROOT / path).read_text(), path
