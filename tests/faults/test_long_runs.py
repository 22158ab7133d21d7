"""Thousands of epochs, hundreds of jobs in one process: memory, open files and speed stay as they were."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.processes import in_child
from support.runs import train
from support.small_runs import draw_pictures

from vaecli import __main__ as cli
from vaecli.commands import train as command
from vaecli.training.lifecycle import Invocation
from vaecli.training.previews import Pictures

BETA = (
    "dataset=beta", "dataset.size=200", "dataset.val_size=50", "decoder=gaussian_identity", "latent_dim=2",
    "architecture.hidden=[16]", "batch_size=100", "device=cpu",
)  # fmt: skip


class Reading(NamedTuple):
    """What the process holds."""

    megabytes: float  # resident
    files: int
    seconds: float  # by the clock


def read() -> Reading:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is freed, but kept for later, is not what grows
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Reading(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd")), time.perf_counter())


def assert_flat(readings: list[list[float]], what: str, printed: Callable[[str], None]) -> None:
    """The second half of the readings against the second quarter: the first quarter fills caches."""
    found = [Reading(*one) for one in readings]  # type: ignore[arg-type]
    n = len(found)
    early, late = found[n // 4 : n // 2], found[n // 2 :]
    memory = [statistics.median(one.megabytes for one in part) for part in (early, late)]
    paces = [(part[-1].seconds - part[0].seconds) / (len(part) - 1) for part in (early, late)]
    printed(
        f"{what}: {memory[0]:.0f} MB, then {memory[1]:.0f} MB; {early[0].files} open files, then {late[-1].files}; "
        f"{1e3 * paces[0]:.1f} ms each, then {1e3 * paces[1]:.1f} ms"
    )
    assert memory[1] < memory[0] + 10
    assert late[-1].files <= early[0].files
    assert len(found) < 100 or paces[1] < 1.5 * paces[0]  # a busy machine


def epochs(n: int) -> int:
    """Train so many epochs, and leave a reading after each tenth in readings.json."""
    readings, done = [], Pictures.epoch_done

    def epoch_done(self: Pictures, epoch: int) -> None:
        done(self, epoch)
        if epoch % 10 == 0:
            readings.append(read())

    Pictures.epoch_done = epoch_done  # type: ignore[method-assign]
    code = train(*BETA, f"epochs={n}", f"images.every_epochs={max(30, n // 10)}", "output=run")
    Path("readings.json").write_text(json.dumps(readings))
    return code


def jobs(n: int) -> int:
    """A sweep of so many jobs through the real command line, and a reading after each in readings.json."""
    readings, run = [], command.main

    def main(config: dict[str, Any], origin: Invocation) -> float:
        bound = run(config, origin)
        readings.append(read())
        return bound

    command.main = main
    sys.argv = ["vae", "train", "-m", f"seed=range({n})", "epochs=1", *BETA]
    cli.main()
    Path("readings.json").write_text(json.dumps(readings))
    return 0


Work = Callable[[int], int]


def in_a_process(work: Work, n: int) -> int:
    """The exit code of `work` in a process of its own."""
    here = Path(__file__).parent
    code = f"import sys; sys.path[:0] = {[str(here), str(here.parent)]!r}; import test_long_runs as t; "
    code += f"sys.exit(t.{work.__name__}({n}))"
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode


def in_a_copy(work: Work, n: int) -> int:
    return in_child(lambda: work(n))


LONG = [pytest.param(in_a_process, *one) for one in ((epochs, 2000), (jobs, 200))]


@pytest.mark.faults
@pytest.mark.parametrize(("run", "work", "n"), [(in_a_copy, epochs, 60), *LONG])
def test_nothing_grows(
    run: Callable[[Work, int], int], work: Work, n: int, tmp_path: Path, measured: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    draw_pictures(monkeypatch)  # in the copy too
    assert run(work, n) == 0
    assert_flat(json.loads(Path("readings.json").read_text()), f"{n} {work.__name__}", measured)
    if work is epochs:
        sizes = {path.name: path.stat().st_size for path in Path("run").iterdir() if path.is_file()}
        assert sum(sizes.values()) < 8e6 + 1500 * n, sizes  # ten looks, and the figures of each epoch
        assert len(list(Path("run/images").iterdir())) < 50
