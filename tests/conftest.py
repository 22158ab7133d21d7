"""Runs that many tests read, each trained once."""

import copy
import functools
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from support.making import fill_from_data

from vaecli import __main__ as cli
from vaecli.config.catalog import conf_folder, groups
from vaecli.datasets.split import Split

pytest.register_assert_rewrite("support")  # what its asserts compare is shown too
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models here are small, and the machine may be busy
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="vaecli-state-")  # not the user's own

GROUPS = {*groups(), "experiment"}
GREY = Split(torch.arange(17, dtype=torch.uint8).reshape(17, 1), levels=16)
Vae = Callable[..., subprocess.CompletedProcess[str]]


def vae(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command line in a process of its own."""
    command = [sys.executable, "-m", "vaecli", *args]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=240)


def forked(*args: str, cwd: Path, before: Callable[[], Any] | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a copy of this process, which has all modules already: the same code, seconds faster.

    before: called in the copy first
    """
    for module in ("vaecli.config.compose", "vaecli.commands.train", f"vaecli.commands.{args[0]}", "torch._dynamo"):
        importlib.import_module(module)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            if before:
                before()
            os._exit(_command_line(args, cwd, out.fileno(), err.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(args, code, *texts)


def _command_line(args: tuple[str, ...], cwd: Path, out: int, err: int) -> int:
    """The exit code of the command line, its output sent to these files."""
    signal.alarm(240)
    os.chdir(cwd)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["vae", *args]
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def trained(folder: Path, *args: str) -> Path:
    """A run's folder, made by `vae train`."""
    done = forked("train", *args, f"output={folder / 'run'}", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration that `vae train OVERRIDES` works with.

    Hydra composes the options chosen, a tenth of a second for each set of them; values are put in afterwards.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = [one.input_line for one in parsed if one.key_or_group in GROUPS or one.is_delete()]
    config = copy.deepcopy(_composed(tuple(chosen)))
    for one in parsed:
        if one.input_line not in chosen:
            OmegaConf.update(config, one.key_or_group, one.value(), force_add=one.is_add())
    values: Any = OmegaConf.to_container(config, resolve=True)
    return values


def filled(*overrides: str) -> dict[str, Any]:
    """The same, with what the decoder takes from the data filled in from images of 17 grey levels."""
    return fill_from_data(composed(*overrides), GREY)


@functools.cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        return hydra.compose("train", list(overrides))


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dynamically binarised digits under a Bernoulli decoder, five latents, 30 epochs."""
    args = (
        "dataset=digits",
        "dataset.binarize=dynamic",
        "latent_dim=5",
        "architecture.hidden=[64]",
        "epochs=30",
        "images.every_epochs=30",
    )
    return trained(tmp_path_factory.mktemp("digits"), *args)


@pytest.fixture(scope="session")
def beta_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beta curves under unit noise, two latents."""
    args = ("dataset=beta", "decoder=gaussian_identity", "latent_dim=2", "architecture.hidden=[32,32]", "epochs=8",
            "images.every_epochs=8")  # fmt: skip
    return trained(tmp_path_factory.mktemp("beta"), *args)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line that is printed when all tests are done, from whichever process."""
    return lambda text: request.node.user_properties.append(("measured", text))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in getattr(report, "user_properties", ()):
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(text)
