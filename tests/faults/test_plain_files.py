"""A run's YAML and JSON say plain values, and whatever else they hold costs neither a traceback nor much time."""

from __future__ import annotations

import io
import json
import math
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.command_line import forked
from support.configurations import composed
from support.mutations import mutated
from support.names import NASTY
from support.run_folders import CONFIG, completed, evaluation, line, make

from vaecli.commands.runs import as_csv, as_json, print_table
from vaecli.runs import tensorboard as events
from vaecli.runs.config import read_config
from vaecli.runs.folder import RunFolder
from vaecli.runs.read import MAX_LINES, MAX_TEXT_BYTES, dump_yaml, load_json, load_yaml
from vaecli.runs.records import Summary
from vaecli.runs.rewind import rewind
from vaecli.runs.table import table
from vaecli.utils.errors import UserError

M = MAX_TEXT_BYTES - 100  # characters that are still read
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {  # as config.yaml
    "an integer tag": "latent_dim: !!int ''\n",
    "a time tag": "latent_dim: !!timestamp foo\n",
    "a binary tag": "a: !!binary '='\n",
    "a set": "!!set {a, b}\n",
    "a python object": "!!python/object/apply:os.system [touch harm]\n",
    "its own tag": "!a {b: c}\n",
    "a text tag": "a: !!str 5\n",
    "an anchor": "a: &b c\n",
    "billion laughs": LAUGHS,
    "a list as key": "[a, b]: c\n",
    "a mapping as key": "{a: b}: c\n",
    "a question": "? [a]\n: b\n",
    "many lists": "a: [" + "[]," * (M // 3) + "]",
    "many keys": "".join(f"k{i}:\n" for i in range(M // 10)),
    "deep lists": "a: " + "[" * M,
    "deep mappings": "{a: " * (M // 4),
    "deep dashes": "- " * (M // 2),
    "two documents": "a: b\n---\na: b\n",
    "too large": "#" * (MAX_TEXT_BYTES + 1),
    "20 MB": "a: " + "x" * 20_000_000,
    "control characters": "a: \x00\x01",
    "half a text": 'a: "b',
    "only text": "words",
    "nothing": "",
}
HARMLESS = {  # read, as text or as what they are
    "base 60": ("190:20:30", "190:20:30"),
    "long base 60": ("1" + ":59" * 100_000, None),
    "octal": ("0777", "0777"),
    "long octal": ("0" + "7" * 1_000_000, None),
    "hexadecimal": ("0xff", "0xff"),
    "underscores": ("1_000", "1_000"),
    "a date": ("2001-12-14", "2001-12-14"),
    "yes": ("yes", "yes"),
    "merge": ("<<", "<<"),
    "a long number": ("9" * 5000, None),
    "a long float": ("0." + "9" * 1_000_000, None),
    "a number": ("-12", -12),
    "a float": ("1e-3", 1e-3),
    "another": ("1.5E+3", 1500.0),
    "infinity": ("-.inf", -math.inf),
    "null": ("~", None),
    "true": ("true", True),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_run_writes_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    started = time.process_time()
    with pytest.raises(UserError) as refused:
        read_config(path)
    assert len(str(refused.value).splitlines()) == 1
    assert time.process_time() - started < 5  # 0.5 s on an idle core


@pytest.mark.parametrize(("text", "value"), HARMLESS.values(), ids=HARMLESS.keys())
def test_scalars_are_plain(text: str, value: Any) -> None:
    found = load_yaml(f"a: {text}\n'b': '{text}'\n")
    assert found == {"a": text if value is None and len(text) > 1 else value, "b": text}
    assert type(found["a"]) is type(text if value is None and len(text) > 1 else value)


def test_keys_are_text() -> None:
    assert load_yaml("1: a\nnull: b\n2001-12-14: c\ntrue: d\n") == {
        "1": "a",
        "null": "b",
        "2001-12-14": "c",
        "true": "d",
    }


@pytest.mark.parametrize("name", [*NASTY, "1.5", ".inf", "0x1", "1:30", "yes", "2001-12-14", "\ufeff", "\0", "\x7f"])
def test_a_text_comes_back_from_yaml(name: str) -> None:
    config = {"a": name, name: [name, {name: None}], "z": 1e-5, "n": 2**63, "f": [math.inf, 0.1, True, None, [], {}]}
    assert load_yaml(dump_yaml(config)) == config


@pytest.mark.parametrize("option", ["", "dataset=mnist", "decoder=gaussian", "scheduler=cosine", "optimizer=adamw"])
def test_a_configuration_comes_back_from_yaml(option: str) -> None:
    config = composed(*filter(None, [option]))
    assert load_yaml(dump_yaml(config)) == config
    assert len(dump_yaml(config)) < 100_000


def hostile(folder: Path, part: int) -> int:
    """Runs with the worst that one of their files could hold, or a part of the longest; how many."""
    summaries = {
        "command": json.dumps({**completed(-1.0), "command": "vae train a='" + "x " * 10_000_000}),
        "long command": json.dumps({"status": "failed", "command": "vae train " + "a=[[[1]]] " * 450_000}),
        "words": json.dumps({"status": "failed", "command": "vae train " + " ".join(f"k{i}=1e3" for i in range(9000))}),
        "error": json.dumps({"status": "failed", "error": "\x1b\n" * (500_000 // part), "command": "\x1b"}),
        "deep": '{"a":' * 100_000,
        "deeper": '{"status": "failed", "x": ' + "[" * 900 + "]" * 900 + "}",
        "lists": '{"status": "failed", "x": [' + "[]," * (M // 3 // part - 20) + "[]]}",
        "digits": '{"status": "completed", "epochs": 1' + "0" * 4000 + ', "seconds": 1' + "0" * 299 + "}",
        "numbers": '{"status": "completed", "epochs": 1e999, "best": {"bound": -1e999}, "seconds": NaN}',
        "names": '{"status": "[/b]", "data": {"name": "\\ud800\\u001b[31m"}, "best": {"bound": true}}',
        "kinds": '{"status": ["completed"], "epochs": {}, "best": [], "command": {}, "error": 5, "data": "x"}',
    }
    for name, content in summaries.items():
        make(folder / f"summary {name}", content, "a: [" if name != "digits" else None)
    for name, content in REFUSED.items():
        make(folder / f"config {name}", None, content)
    many = {"keys": "".join(f"k{i}: {i}\n" for i in range(50_000 // part)), "name": "dataset: {name: {name: [1]}}",
            "names": dump_yaml({name: name for name in NASTY})}  # fmt: skip
    for name, content in many.items():
        make(folder / f"many {name}", None, content)
    metrics = {"junk": "{}\n" * 1_000_000, "one line": "[" * 30_000_000, "lists": ("[[],[]," * 9000 + "\n") * 400,
               "lines": '{"epoch":1,"elbo":0,"bound":0}\n' * (300_000 // part), "\\r": "\r" * 10_000_000}  # fmt: skip
    for name, content in metrics.items():
        (make(folder / f"metrics {name}", {"status": "running"}, None) / "metrics.jsonl").write_text(content)
    wrong = '{"protocol": {"checkpoint": [], "epoch": {}}, "nll": "x"}'
    evaluations = ("[" * 100_000, wrong, "[1" + "0" * 5000 + "]", "")
    for i, content in enumerate(evaluations):
        (make(folder / f"evaluation {i}") / "evaluation.json").write_text(content)
    return len(list(folder.iterdir()))


def little_memory() -> None:
    """800 MB on top of what this process has already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 800 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@pytest.mark.parametrize("part", [10, pytest.param(1, marks=pytest.mark.faults)])
def test_bad_runs_leave_the_table_whole(part: int, tmp_path: Path, measured: Callable[[str], None]) -> None:
    good = make(tmp_path / "outputs" / "good", completed(-10.0), CONFIG, (line(1, "val", -3.0, -3.0),))
    (alone,) = table(good)
    n = hostile(tmp_path / "outputs", part)
    started = time.perf_counter()
    done = forked("runs", "format=json", cwd=tmp_path, before=little_memory)
    seconds = time.perf_counter() - started
    measured(f"a table of {n} runs, all but one hostile: {seconds:.1f} s")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    file = io.StringIO()
    print_table(rows, "outputs", Console(file=file))
    for printed in (done.stdout, as_csv(rows), file.getvalue()):
        assert all(text.isprintable() for text in printed.split("\n"))
    assert max(map(len, file.getvalue().split("\n"))) < 3000
    named = {Path(row["folder"]).name: row for row in rows}
    assert len(named) == len(rows) == n
    del alone["folder"], alone["differences"]
    assert {key: named["good"][key] for key in alone} == alone
    assert all(row["error"] for name, row in named.items() if name.startswith("config"))
    assert seconds < 60  # 7 s on an idle core


@pytest.mark.parametrize("content", ["{}\n" * 2000, "x" * 2**26, "[" * 3_000_000, "\n" * 2**20])
def test_junk_for_metrics_ends_soon(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"metrics.jsonl is (damaged|too large)"):
        rewind(RunFolder(tmp_path), 5)


@pytest.mark.faults
def test_no_run_has_so_many_lines(tmp_path: Path) -> None:
    make(tmp_path / "a", {"status": "running"})
    (tmp_path / "a" / "metrics.jsonl").write_text('{"epoch":1,"elbo":0,"bound":0}\n' * (MAX_LINES + 2))
    started = time.process_time()
    (row,) = table(tmp_path)
    assert row["error"] == "metrics.jsonl is too large"
    assert time.process_time() - started < 30  # 3 s on an idle core


def test_an_endless_event_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "events.out.tfevents.1.a.1.0").open("wb") as file:
        file.truncate(2**43)
    with pytest.raises(UserError, match="of memory"):
        events.rewind(RunFolder(tmp_path), 5)


def test_a_large_summary_is_not_taken_on(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"command": "x" * 20_000_000}))
    assert RunFolder(tmp_path).known_summary() == Summary()


JUNK = (
    "&a ", "*a", "!!int ", "!", "? ", "- ", "[", "{", "]", "}", ":", "\n", "\t", "'", '"', "|", "%", "\0", "\x85",
    "1e999", "-", "<<: ", "0o7", "\ud7ff", "null", "\\", "#", "---\n", "9" * 50,
)  # fmt: skip


def spoiled(text: str, rng: random.Random) -> str:
    """A text with something cut out, doubled, or put in."""
    i, j = sorted(rng.choices(range(len(text) + 1), k=2))
    junk = rng.choice(JUNK)
    cut, doubled, one, many = text[:i] + text[j:], text[:j] + text[i:], text[:i] + junk + text[i:], text[:i] + junk * 50
    return rng.choice([cut, doubled, one, many + text[j:]])


def trial(folder: Path, seed: int, config: dict[str, Any]) -> str:
    """What a run with one spoiled file has for an error."""
    rng = random.Random(seed)
    name = ("config.yaml", "summary.json", "metrics.jsonl", "evaluation.json")[seed % 4]
    texts = {
        "config.yaml": dump_yaml(config),
        "summary.json": json.dumps(completed(-5.0) if seed % 3 else {"status": "failed", "command": "vae train a=[1]"}),
        "metrics.jsonl": "".join(json.dumps(line(e, "val", -1.0, -2.0)) + "\n" for e in range(5)),
        "evaluation.json": json.dumps(evaluation(5.0)),
    }
    junk = None
    if seed % 8 >= 4 and name != "metrics.jsonl":
        junk = mutated((load_yaml if name == "config.yaml" else load_json)(texts[name]), rng)
    texts[name] = junk or spoiled(texts[name], rng)
    for other, text in texts.items():
        (folder / other).write_text(text, errors="replace")
    rows = table(folder.parent)
    (row,) = (row for row in rows if row["folder"] == str(folder))
    assert len(rows) == 2
    for text in (as_csv(rows), as_json(rows)):
        assert text.replace("\n", "").isprintable()
    try:
        read_config(folder)
    except UserError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  (a message or none)
    return "a problem named" if row["error"] else "read"


def trials(place: Path, n: int) -> Counter[str]:
    make(place / "good")
    (place / "bad").mkdir()
    config = composed()
    return Counter(trial(place / "bad", seed, config) for seed in range(n))


def test_a_sample_of_spoiled_files(tmp_path: Path) -> None:
    counts = trials(tmp_path, 60)
    assert min(counts.values()) > 10


@pytest.mark.faults
def test_spoiled_files(tmp_path: Path, measured: Callable[[str], None]) -> None:
    counts = trials(tmp_path, 2000)
    measured("2,000 spoiled files in the table: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
