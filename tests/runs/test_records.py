"""summary.json and evaluation.json: what is written is read again, and what is wrong in them is named in one line."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.command_line import called
from support.run_folders import evaluation

from vaecli.runs.folder import RunFolder
from vaecli.runs.read import Damaged
from vaecli.runs.records import Best, DataSet, Evaluation, EvaluationSettings, Means, Summary

SUMMARY: dict[str, Any] = {
    "command": "vae-train a='é\ud800'", "status": "completed", "id": "0a",
    "resumed": [{"step": 7, "changes": {"lr": 0.1}}], "epochs": 3, "best": {"epoch": 2, "elbo": -1.5, "bound": None},
    "test": {"elbo": -2.0, "bound": -1.0, "log_px": -1.5, "kl": 0.5}, "error": None, "parameters": 10, "device": "cpu",
    "seed": 0, "versions": {"vaecli": "0.1.0"}, "git_commit": None, "seconds": 1.25,
    "data": {"name": "digits", "train": 5, "val": 0, "test": 9, "sha256": "ff"}, "kl_per_dim": [0.25, None],
}  # fmt: skip


def read(record: Any, values: object, tmp_path: Path) -> Any:
    (tmp_path / "file.json").write_text(json.dumps(values))
    return record.read(tmp_path / "file.json")


@pytest.mark.parametrize(("record", "values"), [(Summary, SUMMARY), (Evaluation, evaluation(3.5)), (Summary, {})])
def test_what_is_written_is_read_again(record: Any, values: dict[str, Any], tmp_path: Path) -> None:
    found = read(record, values, tmp_path)
    assert json.loads(found.text()) == values  # neither less nor more
    assert read(record, json.loads(found.text()), tmp_path) == found


def test_the_files_of_a_run_are_records(digits_run: Path, tmp_path: Path) -> None:
    """Every key that training and `vae evaluate` write is one that the schema knows."""
    run = RunFolder(digits_run)
    assert json.loads(run.read_summary().text()) == json.loads(run.summary.read_text())
    found = run.read_summary()
    assert (found.status, found.epochs, found.data and found.data.name) == ("completed", 30, "digits")
    for more in (["exact=false"], ["input=" + str(tmp_path / "x.npy")]):
        np.save(tmp_path / "x.npy", np.eye(8, dtype=np.float32)[None])
        done = called("evaluate", f"run={digits_run}", "k=30", "limit=20", *more, f"output={tmp_path / 'e.json'}",
                      cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(Evaluation.read(tmp_path / "e.json").text()) == json.loads((tmp_path / "e.json").read_text())


def test_entries_of_other_versions_are_passed_over(tmp_path: Path) -> None:
    more = {**SUMMARY, "new": [1], "best": {**SUMMARY["best"], "new": {}}}
    assert read(Summary, more, tmp_path) == read(Summary, SUMMARY, tmp_path)


WRONG: list[tuple[Any, tuple[str, ...], Any, str]] = [
    (Summary, ("status",), "paused",
     "status is paused, not 'running', 'completed', 'pruned', 'interrupted' or 'failed'"),
    (Summary, ("epochs",), 1.0, "epochs is 1.0, not a whole number"),
    (Summary, ("epochs",), -1, "epochs is -1, not a number in the usual range"),
    (Summary, ("epochs",), 10**300, f"epochs is {str(10**300)[:20]} ... {'0' * 20}, not a number in the usual range"),
    (Summary, ("epochs",), True, "epochs is true, not a whole number"),
    (Summary, ("seconds",), "5", "seconds is 5, not a number"),
    (Summary, ("seconds",), 10**400, f"seconds is {str(10**400)[:20]} ... {'0' * 20}, not a number"),
    (Summary, ("seconds",), 1e305, "seconds is 1e+305, not a number in the usual range"),
    (Summary, ("best",), [], "best is [], not a mapping"),
    (Summary, ("best", "epoch"), ..., "best.epoch is missing"),
    (Summary, ("test", "kl"), None, ""),
    (Summary, ("test", "kl"), ..., "test.kl is missing"),
    (Summary, ("data",), "x", "data is x, not a mapping"),
    (Summary, ("data", "name"), "a\x1b[31m" * 99, ""),
    (Summary, ("data", "name"), 5, "data.name is 5, not text"),
    (Summary, ("versions", "torch\n"), 2.6, "versions.torch\\n is 2.6, not text"),
    (Summary, ("kl_per_dim",), "ab", "kl_per_dim is ab, not a list"),
    (Summary, ("kl_per_dim",), [0.5, "a\x1b"], "kl_per_dim.1 is a\\x1b, not a number"),
    (Summary, ("resumed",), [{}], "resumed.0.step is missing, resumed.0.changes is missing"),
    (Evaluation, ("nll",), ..., "nll is missing"),
    (Evaluation, ("nll",), None, "nll is null, not a number"),
    (Evaluation, ("protocol",), ..., "protocol is missing"),
    (Evaluation, ("protocol", "k"), "x", "protocol.k is x, not a whole number"),
    (Evaluation, ("protocol", "estimator"), "y", "protocol.estimator is y, not 'posterior' or 'prior'"),
    (Evaluation, ("latent_dim",), 2.5, "latent_dim is 2.5, not a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "place", "value", "said"), WRONG)
def test_what_is_wrong_is_named(record: Any, place: tuple[str, ...], value: Any, said: str, tmp_path: Path) -> None:
    values = copy.deepcopy(SUMMARY if record is Summary else evaluation(3.5))
    parent = values
    for key in place[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    if not said:
        read(record, values, tmp_path)
        return
    with pytest.raises(Damaged) as refused:
        read(record, values, tmp_path)
    assert str(refused.value) == f"file.json: {said}"


def test_more_than_three_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"^file.json: elbo is missing, log_px is missing, kl is missing and 9 more$"):
        read(Evaluation, {"nll": 3.5}, tmp_path)


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    means = Means(elbo=math.nan, bound=math.inf, log_px=-1.0, kl=1.0)
    assert json.loads(means.text()) == {"elbo": None, "bound": None, "log_px": -1.0, "kl": 1.0}
    (tmp_path / "file.json").write_text('{"seconds": NaN, "best": {"epoch": 1, "elbo": -Infinity, "bound": 1e999}}')
    assert Summary.read(tmp_path / "file.json") == Summary(seconds=None, best=Best(epoch=1, elbo=None, bound=None))


def test_the_schema_refuses_what_the_program_gets_wrong() -> None:
    for make in (lambda: Summary.model_validate({"epochs": "3"}), lambda: DataSet.model_validate({}), lambda: EvaluationSettings.model_validate({})):  # fmt: skip  # noqa: E501
        with pytest.raises(ValidationError):
            make()


def test_later_entries_take_the_place_of_earlier_ones() -> None:
    one, other = Summary(status="running", epochs=1, error="x"), Summary(status="failed", error=None)
    found = one.with_entries(other)
    assert json.loads(found.text()) == {"status": "failed", "epochs": 1, "error": None}
