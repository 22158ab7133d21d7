"""Several seeds: each run is the one that is trained alone, and together they show how much a figure varies."""

from __future__ import annotations

import io
import json
import shutil
import signal
import statistics
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from support.runs import SMALL, assert_same, lines, train
from support.thinned import every
from torch import Tensor

from vaecli.commands._seed_pairs import verdict
from vaecli.commands.runs import together
from vaecli.runs import checkpoint
from vaecli.runs.find import find_run
from vaecli.runs.seeds import seed_runs, spread, spread_of
from vaecli.runs.table import table
from vaecli.training import stack
from vaecli.training.stack import Stack
from vaecli.training.trainer import Trainer
from vaecli.utils.errors import UserError

HARD = (
    "dataset.binarize=dynamic", "clip_grad_norm=1", "ema.decay=0.9", "scheduler=one_cycle", "early_stopping.patience=1",
)  # fmt: skip
EVEN = (*SMALL, "dataset.limit=96")  # three batches of one size, and half as many passes to record
OPTIONS = ["optimizer=sgd decoder=gaussian", "objective=iwae prior=flow"]


def assert_close(one: Path, other: Path) -> None:
    """The same but for rounding: weights, optimizer, schedule, random states and figures."""
    a, b = (flat(checkpoint.load(folder / "checkpoints/last.safetensors")) for folder in (one, other))
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, b[key], rtol=1e-3, atol=2e-5)
        elif isinstance(value, float):
            assert value == pytest.approx(b[key], rel=1e-4, abs=1e-5)
        else:
            assert value == b[key], key
    for line, twin in zip(lines(one), lines(other), strict=True):
        assert line.keys() == twin.keys()
        for key, value in line.items():
            assert twin[key] == (pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value), key


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    """A checkpoint's entries by dotted names, without its configuration."""
    if not isinstance(state, dict | list):
        return {prefix: state}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    parts = [flat(value, f"{prefix}.{key}") for key, value in items if (prefix, key) != ("", "config")]
    return {key: value for part in parts for key, value in part.items()}


@pytest.mark.parametrize("words", every(3, zip([HARD, *((*option.split(), "dataset.limit=96") for option in OPTIONS)])))
def test_each_seed_is_trained_as_if_alone(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(*SMALL, *words, "seed=3", "seeds=3", "output=all") == 0
    out = capsys.readouterr().out
    assert "one after another" not in out
    assert "cannot" not in out
    assert train(*SMALL, *words, "seed=4", "output=alone") == 0
    runs = seed_runs(Path("all"))
    assert list(runs) == [3, 4, 5]
    assert_close(Path("alone"), runs[4].path)
    assert runs[4].known_summary().command.endswith("seed=4 output=all/seed_4")  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of three runs that were trained together, and the last line that was printed."""
    folder = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.chdir(folder)
        assert train(*EVEN, "seed=3", "seeds=3", "output=all") == 0
    return folder, printed.getvalue().splitlines()[-1]


def test_what_several_seeds_show(whole: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, last = whole
    monkeypatch.chdir(folder)
    runs = seed_runs(Path("all"))
    tests = [json.loads((run / "summary.json").read_text())["test"]["elbo"] for run in runs.values()]
    found = spread_of(list(runs.values()))
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(tests))
    assert found.stderr == pytest.approx(statistics.stdev(tests) / 3**0.5)
    assert last == f"all: test ELBO {found}"
    assert together(table("all")) == [last]
    with pytest.raises(UserError, match="there are 3 runs below it: all/seed_3, all/seed_4, all/seed_5"):
        find_run("all")


def test_all_go_on_and_those_that_had_not_begun_begin(
    whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a signal within an epoch."""
    monkeypatch.chdir(tmp_path)
    take, taken = Stack.step, []

    def step(self: Stack, *args: Any) -> Tensor:
        taken.append(self)
        if len(taken) == 5:
            self.first.interrupt.handle(signal.SIGINT, None)
        return take(self, *args)

    monkeypatch.setattr(Stack, "step", step)
    assert train(*EVEN, "seed=3", "seeds=3", "output=parts") == 130
    stopped = [checkpoint.load(run.checkpoint("last"))["step"] for run in seed_runs(Path("parts")).values()]
    assert stopped == [5, 5, 5]
    shutil.rmtree("parts/seed_5")
    Path("parts/seed_5").mkdir()
    assert train("resume=parts") == 0
    for seed, run in seed_runs(whole[0] / "all").items():
        assert_close(run.path, Path(f"parts/seed_{seed}"))


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    end = Trainer.end_epoch

    def end_epoch(self: Trainer, epoch: int, seconds: float) -> dict[str, float]:
        if self.plan.seed == 1 and epoch == 2:
            raise UserError("broken")
        return end(self, epoch, seconds)

    monkeypatch.setattr(Trainer, "end_epoch", end_epoch)
    with pytest.raises(UserError, match="broken"):
        train(*EVEN, "seeds=3", "output=all")
    found = [run.known_summary().status for run in seed_runs(Path("all")).values()]
    assert found == ["completed", "failed", "completed"]


def test_large_runs_are_trained_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stack, "STACK_BELOW", 0)
    assert train(*EVEN, "seeds=2", "output=all") == 0
    out = capsys.readouterr().out
    assert "one after another: their steps are so large that several at once would not be faster" in out
    assert out.count("warning: grey values under decoder=bernoulli") == out.count("only 12 steps in total") == 1
    assert "warning: grey values" in Path("all/seed_1/train.log").read_text()
    assert train(*EVEN, "seed=1", "output=alone") == 0
    assert_same(Path("all/seed_1"), Path("alone"))


@pytest.mark.parametrize(("words", "reason"), [
    ("checkpoint.every_seconds=60", "checkpoint.every_seconds saves each at its own time"),
    ("accumulate=2", "computed in parts (accumulate)"),
])  # fmt: skip
def test_why_runs_are_trained_one_after_another(
    words: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train(*EVEN, "epochs=1", "seeds=2", "output=all", words)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "one after another" in line]
    assert reason in line
    assert " or does not work" not in line


@pytest.mark.parametrize(("words", "message"), [
    (("resume=some", "seeds=3"), "a resumed run keeps its seeds"),
    (("resume=alone", "seeds=3"), "a resumed run keeps its seeds"),
    (("output=some", "seeds=3"), "already holds a run"),
])  # fmt: skip
def test_what_seeds_cannot_do(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path("some/seed_0"), Path("alone")):
        place.mkdir(parents=True)
        (place / "config.yaml").write_text("dataset: {name: digits}\n")
    with pytest.raises(UserError, match=message):
        train(*EVEN, *words)


def test_spread_is_that_of_a_sample() -> None:
    found = spread([1.0, 2.0, 4.0, 5.0])
    assert found.mean == 3.0
    assert found.std == pytest.approx((10 / 3) ** 0.5)
    assert found.stderr == pytest.approx((10 / 12) ** 0.5)
    assert str(found) == "3.00 ± 0.91 (standard deviation 1.8) over 4 seeds"


@pytest.mark.parametrize("n", [2, 3, 16])
def test_the_verdict_on_two_settings_is_that_of_a_t_test(n: int) -> None:
    rng, seen = np.random.default_rng(n), set()
    for shift in (-4, -1, 0, 1, 4, 40):
        x = rng.normal(shift, 1, n)
        found = verdict(spread(x.tolist()))
        seen.add(found)
        if ttest_1samp(x, 0).pvalue > 0.05:
            assert found == "not clearly better or worse"
        else:
            assert found == ("better" if x.mean() > 0 else "worse")
    assert {"better", "not clearly better or worse"} <= seen
