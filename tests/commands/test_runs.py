"""`vae runs`: every run has its row, whatever state its files are in."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command_line import called
from support.run_folders import CONFIG, completed, evaluation, line, make

from vaecli.commands.runs import listed_differences, print_table
from vaecli.config.compose import split_arguments
from vaecli.runs.diff import differences
from vaecli.runs.folder import RunFolder, lock_run
from vaecli.runs.table import COLUMNS, table
from vaecli.utils.errors import UserError

PROTOCOL = "9 of 10 test observations, draws from q(z|x), best checkpoint"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six jobs over two keys, two of which are refused."""
    folder = tmp_path_factory.mktemp("sweep")
    args = ("-m", "decoder=gaussian_fixed", "decoder.sigma=0,0.1,0.3", "latent_dim=2,5", "epochs=1",
            "dataset=digits", "dataset.limit=200", "architecture.hidden=[8]")  # fmt: skip
    done = called("train", *args, cwd=folder)
    assert done.returncode == 1
    assert "2 of 6 jobs failed" in done.stderr
    return folder


def test_a_sweep_with_failures(sweep: Path) -> None:
    done = called("runs", cwd=sweep)
    assert done.returncode == 0, done.stderr
    title, heading, *rows = done.stdout.splitlines()
    assert title == "6 runs under outputs, 2 failed"
    assert heading.split()[:2] == ["status", "dataset"]
    assert [row.split()[:2] for row in rows] == [["completed", "digits"]] * 4 + [["failed", "digits"]] * 2
    for row, latent_dim in zip(rows[4:], (2, 5), strict=True):
        assert f"decoder.sigma=0 latent_dim={latent_dim} " in row
        assert "decoder.sigma=0: should be greater than 0" in row
    assert "decoder.sigma=0.3 latent_dim=" in rows[0]


def test_the_same_sweep_as_numbers(sweep: Path) -> None:
    rows = json.loads(called("runs", "format=json", "sort=latent_dim", cwd=sweep).stdout)
    assert [row["differences"]["latent_dim"] for row in rows] == [2, 2, 2, 5, 5, 5]
    assert sorted(row["differences"]["decoder.sigma"] for row in rows) == [0, 0, 0.1, 0.1, 0.3, 0.3]
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert called("runs", "format=csv", "output=a.csv", cwd=sweep).stdout == "wrote a.csv: 6 runs\n"
    found = list(csv.DictReader(io.StringIO((sweep / "a.csv").read_text())))
    assert len(found) == 6
    for mine, theirs in zip(found, table(sweep / "outputs"), strict=True):
        summary = json.loads((Path(theirs["folder"]) / "summary.json").read_text())
        assert theirs["test_elbo"] == (summary["test"]["elbo"] if summary["status"] == "completed" else None)
        assert mine["test_elbo"] == ("" if theirs["test_elbo"] is None else str(theirs["test_elbo"]))
        assert float(mine["decoder.sigma"]) == theirs["differences"]["decoder.sigma"]


def test_flags_and_overrides_come_in_any_order() -> None:
    assert split_arguments(["a=1", "-m", "b=2"]) == (["--multirun"], ["a=1", "b=2"])
    assert split_arguments(["--info", "a=1", "--cfg", "job", "b=2"]) == (["--cfg=job", "--info=all"], ["a=1", "b=2"])
    assert split_arguments(["-cd", "mine", "a=1", "--info", "config"]) == (
        ["--config-dir=mine", "--info=config"], ["a=1"]
    )  # fmt: skip


def test_columns_of_a_completed_run(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", lines=(line(1, "train", -9, -8), line(1, "val", -11, -10.5), line(2, "val", -10, -9)))
    (folder / "evaluation.json").write_text(json.dumps(evaluation(9.25)))
    assert table(tmp_path) == [
        {"status": "completed", "dataset": "digits", "differences": {}, "epochs": 3, "bound": -9, "elbo": -10.0,
         "test_elbo": -11.0, "test_bound": -10.5, "nll": 9.25, "nll_k": 100, "nll_protocol": PROTOCOL, "seconds": 12.5,
         "folder": str(folder), "error": None}
    ]  # fmt: skip


@pytest.mark.parametrize(("host", "status"), [
    ({"host": socket.gethostname()}, "stopped"), ({"host": "elsewhere"}, "unknown"), ({}, "unknown"),
])  # fmt: skip
def test_a_killed_run_has_what_its_metrics_say(host: dict[str, str], status: str, tmp_path: Path) -> None:
    lines = (line(1, "train", -9, -9), line(1, "val", -20, -20), line(2, "train", -8, -8), line(2, "val", -21, -21))
    folder = make(tmp_path / "a", {"status": "running", "epochs": 0, "best": None, "test": None, **host}, lines=lines)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "spl')
    (row,) = table(tmp_path)
    assert (row["status"], row["epochs"], row["bound"], row["elbo"]) == (status, 2, -20, -20)
    assert (row["test_elbo"], row["seconds"], row["error"]) == (None, None, None)
    with lock_run(RunFolder(folder)):
        assert table(tmp_path)[0]["status"] == "running"


def test_a_run_that_is_being_resumed_runs(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", {"status": "interrupted", "host": socket.gethostname()})
    assert table(tmp_path)[0]["status"] == "interrupted"
    with lock_run(RunFolder(folder)):
        assert table(tmp_path)[0]["status"] == "running"


def test_what_was_stopped_can_be_resumed(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "a b"):
        make(tmp_path / "outputs" / name, {"status": "running", "host": socket.gethostname()})
    make(tmp_path / "outputs" / "elsewhere", {"status": "running", "host": "elsewhere"})
    lines = called("runs", "sort=folder", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:7]] == ["stopped"] * 3 + ["stopped", "unknown"]
    assert lines[7:] == [
        *(f"stopped; to resume: vae-train resume=outputs/{i}" for i in (1, 2, 3)),
        "and 1 more that were interrupted or stopped",
        "unknown: may still train; begun on another machine, by an earlier version, or on a disk that cannot lock "
        "folders",
    ]


@pytest.mark.parametrize(
    ("summary", "config", "status", "error"),
    [
        ("", None, "damaged", "summary.json is damaged"),
        ('{"status": "comp', None, "damaged", "summary.json is damaged"),
        ("[1, 2]", None, "damaged", "summary.json is damaged"),
        ('{"status": "completed", "best": [], "epochs": "many"}', None, "damaged",
         "summary.json: epochs is many, not a whole number, best is [], not a mapping"),
        ("{}", None, "damaged", "summary.json has no status"),
        ('{"status": "completed", "best": {"epoch": 1, "elbo": NaN}, "data": null}', None, "completed", None),
        ('{"status": "completed", "best": {"elbo": 1}}', None, "damaged", "summary.json: best.epoch is missing"),
        ('{"status": "completed", "seconds": "5", "new": {}}', None, "damaged",
         "summary.json: seconds is 5, not a number"),
        (None, "a: [1", "completed", "config.yaml is damaged"),
        (None, "!!python/object:os.system {}", "completed", "config.yaml is damaged"),
        (None, "words", "completed", "config.yaml is damaged"),
        ("\x00\xff", "\x00", "damaged", "summary.json is damaged; config.yaml is damaged"),
    ],
)  # fmt: skip
def test_damaged_files_have_a_row(tmp_path: Path, summary: Any, config: Any, status: str, error: str | None) -> None:
    make(tmp_path / "a", summary, config)
    make(tmp_path / "b")
    (tmp_path / "b" / "evaluation.json").write_text("{")
    rows = {Path(row["folder"]).name: row for row in table(tmp_path)}
    assert (rows["a"]["status"], rows["a"]["error"]) == (status, error)
    assert (rows["b"]["status"], rows["b"]["error"]) == ("completed", "evaluation.json is damaged")


def test_runs_are_found_at_any_depth_and_sorted(tmp_path: Path) -> None:
    for name, bound in (("a/b/c/10_x", -3.0), ("a/b/c/9_x", -2.0), ("d", -1.0), ("a", -4.0)):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "summary.json").write_text(json.dumps(completed(bound)))
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "latent_dim": -bound}))

    def names(sort: str) -> list[str]:
        return [os.path.relpath(row["folder"], tmp_path) for row in table(tmp_path, sort)]

    best = ["d", "a/b/c/9_x", "a/b/c/10_x", "a"]
    assert names("elbo") == names("test_elbo") == names("latent_dim") == best
    assert names("-elbo") == names("-latent_dim") == best[::-1]
    assert names("folder") == ["a", "a/b/c/9_x", "a/b/c/10_x", "d"]
    with pytest.raises(UserError, match="sort=latent_dims: no such column; did you mean latent_dim"):
        table(tmp_path, "latent_dims")


def test_runs_without_a_value_come_last_either_way(tmp_path: Path) -> None:
    make(tmp_path / "a", {"status": "failed", "error": "no", "command": "vae train latent_dim=3"}, "{}")
    make(tmp_path / "b")
    for sort in ("elbo", "-elbo", "seconds", "nll"):
        assert table(tmp_path, sort)[-1]["folder"].endswith("a" if sort != "nll" else "b")


def test_differences_in_a_group_are_among_its_choosers() -> None:
    def config(decoder: str, limit: int, **values: Any) -> dict[str, Any]:
        return {**CONFIG, "decoder": {"name": decoder, **values}, "images": {"every_epochs": limit}}

    one, other = config("gaussian_fixed", 1, sigma=0.1), config("gaussian_fixed", 2, sigma=0.3)
    assert differences([one, other]) == [{"decoder.sigma": "0.1"}, {"decoder.sigma": "0.3"}]
    assert differences([one, config("bernoulli", 1)]) == [{"decoder": "gaussian_fixed"}, {"decoder": "bernoulli"}]
    assert differences([one, other, config("bernoulli", 1)]) == [
        {"decoder": "gaussian_fixed", "decoder.sigma": "0.1"},
        {"decoder": "gaussian_fixed", "decoder.sigma": "0.3"},
        {"decoder": "bernoulli"},
    ]


def test_a_narrow_terminal_gets_a_block_for_each_run(tmp_path: Path) -> None:
    from rich.console import Console

    rows = table(make(tmp_path / "a", {"status": "failed", "error": "first line\nsecond line"}).parent)
    file = io.StringIO()
    print_table(rows, "here", Console(file=file, force_terminal=True, width=40, color_system=None))
    lines = file.getvalue().splitlines()
    assert lines[:4] == [
        "1 run under here, 1 failed",
        "status  dataset",
        "failed  digits",
        "    first line second line",
    ]
    assert "".join(line.strip() for line in lines[4:]) == str(tmp_path / "a")  # all of it, to be copied


def test_no_line_is_wider_than_the_terminal(tmp_path: Path) -> None:
    from rich.cells import cell_len
    from rich.console import Console

    columns = [f"a column with 数 in its name {i}" for i in range(30)]
    for i, names in enumerate((columns, columns[1:])):
        make(tmp_path / str(i), config={**CONFIG, "dataset": {**CONFIG["dataset"], "columns": names}})
    rows = table(tmp_path)
    for width in (30, 80, 200):
        file = io.StringIO()
        print_table(rows, "here", Console(file=file, force_terminal=True, width=width, color_system=None))
        assert all(cell_len(line) <= width for line in file.getvalue().splitlines())
        assert "format=csv" in file.getvalue()
    file = io.StringIO()
    print_table(rows, "here", Console(file=file))
    assert max(map(len, file.getvalue().splitlines())) < 400
    assert not any(name in file.getvalue() for name in columns)
    assert all(f"dataset.columns=({n} values)" in file.getvalue() for n in (29, 30))
    assert columns[29] in called("runs", f"path={tmp_path}", "format=csv", cwd=tmp_path).stdout


def test_long_lists_of_columns_come_last(tmp_path: Path) -> None:
    for i in (2, 3):
        columns = [f"a column {j}" for j in range(10 * i)]
        make(tmp_path / str(i), config={**CONFIG, "dataset": {**CONFIG["dataset"], "columns": columns}, "seed": i})
    shown = called("runs", f"path={tmp_path}", cwd=tmp_path).stdout
    for i in (2, 3):
        assert f"seed={i} dataset.columns=({10 * i} values)  " in shown


@pytest.mark.slow
def test_hundreds_of_runs_take_no_time(tmp_path: Path) -> None:
    config = yaml.safe_load(Path(__file__).parents[2].joinpath("conf/train.yaml").read_text())
    lines = tuple(line(epoch, split, -1.0 * epoch, -2.0) for epoch in range(100) for split in ("train", "val"))
    for i in range(300):
        make(tmp_path / "runs" / str(i), completed(-i), {**CONFIG, **config, "latent_dim": i}, lines)
    started = time.process_time()
    assert len(table(tmp_path / "runs", "elbo")) == 300
    assert time.process_time() - started < 6  # 0.6 s on an idle core


def test_torch_is_not_imported(tmp_path: Path) -> None:
    make(tmp_path / "outputs" / "a")
    code = ("import sys; from vaecli.commands import runs; from vaecli.commands._run import run_command;"
            "run_command(runs, {'path': 'outputs', 'sort': 'bound', 'format': 'table', 'output': None});"
            "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["path=nowhere"], "path=nowhere: there is no such folder"),
        (["sort=bond"], "sort=bond: no such column; did you mean bound?"),
        (["format=xml"], "format=xml: should be 'table', 'csv' or 'json'"),
        (["format=json", "output=a.csv"], "output=a.csv: the name ends in .csv, but .json is written"),
        (["output=outputs"], "output=outputs: is a folder"),
        (["outputs"], "outputs: expected key=value, as in path=outputs"),
    ],
)
def test_bad_input(tmp_path: Path, args: list[str], message: str) -> None:
    make(tmp_path / "outputs" / "a")
    done = called("runs", *args, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_no_runs_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    done = called("runs", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "no runs under outputs; train one: vae train\n")
    assert called("runs", "format=json", cwd=tmp_path).stdout == "[]\n"


def test_an_nll_is_shown_with_its_draws_and_protocol(tmp_path: Path) -> None:
    for name, nll, k in (("a", 9.25, 100), ("b", 8.5, 5000)):
        found = evaluation(nll)
        found["protocol"]["k"] = k
        (make(tmp_path / name) / "evaluation.json").write_text(json.dumps(found))
    said = called("runs", f"path={tmp_path}", cwd=tmp_path).stdout
    assert "9.25 (k=100)" in said
    assert "8.50 (k=5000)" in said
    assert said.count(f"NLL of {PROTOCOL}") == 1
    rows = csv.DictReader(io.StringIO(called("runs", f"path={tmp_path}", "format=csv", cwd=tmp_path).stdout))
    assert {(row["nll"], row["nll_k"], row["nll_protocol"]) for row in rows} == {
        ("9.25", "100", PROTOCOL), ("8.5", "5000", PROTOCOL)
    }  # fmt: skip


def test_keys_that_are_null_are_listed_only_where_no_other_key_differs(tmp_path: Path) -> None:
    for name, words in (("a", ()), ("b", ("dataset.limit=100", "clip_grad_norm=3"))):
        done = called("train", "dataset=digits", "epochs=1", "architecture.hidden=[4]", f"output=outputs/{name}",
                      "latent_dim=2", *(words or ("dataset.limit=90",)), cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
    rows = {line.split()[-1]: line for line in called("runs", cwd=tmp_path).stdout.splitlines()[2:]}
    assert "clip_grad_norm" not in rows["outputs/a"]
    assert "dataset.limit=90" in rows["outputs/a"]
    assert "clip_grad_norm=3" in rows["outputs/b"]
    assert listed_differences({"seeds": None}) == "seeds=null"
