"""Names that shells, Hydra, the file system or a terminal take for something else; links and locks in their way."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from support.checkpoints import make, write_run
from support.command_line import called
from support.configurations import composed
from support.making import prepare
from support.processes import start_copy, wait_for
from support.runs import SMALL, train

from vaecli.analysis.latent_space import encode
from vaecli.models.load import load_run
from vaecli.runs.find import find_resumable, find_run, runs_below
from vaecli.runs.folder import RunFolder, lock_run
from vaecli.runs.table import natural, table
from vaecli.training.resume import resume_command
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded

NAMES = [
    "null", "NULL", "true", "False", "1e3", "1_000", ".5", "-1", "+3", "nan", "inf", "latest", "???", "~", "~x", "~x/y",
    "it's", 'a"b', "a b", " a", "a ", "a\\", "a\\\\", "a\\'b", "\\'", "${x}", "a\\${x}", "$HOME", "$(ls)", "`ls`",
    "a,b", "[a]", "{a: 1}", "a=b", "a:b", "#c", "(a)", "*", "a;b", "!x", "a\nb", "a\tb", "\\\n", "é", "²",
    "\udcff", "\x1b[31m",
    "/abs/null", "/a b/1e3", "../null", "run/1", "outputs/digits/2030-01-01_00-00-00-000000",
]  # fmt: skip
FULL = "/dev/full"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_printed_name_is_read_as_it_is(name: str) -> None:
    """By the shell, by Hydra and by us."""
    line = resume_command(RunFolder(Path(name)))
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    program, word = map(os.fsdecode, said.split(b"\0")[:-1])
    assert program == "vae-train"
    config = OmegaConf.create({"resume": None})
    OmegaConf.update(config, "resume", OverridesParser.create().parse_override(word).value())
    assert isinstance(config.resume, str)
    assert config.resume != "latest"
    assert expanded(config.resume) == Path(name)


def test_plain_names_are_printed_plainly() -> None:
    assert setting("run", Path("outputs/digits/a_b-c.1")) == "run=outputs/digits/a_b-c.1"
    assert command(["vae", "sample", setting("run", "/tmp/run")]) == "vae sample run=/tmp/run"


@pytest.mark.faults
@pytest.mark.parametrize("name", ["null", "1e3", "it's", 'a "b" c', "latest", "${x}", "a\nb", "[a,b]"], ids=ascii)
def test_the_printed_line_goes_on(name: str) -> None:
    """An interrupted run of that name says a line, and that line is run."""
    assert train(*SMALL, "output=made", stop_at=2) == 130
    Path("made").rename(name)
    line = shlex.quote(sys.executable) + " -m vaecli " + resume_command(RunFolder(Path(name))).removeprefix("vae-")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"status": "completed"' in (Path(name) / "summary.json").read_text()


NO_USER = ["sample run=~nouser/x", "train output=~nouser/x", "train resume=~nouser", "train repeat=~nouser/c.yaml",
           "runs path=~nouser", "runs output=~nouser/x.csv format=csv", "reconstruct run=[~nouser,x]",
           "train dataset=arrays dataset.path=~nouser/x.csv", "train dataset=mnist dataset.root=~nouser",
           "train dataset=images dataset.path=~nouser/x", "sample run=run z=~nouser/z.npy",
           "encode run=run input=~nouser/x.npy", "sample run=run output=~nouser/x.png",
           "evaluate run=run dataset.root=~nouser"]  # fmt: skip


@pytest.mark.parametrize("words", NO_USER)
def test_a_home_of_nobody(words: str) -> None:
    write_run(Path("run"), make())
    Path("outputs").mkdir()
    done = called(*words.split(), cwd=Path.cwd())
    assert done.returncode == 1
    assert "~nouser" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(os.listdir()) == ["outputs", "run"]


def test_digits_that_are_none() -> None:
    """²: isdigit, but no number; and numbers of more digits than int takes."""
    names = ["²", "a²", "10", "9", "٣", "①", "1" * 200, "a10", "a9", "a²1"]
    for name in names:
        write_run(Path("outputs", name), make())
        Path("outputs", name, "summary.json").write_text('{"status": "completed"}')
    found = [path.name for path in runs_below(Path("outputs"))]
    assert sorted(found) == sorted(names)
    assert found.index("9") < found.index("10") < found.index("1" * 200)
    assert found.index("a9") < found.index("a10")
    assert len(table("outputs", "folder")) == len(names)
    assert natural("9" * 5000) < natural("1" + "0" * 5000)
    assert natural("007") == natural("7")


def test_a_dangling_link_is_no_newest_run() -> None:
    good = write_run(Path("outputs/good"), make())
    for name in ("best.safetensors", "last.safetensors", "ema.safetensors"):
        Path("outputs/gone/checkpoints").mkdir(parents=True, exist_ok=True)
        Path("outputs/gone/checkpoints", name).symlink_to("nothing")
    Path("outputs/folder/checkpoints/best.safetensors").mkdir(parents=True)
    for name in ("config.yaml", "summary.json"):
        Path("outputs/gone", name).symlink_to("nothing")
    (good / "config.yaml").write_text("dataset: {}")
    assert find_run("latest").path == good
    assert find_resumable("latest").path == good
    with pytest.raises(UserError, match=r"no checkpoint|cannot be read|there is no checkpoint"):
        load_run("outputs/gone")
    assert len(table("outputs")) == 1


def test_names_that_are_not_utf_8() -> None:
    """An output or a run may be called so; data, whose place config.yaml keeps, may not."""
    name = "n\udcff"
    assert called("train", *SMALL, "epochs=1", f"output='{name}'", cwd=Path.cwd()).returncode == 0
    for words in (f"sample run='{name}'", "runs path=.", f"train resume='{name}' epochs=2", f"encode run='{name}'",
                  f"runs path='{name}' format=csv", f"runs path='{name}' format=json"):  # fmt: skip
        done = called(*words.split(), cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
    Path(f"{name}/t.csv").write_text("a,b\n" + "1,2\n3,5\n" * 20)
    for words in (
        f"train dataset=arrays dataset.path='{name}/t.csv' output=x",
        f"encode run='{name}' input='{name}/t.csv'",
    ):
        done = called(*words.split(), cwd=Path.cwd())
        assert done.returncode == 1
        assert done.stderr.startswith("error: "), done.stderr
        assert "the name is not valid UTF-8" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not Path("x").exists()


# --- links and locks


@pytest.mark.parametrize(
    "name", ["images", "train.log", "metrics.jsonl", "checkpoints", ".lock", "config.yaml", "summary.json",
             "events.out.tfevents.1.a.1.0"]
)  # fmt: skip
@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
def test_an_output_leads_nowhere_else(name: str, there: bool) -> None:
    Path("run").mkdir()
    Path("outside").mkdir()
    target = Path("outside", name)
    if there:
        target.mkdir() if name in ("images", "checkpoints") else target.write_text("mine")
    Path("run", name).symlink_to(target.absolute())
    before = {path: path.lstat().st_mtime_ns for path in Path("outside").rglob("*")}
    with pytest.raises(UserError, match=r"is a link|already holds a run"):
        train(*SMALL, "epochs=1", "output=run")
    assert {path: path.lstat().st_mtime_ns for path in Path("outside").rglob("*")} == before


def test_a_sweep_overwrites_no_run() -> None:
    words = ("train", "-m", *SMALL, "epochs=1", "seed=1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=one")
    assert called(*words, cwd=Path.cwd()).returncode == 0
    before = {path: path.read_bytes() for path in Path("sweep/one").rglob("*") if path.is_file()}
    done = called(*words, cwd=Path.cwd())
    assert done.returncode == 1
    assert "already holds a run" in done.stderr
    assert {path: path.read_bytes() for path in Path("sweep/one").rglob("*") if path.is_file()} == before


def test_a_lock_whose_file_is_deleted_still_holds() -> None:
    run = start_copy(*SMALL, "epochs=100000", "output=run", cwd=Path.cwd())
    try:
        wait_for("run/checkpoints/last.safetensors", run, Path.cwd())
        Path("run/.lock").unlink()
        with pytest.raises(UserError, match="another process is training this run"), lock_run(RunFolder(Path("run"))):
            pass
        with pytest.raises(UserError, match="another process is training this run"):
            train("resume=run")
        assert run.poll() is None
    finally:
        run.send_signal(signal.SIGKILL)
        run.communicate()
    with lock_run(RunFolder(Path("run"))):
        pass


# --- what is read from a run and cannot be used


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
@pytest.mark.parametrize("part", ["encoder_network", "decoder_network", "prior.loc", "prior.scale"])
def test_infinite_weights(part: str, value: float) -> None:
    state = make()
    name = next(key for key in state["model"] if key.startswith(part))
    state["model"][name].view(-1)[0] = value
    with pytest.raises(UserError, match="holds values that are not finite numbers"):
        load_run(str(write_run(Path("run"), state)), device="cpu")


@pytest.mark.parametrize("value", [-1.0, 0.0, -1e38])
def test_a_prior_that_cannot_be_drawn_from(value: float) -> None:
    state = make()
    state["model"]["prior.scale"][0] = value
    with pytest.raises(UserError, match="standard deviations of its prior"):
        load_run(str(write_run(Path("run"), state)), device="cpu")


def test_finite_weights_whose_answers_are_not() -> None:
    state = make()
    for key, weight in state["model"].items():
        if "network" in key:
            weight.fill_(3e38)
    run = load_run(str(write_run(Path("run"), state)), device="cpu")
    with pytest.raises(UserError, match="the weights of this checkpoint are unusable"):
        encode(run.model, run.dataset.load().test)
    for words in (
        "sample",
        "sample mode=draw",
        "encode",
        "reconstruct n=2 mode=draw",
        "evaluate k=2",
        "traverse steps=3",
    ):
        done = called(*words.split(), "run=run", cwd=Path.cwd())
        assert "Traceback" not in done.stderr, words
        assert done.returncode == (0 if words.startswith("reconstruct") else 1), words


def classes_of(group: str) -> list[str]:
    """Every class and function that is defined below vaecli.<group>s."""
    package = importlib.import_module(f"vaecli.{group}s")
    modules = [package, *(importlib.import_module(f"{package.__name__}.{one.name}")
                          for one in pkgutil.iter_modules(getattr(package, "__path__", [])))]  # fmt: skip
    return [f"{module.__name__}.{name}" for module in modules for name, found in vars(module).items()
            if getattr(found, "__module__", None) == module.__name__ and callable(found)]  # fmt: skip


@pytest.mark.parametrize("group", ["architecture", "dataset", "decoder", "objective", "optimizer", "posterior", "prior",
                                   "scheduler"])  # fmt: skip
def test_any_class_as_a_target(group: str) -> None:
    """Abstract ones, protocols and helpers among them: refused in a line, or it is an option after all."""
    config = composed(*SMALL)
    targets = classes_of(group)
    assert len(targets) >= 3
    abstract = [one for one in targets if inspect.isabstract(getattr(*split(one)))]
    for target in targets:
        config[group] = {"_target_": target, "name": "x"}
        try:
            prepare({**config, "repeat": "run"})
        except UserError as error:
            assert len(str(error).splitlines()) <= 2  # noqa: PT017
        else:
            assert target not in abstract


def split(target: str) -> tuple[object, str]:
    module, _, name = target.rpartition(".")
    return importlib.import_module(module), name


def test_an_abstract_class_of_the_command_line() -> None:
    for words in (
        "objective._target_=vaecli.objectives.base.Objective",
        "decoder._target_=vaecli.decoders.base.Decoder",
    ):
        done = called("train", *SMALL, words, cwd=Path.cwd())
        assert done.returncode == 1
        assert done.stderr.startswith("error: "), done.stderr
        assert "_target_=" in done.stderr


# --- standard output


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A line in bash, where vae is the command line."""
    script = f'vae() {{ "{sys.executable}" -m vaecli "$@"; }}; {line}; echo "${{PIPESTATUS[0]}}" > code'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True)


@pytest.mark.faults
@pytest.mark.parametrize(
    "where",
    [f"> {FULL}", "| head -n 1", f"> {FULL} 2> {FULL}", ">&-", ">&- 2>&-", "2>&1 | head -n 1", "| true"],
)
def test_training_outlives_standard_output(where: str) -> None:
    done = shell(f"vae train {' '.join(SMALL)} output=run {where}")
    assert Path("code").read_text().strip() == "0", done.stderr
    assert done.stderr == ""
    assert '"status": "completed"' in Path("run/summary.json").read_text()
    assert "wrote run" in Path("run/train.log").read_text()


@pytest.mark.faults
def test_a_sweep_outlives_standard_output() -> None:
    shell(f"vae train -m {' '.join(SMALL)} latent_dim=2,4 hydra.sweep.dir=sweep | head -n 1")
    assert [row["status"] for row in table("sweep")] == ["completed"] * 2


@pytest.mark.parametrize("words", ["--help", *(pytest.param(one, marks=pytest.mark.faults) for one in (
    "--version", "train --help", "runs path=.", "sample run=run", "evaluate run=run k=2",
    "runs path=. format=json"))])  # fmt: skip
def test_other_commands_say_that_it_is_full(words: str) -> None:
    write_run(Path("run"), make())
    done = shell(f"vae {words} > {FULL}")
    assert Path("code").read_text().strip() == "1"
    assert done.stderr.startswith("error: standard output")
    assert done.stderr.count("\n") == 1


@pytest.mark.faults
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """As in `vae data input=FILE | head`: the first line is printed within the job that Hydra runs."""
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i * 0.3:.1f},{i * i % 7 + 0.5}\n" for i in range(40)))
    done = shell(f"vae data input={tmp_path / 'x.csv'} | true")
    assert Path("code").read_text().strip() == "1"  # as `vae runs | true`
    assert done.stderr == ""


@pytest.mark.faults
def test_a_terminal_without_greek() -> None:
    write_run(Path("run"), make())
    done = shell("PYTHONIOENCODING=ascii vae evaluate run=run k=2")
    assert Path("code").read_text().strip() == "0", done.stderr
    assert "\\xb1" in done.stdout
