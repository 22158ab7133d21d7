"""Checkpoints from strangers: nothing in them is executed, and no memory is taken for what they claim."""

from __future__ import annotations

import copy
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoint import State, make, refused, write_run

from vaecli import build
from vaecli.build import build_vae, instantiate, load_run, resolve
from vaecli.errors import UserError
from vaecli.training import checkpoint


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


@pytest.mark.parametrize("writer", ["pickle", "torch", "legacy", "inside"])
def test_a_foreign_pickle_is_never_executed(writer: str, original: State, tmp_path: Path) -> None:
    path, victim = tmp_path / "best.pt", tmp_path / "victim"
    harm = Harm(victim)
    if writer == "pickle":
        path.write_bytes(pickle.dumps(harm))
    elif writer == "inside":
        torch.save({"format": checkpoint.FORMAT, **original, "sha256": "0", "best": harm}, path)
    else:
        torch.save({"model": harm}, path, _use_new_zipfile_serialization=writer == "torch")
    if writer == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert victim.exists()  # the file does what it is meant to do
    victim.unlink()
    refused(path)
    assert not victim.exists()


TARGETS = [
    "vaecli.architectures.conv.halvings", "vaecli.datasets.mnist.default_root",
    "os.system", "subprocess.run", "builtins.eval", "builtins.exec", "torch.load", "torch.hub.load", "pickle.loads",
    "vaecli.build.os.system", "vaecli.decoders.gaussian.torch.load", "vaecli.decoders.gaussian.math.exp",
    "vaecli.decoders.gaussian.Normal", "vaecli.decoders.gaussian.Independent",
    "vaecli.architectures.mlp.nn.Sequential", "vaecli.datasets.mnist.os.system", "vaecli.datasets.mnist.Path",
    "vaecli.files.replace_file", "vaecli.commands.train.make", "vaecli.decoders", "vaecli.decoders.gaussian",
    "vaecli.decoders..Gaussian", "vaecli.decoders.gaussian.__class__", "vaecli.decoders.gaussian.__builtins__.eval",
    "vaecli.decoders.nothing.Gaussian", "vaecli.decoders.gaussian.Nothing", "", ".", "Gaussian",
    "vaecli.decoders.gaussian.Gaussian ", "vaecli.decoders.gaussian.Gaussian\n", "vaecli.decoders/gaussian.Gaussian",
    "vaecli.decodersx.gaussian.Gaussian",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("group", ["architecture", "decoder", "posterior", "prior", "dataset"])
def test_a_target_outside_the_group_is_refused_unexecuted(
    group: str, target: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(os, "system", lambda *args: called.append(args))
    with pytest.raises(UserError):
        resolve(target, f"vaecli.{group}s")
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


def test_keys_that_the_program_supplies_cannot_be_smuggled_in(state: State, tmp_path: Path) -> None:
    state["config"]["decoder"]["x_shape"] = [9]
    with pytest.raises(UserError, match=r"unknown key decoder\.x_shape"):
        load_run(str(write_run(tmp_path, state)), device="cpu")


CLAIMS: dict[str, Callable[[State], object]] = {
    "latents": lambda s: s["config"].update(latent_dim=10**10),
    "more latents": lambda s: s["config"].update(latent_dim=10**19),
    "widths": lambda s: s["config"]["architecture"].update(hidden=[10**9, 10**9]),
    "observations": lambda s: s.update(x_shape=[1, 10**6, 10**6]),
    "a negative size": lambda s: s["config"].update(latent_dim=-1),
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
    started = time.perf_counter()
    with pytest.raises(UserError) as error:
        load_run(str(folder), device="cpu")
    assert time.perf_counter() - started < 5
    assert len(str(error.value).splitlines()) <= 2


def test_the_model_of_a_file_is_built_without_memory(
    original: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def watched(*args: Any, **kwargs: Any) -> Any:
        model = build_vae(*args, **kwargs)
        seen.update(tensor.device.type for tensor in [*model.parameters(), *model.buffers()])
        return model

    monkeypatch.setattr(build, "build_vae", watched)
    load_run(str(write_run(tmp_path, original)), device="cpu")
    assert seen == {"meta"}


def test_a_function_of_vaecli_is_no_option(state: State, tmp_path: Path) -> None:
    state["config"]["architecture"] = {"_target_": "vaecli.architectures.conv.halvings", "size": 1, "n": 10**12}
    with pytest.raises(UserError, match="refused"):
        load_run(str(write_run(tmp_path, state)), device="cpu")


def test_a_configuration_from_the_command_line_may_name_any_class() -> None:
    """Users' own options are theirs; only what comes out of a file is restricted."""
    config = {"decoder": {"_target_": "collections.Counter", "name": "mine"}}
    assert instantiate(config, "decoder") == {}
    with pytest.raises(UserError):
        instantiate(config, "decoder", trusted=True)
