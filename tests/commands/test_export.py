"""The exported files give what the model gives, for any batch, to a program that does not know vaecli."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command_line import Vae, forked, in_both_ways, trained
from support.thinned import each_once, every

import vaecli
from vaecli.commands import export
from vaecli.commands._run import run_command
from vaecli.models.vae import VAE
from vaecli.utils.errors import UserError

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def conv_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions around a learned Gaussian, on images whose sides are not powers of two once halved."""
    args = ("architecture=conv", "architecture.channels=[4,6,8]", "architecture.hidden=16", "decoder=gaussian",
            "latent_dim=3", "epochs=1", "dataset=digits", "dataset.limit=200")  # fmt: skip
    return trained(tmp_path_factory.mktemp("conv"), *args)


RUNS, PARTS = ["digits_run", "conv_run", "beta_run"], ["decoder", "encoder"]
ONNX = [("digits_run", "decoder"), ("digits_run", "encoder"), ("conv_run", "decoder"), ("conv_run", "encoder"),
        ("beta_run", "decoder"), ("beta_run", "encoder")]  # fmt: skip


def inputs(model: VAE, part: str, n: int) -> torch.Tensor:
    return torch.randn(n, model.latent_dim) if part == "decoder" else torch.rand(n, *model.x_shape)


@torch.no_grad()
def expected(model: VAE, part: str, x: torch.Tensor) -> list[torch.Tensor]:
    if part == "decoder":
        return [model.decode(x).mean]
    return [model.encode(x).mean, model.encode(x).stddev]


def exported(folder: Path, part: str, format: str, path: Path) -> Path:
    """What the command writes, without a process of its own: importing torch and its exporter takes seconds."""
    values = {"run": str(folder), "checkpoint": "best", "part": part, "format": format, "output": str(path)}
    (written,) = run_command(export, values)
    return written


@pytest.mark.parametrize(("name", "part"), every(3, ONNX))
def test_onnx_equals_the_model(name: str, part: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    import onnxruntime

    run: Path = request.getfixturevalue(name)
    session = onnxruntime.InferenceSession(exported(run, part, "onnx", tmp_path / "out.onnx"))
    names = ("z", ["x"]) if part == "decoder" else ("x", ["loc", "scale"])
    assert ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]) == ([names[0]], names[1])
    model = vaecli.load(run, device="cpu").model
    if (name, part) == ("digits_run", "decoder"):  # the decoder and nothing else; the other networks are too small
        decoder, both = (4 * sum(p.numel() for p in one.parameters()) for one in (model.decoder_network, model))
        assert decoder < (tmp_path / "out.onnx").stat().st_size < both
    for n in (1, 7, 64):
        x = inputs(model, part, n)
        found = session.run(None, {names[0]: x.numpy()})
        for mine, theirs in zip(expected(model, part, x), found, strict=True):
            assert theirs.shape == tuple(mine.shape)
            np.testing.assert_allclose(theirs, mine.numpy(), rtol=5e-6, atol=1e-5)  # some 40 roundings of float32


@pytest.mark.parametrize(("name", "part"), each_once(RUNS, PARTS))
def test_a_program_equals_the_model(name: str, part: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(name)
    network = torch.export.load(exported(run, part, "torch", tmp_path / "out.pt2")).module()
    model = vaecli.load(run, device="cpu").model
    for n in (1, 7, 64):
        x = inputs(model, part, n)
        torch.testing.assert_close(list(network(x)), expected(model, part, x), rtol=0, atol=1e-5)


LOAD = """
import sys, torch
assert torch.export.load("out.pt2").module()(torch.zeros(5, 2))[0].shape == (5, 100)
assert not any(name.split(".")[0] == "vaecli" for name in sys.modules)
"""


@pytest.mark.slow
def test_a_program_needs_no_vaecli(beta_run: Path, tmp_path: Path) -> None:
    exported(beta_run, "decoder", "torch", tmp_path / "out.pt2")
    subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, check=True)


def test_a_program_is_read_where_vaecli_is_gone(
    beta_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(beta_run, "decoder", "torch", tmp_path / "out.pt2")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "vaecli"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it is an ImportError
    assert torch.export.load("out.pt2").module()(torch.zeros(5, 2))[0].shape == (5, 100)


@in_both_ways
def test_the_command_says_only_what_it_wrote(vae: Vae, beta_run: Path, tmp_path: Path) -> None:
    done = vae("export", f"run={beta_run}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (beta_run / "decoder.onnx").is_file()
    wrote, *lines, difference = done.stdout.splitlines()
    assert wrote.startswith(f"wrote {beta_run / 'decoder.onnx'}")
    assert lines == ["input   z float32 (N, 2)", "output  x float32 (N, 100)"]
    assert float(re.search(r"[\d.]+e-\d+|0\.0", difference)[0]) < 1e-5, difference


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, beta_run: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "EXTRA", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match=r"no_such_package: pip install 'vaecli\[export\]'"):
        exported(beta_run, "decoder", "onnx", tmp_path / "a.onnx")
    assert exported(beta_run, "decoder", "torch", tmp_path / "a.pt2").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"part": "prior"}, "part=prior: should be 'decoder' or 'encoder'"),
        ({"format": "tflite"}, "format=tflite: should be 'onnx' or 'torch'"),
        ({"output": "a.pt2"}, "output=a.pt2: the name ends in .pt2, but .onnx is written"),
        ({"output": "a.txt"}, "output=a.txt: the name ends in .txt, but .onnx is written; change name or format"),
        ({"checkpoint": "first"}, "checkpoint=first: should be 'best', 'last' or 'ema'"),
    ],
)
def test_bad_input(
    beta_run: Path, tmp_path: Path, args: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"run": str(beta_run), "checkpoint": "best", "part": "decoder", "format": "onnx", "output": None}
    with pytest.raises(UserError, match=re.escape(message)):
        run_command(export, {**values, **args})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path) -> None:
    """A decoder that branches on the values of its parameters: the exporter prints pages about it."""
    (tmp_path / "mine/decoder").mkdir(parents=True)
    (tmp_path / "mine/decoder/heavy.yaml").write_text("_target_: heavytails.Heavy\nname: heavy\n")
    (tmp_path / "heavytails.py").write_text(
        "from torch.distributions import Independent, StudentT\n"
        "from vaecli.decoders.base import Decoder\n\n"
        "class Heavy(Decoder):\n"
        "    n_params = 1\n"
        "    def forward(self, loc):\n"
        "        if loc.sum() > 1e9:\n"
        "            loc = loc - 1\n"
        "        noise = StudentT(5.0, loc, 1.0, validate_args=False)\n"
        "        return Independent(noise, len(self.x_shape), validate_args=False)\n"
        "    def params_at_mean(self, mean):\n"
        "        return mean.unsqueeze(0)\n"
    )
    words = ("dataset=digits", "dataset.limit=60", "epochs=1", "architecture.hidden=[8]", "device=cpu", "output=run")

    def here(*words: str) -> subprocess.CompletedProcess[str]:
        return forked(*words, cwd=tmp_path, before=lambda: sys.path.insert(0, str(tmp_path)))

    done = here("train", "--config-dir", "mine", "decoder=heavy", *words)
    assert done.returncode == 0, done.stderr
    for format in ("onnx", "torch"):
        done = here("export", "run=run", f"format={format}", "trust=[heavytails]")
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: part=decoder: cannot be written as format={format}, since PyTorch")
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr
        assert "\\x1b" not in done.stderr
        assert "data-dependent" in done.stderr
