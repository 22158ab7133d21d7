"""Checkpoints from strangers: nothing in them is executed, and no memory is taken for what they claim."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import State, make, refused, write_run
from support.command_line import forked, vae
from support.making import instantiate
from support.mnist_files import fake
from support.processes import run_command
from support.thinned import every

from vaecli.config.instantiate import Trust, resolve
from vaecli.models import build
from vaecli.models import load as runs
from vaecli.models.load import load_run
from vaecli.runs import checkpoint
from vaecli.runs.table import table
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("without_hydra")


@pytest.fixture(scope="module")
def original() -> State:
    return make()


@pytest.fixture
def state(original: State) -> State:
    return copy.deepcopy(original)


class Harm:
    """Unpickled without protection, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


class Careless(pickle.Unpickler):
    """Runs whatever a file names, but for torch's own functions, which would want their tensors."""

    def persistent_load(self, key: Any) -> Any:
        return None

    def find_class(self, module: str, name: str) -> Any:
        return (lambda *args: None) if module.startswith("torch") else super().find_class(module, name)


def careless(content: bytes) -> None:
    """Unpickle a file of pickle's or torch's without protection; the old format is four pickles in a row."""
    file = io.BytesIO(content)
    if zipfile.is_zipfile(file):
        archive = zipfile.ZipFile(file)
        file = io.BytesIO(archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl"))))
    file.seek(0)
    with suppress(EOFError):
        for _ in range(4):
            Careless(file).load()


@pytest.mark.parametrize("writer", ["pickle", "torch", "legacy", "inside"])
def test_a_foreign_pickle_is_never_executed(writer: str, original: State, tmp_path: Path) -> None:
    path, victim = tmp_path / "best.safetensors", tmp_path / "victim"
    harm = Harm(victim)
    if writer == "pickle":
        path.write_bytes(pickle.dumps(harm))
    elif writer == "inside":
        torch.save({"format": checkpoint.FORMAT, **original, "sha256": "0", "best": harm}, path)
    else:
        torch.save({"model": harm}, path, _use_new_zipfile_serialization=writer == "torch")
    careless(path.read_bytes())
    assert victim.exists()  # the file does what it is meant to do
    victim.unlink()
    refused(path)
    assert not victim.exists()


TARGETS = [
    "vaecli.architectures.conv.halvings", "vaecli.datasets.mnist.default_root",
    "os.system", "subprocess.run", "builtins.eval", "builtins.exec", "torch.load", "torch.hub.load", "pickle.loads",
    "vaecli.models.build.os.system", "vaecli.decoders.gaussian.torch.load", "vaecli.decoders.gaussian.math.exp",
    "vaecli.decoders.gaussian.Normal", "vaecli.decoders.gaussian.Independent",
    "vaecli.architectures.mlp.nn.Sequential", "vaecli.datasets.mnist.os.system", "vaecli.datasets.mnist.Path",
    "vaecli.utils.files.replace_file", "vaecli.commands.train.make", "vaecli.decoders", "vaecli.decoders.gaussian",
    "vaecli.decoders..Gaussian", "vaecli.decoders.gaussian.__class__", "vaecli.decoders.gaussian.__builtins__.eval",
    "vaecli.decoders.nothing.Gaussian", "vaecli.decoders.gaussian.Nothing", "", ".", "Gaussian",
    "vaecli.decoders.gaussian.Gaussian ", "vaecli.decoders.gaussian.Gaussian\n", "vaecli.decoders/gaussian.Gaussian",
    "vaecli.decodersx.gaussian.Gaussian",
]  # fmt: skip


BUILT = ("architecture", "decoder", "posterior", "prior", "dataset")  # the groups that loading a run builds
EACH_IN_TURN = [(BUILT[i % len(BUILT)], target) for i, target in enumerate(TARGETS)]


@pytest.mark.parametrize(("group", "target"), [*EACH_IN_TURN, *((group, "os.system") for group in BUILT)])
def test_a_target_outside_its_group_is_not_executed(
    group: str, target: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(os, "system", lambda *args: called.append(args))
    for each in BUILT:
        with pytest.raises(UserError):
            resolve(target, f"vaecli.{each}s")
    state["config"][group] = {"_target_": target, "name": "x", "command": f"touch {tmp_path / 'victim'}"}
    folder = write_run(tmp_path / "run", state)
    with pytest.raises(UserError) as error:
        load_run(str(folder), device="cpu")
    assert len(str(error.value).splitlines()) <= 2
    assert not called
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(("group", "other"), [("decoder", "posterior"), ("posterior", "decoder"), ("prior", "dataset")])
def test_a_target_of_another_group_is_refused(group: str, other: str, state: State, tmp_path: Path) -> None:
    state["config"][group] = dict(state["config"][other])
    with pytest.raises(UserError, match="refused"):
        load_run(str(write_run(tmp_path, state)), device="cpu")


def test_keys_the_program_supplies_are_refused(state: State, tmp_path: Path) -> None:
    state["config"]["decoder"]["x_shape"] = [9]
    with pytest.raises(UserError, match=r"unknown key decoder\.x_shape"):
        load_run(str(write_run(tmp_path, state)), device="cpu")


CLAIMS: dict[str, Callable[[State], object]] = {
    "latents": lambda s: s["config"].update(latent_dim=10**10),
    "more latents": lambda s: s["config"].update(latent_dim=10**19),
    "widths": lambda s: s["config"]["architecture"].update(hidden=[10**9, 10**9]),
    "observations": lambda s: s.update(x_shape=[1, 10**6, 10**6]),
    "a negative size": lambda s: s["config"].update(latent_dim=-1),
    "a million layers": lambda s: s["config"]["architecture"].update(hidden=[8] * 10**6),
    "a width of 10**12": lambda s: s["config"]["architecture"].update(hidden=[10**12]),
    "a huge data set": lambda s: s["config"].update(
        dataset={"_target_": "vaecli.datasets.beta.Beta", "name": "beta", "size": 10**13}
    ),
    "huge numbers": lambda s: s["config"].update(latent_dim=2**63),
    "double weights": lambda s: s.update(model={k: v.double() for k, v in s["model"].items()}),
    "weights that are not numbers": lambda s: next(iter(s["model"].values())).fill_(float("nan")),
    "many dimensions": lambda s: s.update(x_shape=[1] * 1000),
    "a dimension of 0": lambda s: s.update(x_shape=[1, 0, 8]),
    "no size": lambda s: s["config"].update(latent_dim=None),
    "text": lambda s: s["config"].update(latent_dim="many"),
    "no shape": lambda s: s.update(x_shape=None),
    "another shape": lambda s: s.update(x_shape=[1, 9, 9]),
    "no configuration": lambda s: s.update(config=None),
    "a list": lambda s: s.update(config=[1]),
    "no latent_dim": lambda s: s["config"].pop("latent_dim"),
    "no decoder": lambda s: s["config"].pop("decoder"),
    "no dataset": lambda s: s["config"].pop("dataset"),
    "no weights": lambda s: s.update(model={}),
    "weights that are none": lambda s: s.update(model=[1]),
    "a weight too many": lambda s: s["model"].update(more=torch.zeros(1)),
    "an unknown key": lambda s: s["config"]["architecture"].update(qwerty=1),
    "a bad value": lambda s: s["config"]["decoder"].update(_target_=5),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_does_not_fit_together_is_refused_quickly(claim: str, state: State, tmp_path: Path) -> None:
    """No memory is taken for what a configuration merely claims."""
    CLAIMS[claim](state)
    folder = write_run(tmp_path, state)
    started = time.process_time()
    with pytest.raises(UserError) as error:
        load_run(str(folder), device="cpu")
    assert time.process_time() - started < 5
    assert len(str(error.value).splitlines()) <= 2


def test_the_model_of_a_file_is_built_without_memory(
    original: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def watched(*args: Any, **kwargs: Any) -> Any:
        model = build.build_vae(*args, **kwargs)
        seen.update(tensor.device.type for tensor in [*model.parameters(), *model.buffers()])
        return model

    monkeypatch.setattr(runs, "build_vae", watched)
    load_run(str(write_run(tmp_path, original)), device="cpu")
    assert seen == {"meta"}


def test_a_function_of_vaecli_is_no_option(state: State, tmp_path: Path) -> None:
    state["config"]["architecture"] = {"_target_": "vaecli.architectures.conv.halvings", "size": 1, "n": 10**12}
    with pytest.raises(UserError, match="refused"):
        load_run(str(write_run(tmp_path, state)), device="cpu")


def test_the_command_line_may_name_any_class() -> None:
    """Users' own options are theirs; only what comes out of a file is restricted."""
    config = {"prior": {"_target_": "torch.nn.Identity", "name": "mine"}}
    assert isinstance(instantiate(config, "prior"), torch.nn.Identity)
    with pytest.raises(UserError):
        instantiate(config, "prior", trust=Trust())


# --- what a run's files say is text, and stays in its folder


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${oc.env:SECRET,x}", "${latent_dim}", "${now:%Y}", "${", "$${a}"])
def test_interpolations_are_text(
    text: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    state["config"]["comment"] = text
    folder = write_run(tmp_path / "run", state)
    assert load_run(str(folder), device="cpu").config["comment"] == text
    for name, latent_dim in (("run", text), ("other", 3)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.yaml").write_text(json.dumps({"latent_dim": latent_dim, "seed": text}))
        (tmp_path / name / "summary.json").write_text(json.dumps({"status": "completed", "command": text}))
    rows = table(tmp_path)
    assert {row["differences"]["latent_dim"] for row in rows} == {text, 3}
    run_command(monkeypatch, "runs", f"path={tmp_path}")
    printed = capsys.readouterr().out
    assert text in printed
    assert "hunter2" not in printed
    state["config"]["dataset"]["name"] = text
    with pytest.raises(UserError, match=r"dataset\.name="):
        load_run(str(write_run(tmp_path / "run", state)), device="cpu")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "", ".", "..", "a\nb", "x" * 101, 5, None, "~"])
def test_a_name_is_no_path(name: Any, state: State, tmp_path: Path) -> None:
    for group in ("dataset", "decoder"):
        changed = copy.deepcopy(state)
        changed["config"][group]["name"] = name
        with pytest.raises(UserError, match=rf"{group}\.name="):
            load_run(str(write_run(tmp_path, changed)), device="cpu")


def test_a_download_goes_to_no_folder_of_the_files(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's root is neither read nor written, and one that the user names is read."""
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    theirs.mkdir()
    monkeypatch.setenv("VAE_DATA", str(mine))
    state["config"]["dataset"] = {"_target_": "vaecli.datasets.mnist.MNIST", "name": "mnist", "source": "MNIST",
                                  "root": str(theirs)}  # fmt: skip
    folder = write_run(tmp_path / "run", state)
    assert load_run(str(folder), device="cpu").dataset.root == mine
    fake(theirs, "MNIST")
    assert load_run(str(folder), device="cpu").dataset.root == mine
    assert load_run(str(folder), device="cpu", data={"root": str(theirs)}).dataset.root == theirs


def test_links_are_replaced_and_not_followed(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, outside = write_run(tmp_path / "run", state), tmp_path / "outside"
    (outside / "embedding").mkdir(parents=True)
    (outside / "file").write_text("mine")
    for name in ("samples.png", "latents.npz", "latents.png", "evaluation.json", "reconstructions.png"):
        (folder / name).symlink_to(outside / "file")
    (folder / "embedding").symlink_to(outside / "embedding")
    before = sorted(outside.rglob("*"))
    for words in (("sample",), ("encode",), ("evaluate", "k=2", "limit=3"), ("reconstruct", "n=2")):
        run_command(monkeypatch, *words, f"run={folder}", "device=cpu")
    with pytest.raises(SystemExit):
        run_command(monkeypatch, "encode", f"run={folder}", "device=cpu", "tensorboard=true")
    assert (outside / "file").read_text() == "mine"
    assert sorted(outside.rglob("*")) == before
    assert not (folder / "samples.png").is_symlink()


@pytest.mark.parametrize("name", ["checkpoints", "images", "train.log", "metrics.jsonl", ".lock", "config.yaml"])
def test_a_run_with_links_in_it_does_not_go_on(
    name: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it writes would land where they lead."""
    folder, outside = write_run(tmp_path / "run", state), tmp_path / "outside"
    (folder / "config.yaml").write_text("dataset: {}")
    outside.mkdir()
    if (folder / name).exists():
        (folder / name).rename(outside / name)
    elif "." not in name:
        (outside / name).mkdir()
    else:
        (outside / name).write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    (folder / name).symlink_to(outside / name)
    with pytest.raises(SystemExit):
        run_command(monkeypatch, "train", f"resume={folder}")
    assert f"{name} is a link" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before


def test_formulas_and_markup_in_a_config_are_text(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = copy.deepcopy(state)
    other["config"]["seed"] = "$\\frac{$ [/bold] \x1b[31m \ud800" + "x" * 5000
    a, b = write_run(tmp_path / "a", state), write_run(tmp_path / "b", other)
    run_command(monkeypatch, "reconstruct", f"run=[{a},{b}]", "n=2", "device=cpu")
    assert "\x1b" not in capsys.readouterr().out


RUN_FILES = {
    "aliases that double": ("config.yaml", "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]"
                                                                      for i in range(1, 60))),
    "deep brackets": ("config.yaml", "a: " + "[" * 100_000),
    "deep mappings": ("config.yaml", "\n".join(" " * i + "a:" for i in range(2000))),
    "deep json": ("summary.json", '{"status": ' + "[" * 100_000),
    "deep metrics": ("metrics.jsonl", "[" * 100_000 + "\n"),
    "a long number": ("summary.json", '{"status": "completed", "epochs": 1' + "0" * 400 + "}"),
    "a longer number": ("summary.json", '{"status": "completed", "epochs": 1' + "0" * 5000 + "}"),
    "an infinite time": ("summary.json", '{"status": "completed", "seconds": 1e999, "best": {"elbo": -Infinity}}'),
    "a colour": ("summary.json", '{"status": "\\u001b[31mred", "error": "\\u0007\\ud800"}'),
    "not a number in a list": ("config.yaml", "a: [.nan, 1]\nb: {c: [{2001-01-01: .inf}]}"),
    "python": ("config.yaml", "!!python/object/apply:os.system ['touch victim']"),
    "an alias in a command": ("summary.json", '{"status": "failed", "command": "a=[&a x,*a] b=[[[[["}'),
    "a path for a recipe": ("summary.json", '{"status": "failed", "command": "experiment=../../../../secret"}'),
    "dates and sets": ("config.yaml", "a: 2001-01-01\nb: !!set {x, y}\nc: !!binary aGk=\n5: 6\nnull: 7"),
}  # fmt: skip


@pytest.mark.parametrize("name", RUN_FILES)
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_the_table_of_runs_takes_whatever_files_hold(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file, content = RUN_FILES[name]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "summary.json").write_text('{"status": "running"}')
    (tmp_path / "a" / file).write_text(content)
    started = time.process_time()
    run_command(monkeypatch, "runs", "path=.", f"format={form}")
    assert time.process_time() - started < 5
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert not (tmp_path / "victim").exists()


def test_the_table_of_runs_waits_for_no_pipe(tmp_path: Path) -> None:
    for folder, file in (("a", "summary.json"), ("b", "config.yaml"), ("c", "metrics.jsonl")):
        (tmp_path / folder).mkdir()
        if file != "summary.json":
            (tmp_path / folder / "summary.json").write_text('{"status": "running"}')
        os.mkfifo(tmp_path / folder / file)
    assert len(table(tmp_path)) == 3
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "summary.json").symlink_to("/dev/zero")
    assert table(tmp_path / "d")[0]["status"] == "damaged"


# --- classes of the user's own

PACKAGE = """
from os import system
from subprocess import run
import torch
from torch import nn
from vaecli.decoders.bernoulli import Bernoulli

class MyDecoder(Bernoulli):
    pass

def my_adam(params, lr: float = 1e-3):
    return torch.optim.Adam(params, lr)
"""
COMMANDS = [
    ("sample",), ("reconstruct", "n=2"), ("evaluate", "k=2", "limit=3"), ("encode",), ("manifold", "n=2"),
    ("traverse", "steps=2"), ("interpolate", "steps=2"), ("fit", "index=1", "restarts=0"), ("export", "format=torch"),
]  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of the user's and a run that uses it."""
    place = tmp_path_factory.mktemp("place")
    (place / "mypkg").mkdir()
    (place / "mypkg" / "__init__.py").write_text(PACKAGE + "from .inner import Inner\n")
    (place / "mypkg" / "inner.py").write_text("from . import Bernoulli\nclass Inner(Bernoulli):\n    pass\n")
    for group, name, target in (("decoder", "mine", "mypkg.MyDecoder"), ("optimizer", "mine", "mypkg.my_adam")):
        (place / "mine" / group).mkdir(parents=True)
        (place / "mine" / group / f"{name}.yaml").write_text(f"_target_: {target}\nname: {name}\n")
    done = forked("train", "--config-dir", "mine", "decoder=mine", "optimizer=mine", "epochs=1", "dataset=digits",
               "dataset.limit=64", "latent_dim=2", "architecture.hidden=[8]", "output=run", cwd=place)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.faults
def test_a_users_own_classes_elsewhere(workplace: Path, tmp_path: Path) -> None:
    run = f"run={workplace / 'run'}"
    refused = vae("sample", run, cwd=tmp_path)
    assert refused.returncode == 1
    assert "add trust=[mypkg]" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 2
    paths = os.pathsep.join([str(workplace), os.environ.get("PYTHONPATH", "")])
    done = vae("sample", run, "trust=[mypkg]", cwd=tmp_path, PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", every(4, zip(COMMANDS)), ids=lambda words: words[0])
def test_every_command_asks_for_trust(words: tuple[str, ...], workplace: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(workplace)  # not on sys.path: the console script does not put it there
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(workplace))])
    with pytest.raises(SystemExit):
        run_command(monkeypatch, *words, "run=run")
    assert "trust=[mypkg]" in capsys.readouterr().err
    run_command(monkeypatch, *words, "run=run", "trust=[mypkg]")


def test_a_trusted_package_that_is_not_there(workplace: Path) -> None:
    with pytest.raises(UserError, match="No module named 'elsewhere'"):
        resolve("elsewhere.Mine", "vaecli.decoders", ["elsewhere"])


def test_load_takes_trust(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vaecli

    monkeypatch.chdir(workplace)
    with pytest.raises(UserError, match="trust"):
        vaecli.load("run")
    assert type(vaecli.load("run", trust=["mypkg"]).model.decoder).__name__ == "MyDecoder"


@pytest.mark.parametrize("target", ["mypkg.system", "mypkg.run", "mypkg.torch", "mypkg.nn.Linear", "mypkg.Bernoulli",
                                    "mypkg.torch.hub.load", "mypkg.__builtins__", "mypkgs.MyDecoder"])  # fmt: skip
def test_trust_does_not_reach_what_a_package_imports(
    target: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(workplace)
    with pytest.raises(UserError):
        resolve(target, "vaecli.decoders", ["mypkg"])


def test_trust_reaches_what_a_package_defines(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(workplace)
    assert resolve("mypkg.my_adam", "vaecli.optimizers", ["mypkg"]).__name__ == "my_adam"
    for target in ("mypkg.Inner", "mypkg.inner.Inner"):
        assert resolve(target, "vaecli.decoders", ["mypkg"]).__name__ == "Inner"


@pytest.mark.parametrize("name", ["os", "torch", "torch.hub", "subprocess", "builtins", "vaecli", "pip", "", "a b",
                                  "../x", "os;x", "a."])  # fmt: skip
def test_what_cannot_be_trusted(name: str, original: State, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trust="):
        load_run(str(write_run(tmp_path, original)), device="cpu", trust=[name])


@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "subprocess.Popen", "pip.main", "a b.c", "x"])
def test_no_message_asks_to_trust_what_no_user_wrote(target: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(target, "vaecli.decoders")
    assert "trust" not in str(error.value)


SINGLE = [("optimizers", "adam"), ("optimizers", "sgd"), ("schedulers", "cosine"), ("schedulers", "one_cycle")]


@pytest.mark.parametrize(("group", "name"), SINGLE)
def test_functions_of_single_modules_are_options(group: str, name: str) -> None:
    assert resolve(f"vaecli.{group}.{name}", f"vaecli.{group}").__name__ == name
    with pytest.raises(UserError):
        resolve(f"vaecli.{group}.{name}", "vaecli.decoders")
    for other in ("torch", "nn.Linear", "Optimizer", "lr_scheduler.ConstantLR", "nothing", "__loader__"):
        with pytest.raises(UserError):
            resolve(f"vaecli.{group}.{other}", f"vaecli.{group}")


def test_every_option_is_built_from_its_checkpoint(state: State) -> None:
    model = load_parts(state["config"])
    assert isinstance(model, torch.optim.Optimizer)


def load_parts(config: dict[str, Any]) -> Any:
    """What resuming builds besides the model, in trusted mode."""
    params = [torch.nn.Parameter(torch.zeros(1))]
    instantiate(config, "objective", trust=Trust())
    optimizer = instantiate(config, "optimizer", trust=Trust(), params=params)
    instantiate(config, "scheduler", trust=Trust(), optimizer=optimizer, total_steps=10, steps_per_epoch=5)
    return optimizer
