"""`vae export`: a trained network as a file for other programs."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vaecli.commands._keys import RunKeys
from vaecli.commands._run import Written
from vaecli.models.inference import observed_dtype
from vaecli.models.load import Run
from vaecli.models.vae import VAE
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_file

EXTRA = ("onnx", "onnxscript", "onnxruntime")
BATCHES = (1, 7, 64)  # sizes on which the file is compared with the model


@dataclass
class Config(RunKeys):
    part: Literal["decoder", "encoder"]
    format: Literal["onnx", "torch"]

    @property
    def file_name(self) -> str:
        return f"{self.part}.{'onnx' if self.format == 'onnx' else 'pt2'}"


class MeanDecoder(nn.Module):
    """z (N, D) -> x (N, *x_shape), the mean of p(x|z)."""

    takes, gives = "z", ("x",)

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.network, self.decoder, self.shape = model.decoder_network, model.decoder, (model.latent_dim,)
        self.dtype = torch.float32

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        return (self.decoder(*self.network(z).unbind(1)).mean,)


class MeanEncoder(nn.Module):
    """x (N, *x_shape) -> loc (N, D) and scale (N, D), the mean and the standard deviations of q(z|x)."""

    takes, gives = "x", ("loc", "scale")

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.network, self.posterior, self.shape = model.encoder_network, model.posterior, model.x_shape
        self.dtype = observed_dtype(model)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        q_z = self.posterior(self.network(x))
        return q_z.mean, q_z.stddev


Network = MeanDecoder | MeanEncoder


class Exported(NamedTuple):
    """A network in a file format."""

    content: bytes
    run: Callable[[Tensor], tuple[Tensor, ...]]  # runs the exported network


def main(config: Config, run: Run) -> Written:
    """Write the network, with a note on its inputs and outputs."""
    check_installed(config.format)
    network = mean_network(run.model, config.part)
    try:
        exported = export(network, config.format)
    except Exception as error:  # the exporters raise all kinds of errors
        raise UserError(
            f"part={config.part}: cannot be written as format={config.format}, since PyTorch cannot export the code of "
            f"this distribution's mean: {reason(error)}; vaecli.load computes it"
        ) from None
    difference = largest_difference(network, exported)
    replace_file(config.target, lambda file: file.write(exported.content))
    outputs = zip(network.gives, network(example(network)), strict=True)
    said = [
        f" ({len(exported.content) / 1e6:.2f} MB)",
        f"input   {signature(network.takes, network.shape, network.dtype)}",
        *(f"output  {signature(name, tuple(value.shape[1:]), value.dtype)}" for name, value in outputs),
        f"within {difference:.1e} of the model's own output, for batches of {', '.join(map(str, BATCHES))}",
    ]
    return Written(config.target, "\n".join(said))


def reason(error: BaseException) -> str:
    """The first line of the error that an exporter wraps into its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[0][:150] if lines else type(error).__name__


def check_installed(format: str) -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if format == "onnx" and missing:
        raise UserError(f"format=onnx needs {', '.join(missing)}: pip install 'vaecli[export]', or use format=torch")


def mean_network(model: VAE, part: str) -> Network:
    """The deterministic part of a model: MeanDecoder or MeanEncoder, in evaluation mode."""
    model.check_batch_fits(*((0, max(BATCHES)) if part == "decoder" else (max(BATCHES), 0)))
    network = (MeanDecoder if part == "decoder" else MeanEncoder)(model).eval()
    try:
        with torch.no_grad():
            network(example(network))
    except NotImplementedError:
        raise UserError(f"part={part}: this run's distribution has no mean in closed form") from None
    return network


def example(network: Network, n: int = 2) -> Tensor:
    """A batch of n inputs in [0, 1), which every decoder and encoder accepts."""
    return torch.rand(n, *network.shape, generator=torch.Generator().manual_seed(0)).to(network.dtype)


def export(network: Network, format: str) -> Exported:
    """The network in a file format, for batches of any size."""
    with quiet(), torch.no_grad():
        return (to_onnx if format == "onnx" else to_program)(network)


def to_onnx(network: Network) -> Exported:
    import onnxruntime

    program = torch.onnx.export(
        network, (example(network),), dynamo=True, verbose=False, external_data=False,
        input_names=[network.takes], output_names=list(network.gives), dynamic_shapes=({0: torch.export.Dim("N")},),
    )  # fmt: skip
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return Exported(content, lambda x: tuple(map(torch.from_numpy, session.run(None, {network.takes: x.numpy()}))))


def to_program(network: Network) -> Exported:
    program = torch.export.export(network, (example(network),), dynamic_shapes=({0: torch.export.Dim("N")},))
    file = io.BytesIO()
    torch.export.save(program, file)
    return Exported(file.getvalue(), program.module())


@torch.no_grad()
def largest_difference(network: Network, exported: Exported) -> float:
    """The largest difference between the file's outputs and the network's, over batches of several sizes."""
    differences = [
        float((mine - theirs).abs().max())
        for n in BATCHES
        for mine, theirs in zip(network(example(network, n)), exported.run(example(network, n)), strict=True)
    ]
    return max(differences)


def signature(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{name} {str(dtype).removeprefix('torch.')} (N, {', '.join(map(str, shape))})"


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses the exporter's progress and advice, which are for its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
