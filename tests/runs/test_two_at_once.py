"""Runs that start together get folders of their own; a run is one process's at a time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from support.command_line import called
from support.processes import LONG, in_child, start, start_copy, wait_for
from support.runs import SMALL, assert_same, train

from vaecli.runs.folder import RunFolder, lock_run, new_folder
from vaecli.utils.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("n", [4, pytest.param(20, marks=pytest.mark.faults)])
def test_runs_in_the_same_instant(n: int) -> None:
    """Each child waits for the same signal before it makes its folder."""
    gate, opened = os.pipe()
    pids = []
    for _ in range(n):
        pid = os.fork()
        if pid == 0:
            os.close(opened)
            os.read(gate, 1)  # ends when the parent closes the other end
            os._exit(0 if in_child(lambda: train(*SMALL, "epochs=1")) == 0 else 1)
        pids.append(pid)
    os.close(gate)
    os.close(opened)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * n
    folders = list(Path("outputs/digits").iterdir())
    assert len(folders) == n
    found = {(folder / "metrics.jsonl").read_text().count("\n") for folder in folders}
    assert found == {2}
    for folder in folders[1:]:
        assert_same(folders[0], folder)


def test_a_thousand_folders_of_the_same_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime

    from vaecli.runs import folder as module

    instants = [datetime(2030, 1, 1, microsecond=i // 10) for i in range(10_000)]

    class Clock:
        now = iter(instants).__next__

    monkeypatch.setattr(module, "datetime", Clock)
    assert len({new_folder(None, "digits") for _ in range(1000)}) == 1000


@pytest.mark.faults
def test_two_processes_with_the_same_output() -> None:
    runs = [start(*SMALL, "output=run", cwd=Path.cwd()) for _ in range(2)]
    for run in runs:
        run.communicate(timeout=120)
    assert sorted(run.returncode for run in runs) == [0, 1]
    assert json.loads(Path("run/summary.json").read_text())["status"] == "completed"


def test_a_running_run_is_not_resumed_or_overwritten() -> None:
    running = start_copy(*LONG, "output=run", cwd=Path.cwd())
    wait_for("run/checkpoints/last.safetensors", running, Path.cwd())
    try:
        for word, message in (("resume=run", "another process is training this run"), ("output=run", "already holds")):
            done = called("train", word, cwd=Path.cwd())
            assert done.returncode == 1
            assert message in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
        assert called("runs", "path=run", cwd=Path.cwd()).stdout.splitlines()[2].startswith("running")
        assert running.poll() is None
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
    _, _, row, *below = called("runs", "path=run", cwd=Path.cwd()).stdout.splitlines()
    assert row.startswith("stopped")
    assert below == ["stopped; to resume: vae-train resume=run"]
    assert called("train", "resume=run", "epochs=100000", "device=cpu", "early_stopping.patience=1",
               "optimizer.lr=0.3", "validate.every_epochs=1", cwd=Path.cwd()).returncode == 0  # fmt: skip


def test_the_lock_outlives_no_crash() -> None:
    Path("run").mkdir()
    assert os.waitstatus_to_exitcode(in_child(_killed_while_it_holds)) == -signal.SIGKILL
    with lock_run(RunFolder(Path("run"))):
        assert in_child(lambda: _is_refused(Path("run"))) == 0


def _killed_while_it_holds() -> None:
    with lock_run(RunFolder(Path("run"))):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_refused(folder: Path) -> int:
    try:
        with lock_run(RunFolder(folder)):
            return 1
    except UserError:
        return 0


def test_a_finished_run_is_never_overwritten() -> None:
    assert train(*SMALL, "output=run") == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="already holds a run"):
        train(*SMALL, "output=run")
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
