"""The names of a run's files stand in one place, and so do their readers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vaecli
from vaecli.runs import names
from vaecli.runs.find import find_run, runs_below
from vaecli.runs.folder import RunFolder
from vaecli.runs.read import Damaged
from vaecli.runs.records import Summary

PACKAGE = Path(vaecli.__file__).parent
FILES = (names.CONFIG, names.SUMMARY, names.METRICS, names.EVALUATION, names.LOG, names.CHECKPOINTS, names.LOCK,
         "best.safetensors", "last.safetensors", "ema.safetensors", "events.out", "checkpoints/")  # fmt: skip


def literals(module: Path) -> list[str]:
    """The texts in a module's code, docstrings apart."""
    tree = ast.parse(module.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return [node.value for node in constants if isinstance(node.value, str)]


def test_names_of_a_runs_files_stand_once() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "runs" / "names.py"]
    assert len(modules) > 100
    found = {(str(path), text) for path in modules for text in literals(path) if any(name in text for name in FILES)}
    assert not found


def test_where_a_run_keeps_its_files(digits_run: Path) -> None:
    folder = RunFolder(digits_run)
    for path in (folder.config, folder.summary, folder.metrics, folder.log, folder.lock, folder.image("data")):
        assert path.is_file(), path
    assert len(folder.events) == 1
    assert folder.has("best")
    assert not folder.has("ema")
    assert folder.read_summary() == folder.known_summary()
    assert folder.read_config()["latent_dim"] == 5
    assert [line["epoch"] for line in folder.read_metrics(lambda line: line["split"] == "val")] == list(range(1, 31))
    assert find_run(str(digits_run)) == folder
    assert runs_below(digits_run.parent) == [folder]


def test_a_folder_without_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.known_summary() == Summary()
    assert list(folder.read_metrics(bool)) == []
    assert folder.events == []
    for read in (folder.read_summary, folder.read_config, folder.read_evaluation):
        with pytest.raises(Damaged):
            read()


@pytest.mark.parametrize("module", ["vaecli.runs.folder", "vaecli.runs.find", "vaecli.runs.table"])
def test_a_folder_is_read_without_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
