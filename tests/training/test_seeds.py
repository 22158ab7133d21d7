"""Several seeds: each run is the one that is trained alone, and together they show how much a figure varies."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from support.runs import SMALL, assert_same, train

from vaecli.commands.runs import together
from vaecli.runs.find import find_run
from vaecli.runs.seeds import seed_runs, spread, spread_of
from vaecli.runs.table import table
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_each_seed_is_trained_as_if_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(*SMALL, "seed=3", "seeds=3", "output=all") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert train(*SMALL, "seed=4", "output=alone") == 0
    runs = seed_runs(Path("all"))
    assert list(runs) == [3, 4, 5]
    assert_same(Path("alone"), runs[4].path)
    tests = [json.loads((run / "summary.json").read_text())["test"]["elbo"] for run in runs.values()]
    found = spread_of(list(runs.values()))
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(tests))
    assert found.stderr == pytest.approx(statistics.stdev(tests) / 3**0.5)
    assert last == f"all: test ELBO {found}"
    assert together(table("all")) == [last]
    assert runs[4].known_summary().command.endswith("seed=4 output=all/seed_4")  # type: ignore[union-attr]
    with pytest.raises(UserError, match="there are 3 runs below it: all/seed_3, all/seed_4, all/seed_5"):
        find_run("all")


def test_all_go_on_and_those_that_had_not_begun_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(*SMALL, "seeds=2", "output=whole") == 0
    assert train(*SMALL, "seeds=2", "output=parts", stop_at=6) == 130
    assert list(seed_runs(Path("parts"))) == [0]
    assert train("resume=parts") == 0
    for seed, run in seed_runs(Path("whole")).items():
        assert_same(run.path, Path(f"parts/seed_{seed}"))
    assert train("resume=parts", "epochs=5") == 0
    assert [run.known_summary().epochs for run in seed_runs(Path("parts")).values()] == [5, 5]


@pytest.mark.parametrize(("words", "message"), [
    (("resume=some", "seeds=3"), "it goes on with the seeds it has"),
    (("resume=alone", "seeds=3"), "a run goes on with its seed"),
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
        train(*SMALL, *words)


def test_spread_is_that_of_a_sample() -> None:
    found = spread([1.0, 2.0, 4.0, 5.0])
    assert found.mean == 3.0
    assert found.std == pytest.approx((10 / 3) ** 0.5)
    assert found.stderr == pytest.approx((10 / 12) ** 0.5)
    assert str(found) == "3.00 ± 0.91 (standard deviation 1.8) over 4 seeds"
