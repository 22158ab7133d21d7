"""A trained run for Python code, with arrays, tensors or data frames as input and results of the same kind."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from vaecli.analysis.frames import as_frame, numbers_of
from vaecli.analysis.importance_sampling import proposed_estimate
from vaecli.datasets.mixed import check_possible
from vaecli.datasets.split import Split
from vaecli.models.build import check_scale
from vaecli.models.inference import evaluating, inference_batch_size
from vaecli.models.load import Run as LoadedRun
from vaecli.models.load import load_run, load_split
from vaecli.models.vae import VAE
from vaecli.objectives.elbo import ELBO
from vaecli.utils.errors import UserError
from vaecli.utils.schema import check_value
from vaecli.utils.text import plural
from vaecli.utils.types import NonNegativeFloat, Part, PositiveInt

Kind = Callable[[Tensor, Sequence[str]], Any]  # converts a tensor, with its columns' names, to the kind of the input


class Run:
    """A trained run; observations are given and returned in the units of its data.

    The input may be a NumPy array, a tensor, a pandas DataFrame or a nested list: observations (N, *x_shape), or
    one of them (*x_shape). Grey images may lack the channel axis; uint8 values are divided by 255. The result is of
    the same kind; a DataFrame keeps its index and has the data's columns, or z_1 to z_D; its columns of categories hold
    texts, which arrays hold as codes. Gradients are off unless
    `grad=True`, for which x or z has to be a tensor. UserError for input that does not fit the run.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        self._loaded = loaded

    @classmethod
    def load(
        cls,
        run: str | os.PathLike[str] = "latest",
        checkpoint: str = "best",
        device: str = "auto",
        trust: Sequence[str] = (),
    ) -> Self:
        """A run from its folder; `latest` is the newest one anywhere under outputs.

        checkpoint: best, last or ema; device: auto, cpu, cuda or mps
        trust: packages of your own whose classes the run may use; without it only vaecli's are built
        """
        check_value("checkpoint", checkpoint, Literal["best", "last", "ema"])
        return cls(load_run(os.fspath(run), checkpoint, device, trust))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.x_shape))
        latents = plural(self.latent_dim, "latent")
        return f"<vaecli.Run {self.folder}: observations {shape}, {latents}, epoch {self.epoch}>"

    @property
    def model(self) -> VAE:
        """The module itself, in evaluation mode: `encode` and `decode` give torch.distributions."""
        return self._loaded.model

    @property
    def folder(self) -> Path:
        return self._loaded.folder.path

    @property
    def epoch(self) -> int:
        return self._loaded.epoch

    @property
    def x_shape(self) -> tuple[int, ...]:
        return self.model.x_shape

    @property
    def latent_dim(self) -> int:
        return self.model.latent_dim

    @property
    def columns(self) -> list[str]:
        """The names of a table's columns; x_1, x_2 ... if the data have none."""
        names, n = self._loaded.dataset.names, math.prod(self.x_shape)
        return list(names) if names and len(names) == n else numbered("x", n)

    def observations(self, split: Part = "test", n: int | None = None) -> np.ndarray:
        """The first n observations of a split of the run's data, or all: train, val or test, (N, *x_shape)."""
        check_value("split", split, Part)
        whole = load_split(self._loaded, split)
        x = whole.batch(slice(None if n is None else check_value("n", n, PositiveInt)))
        found: np.ndarray = x.cpu().numpy()
        return found

    def encode(self, x: Any, scale: bool = False, grad: bool = False) -> Any:
        """The means of q(z|x), (N, D); with `scale` a pair of them and the standard deviations."""
        x, kind = self._observations(x, grad)
        names = numbered("z", self.latent_dim)
        with self._gradients(grad):
            q_z = [self.model.encode(part) for part in x.split(inference_batch_size(self.model))]
            loc, width = (torch.cat([getattr(part, what) for part in q_z]) for what in ("mean", "stddev"))
        return (kind(loc, names), kind(width, names)) if scale else kind(loc, names)

    def decode(self, z: Any, draw: bool = False, grad: bool = False, seed: int = 0) -> Any:
        """The means of p(x|z) for latents (N, D), or with `draw` draws from it: (N, *x_shape)."""
        z, kind = self._latents(z, grad)
        with self._gradients(grad, seed):
            p_x = [self.model.decode(part) for part in z.split(inference_batch_size(self.model))]
            x = torch.cat([part.sample() if draw else part.mean for part in p_x])
        return kind(x, self.columns)

    def sample(self, n: int = 16, temperature: float = 1.0, draw: bool = False, seed: int = 0) -> np.ndarray:
        """n observations (n, *x_shape) decoded from the prior: means of p(x|z), or with `draw` draws from it."""
        n, temperature = counted("n", n), check_value("temperature", temperature, NonNegativeFloat)
        with evaluating(self.model, seed):
            z = self.model.sample_latents(n, temperature)
        x: np.ndarray = self.decode(z, draw, seed=seed).cpu().numpy()
        return x

    def reconstruct(self, x: Any, draw: bool = False, grad: bool = False, seed: int = 0) -> Any:
        """The decoded means of q(z|x): (N, *x_shape)."""
        x, kind = self._observations(x, grad)
        return kind(self.decode(self.encode(x, grad=grad), draw, grad, seed), self.columns)

    def elbo(self, x: Any, n_samples: int = 1, seed: int = 0) -> Any:
        """The ELBO of each observation, (N,), in nats; n_samples: draws of z, averaged."""
        x, kind = self._observations(x)
        objective = ELBO(n_samples=counted("n_samples", n_samples))
        with evaluating(self.model, seed):
            parts = x.split(inference_batch_size(self.model, n_samples))
            elbo = torch.cat([objective(self.model, part, 0).metrics["elbo"] for part in parts])
        return kind(elbo, ["elbo"])

    def log_prob(self, x: Any, k: int = 1000, seed: int = 0) -> Any:
        """The importance-weighted estimate L_k of log p(x) of each observation, (N,), in nats (Burda et al., 2016).

        As in `vae evaluate`, the proposal is q(z|x), for one or two latents with twice its scale.
        """
        x, kind = self._observations(x)
        k = counted("k", k)
        if not len(x):
            return kind(torch.zeros(0, dtype=torch.float64), ["log_prob"])
        return kind(-proposed_estimate(self.model, Split(x), k, seed).nll, ["log_prob"])

    def _gradients(self, on: bool, seed: int = 0) -> AbstractContextManager[None]:
        """With gradients, or without them and with random numbers from `seed`."""
        return nullcontext() if on else evaluating(self.model, seed)

    def _observations(self, x: Any, grad: bool = False) -> tuple[Tensor, Kind]:
        """x as (N, *x_shape) on the model's device, and how to convert a result to the kind of x."""
        check_differentiable("x", x, grad)
        frame = x if hasattr(x, "columns") and hasattr(x, "to_numpy") else None
        texts, columns = self._texts(), self.columns
        if frame is not None and not self._loaded.dataset.names and len(frame.columns) == len(columns):
            columns = list(frame.columns)  # by position, as the run's data have no names
        values = as_tensor(
            "x", x if frame is None else numbers_of(frame, columns, list(texts.values())), self._loaded.device
        )
        if values.dtype == torch.uint8 and len(self.x_shape) == 3:
            values = values / 255
        channels = self.x_shape[1:] if len(self.x_shape) == 3 and self.x_shape[0] == 1 else None
        for shape in filter(None, (self.x_shape, channels)):
            if values.shape[-len(shape) :] == shape and values.ndim in (len(shape), len(shape) + 1):
                values = values.reshape(-1, *self.x_shape).to(torch.float32)
                if not bool(values.isfinite().all()) and not (self._loaded.dataset.gaps and not values.isinf().any()):
                    raise UserError("x holds values that are not finite numbers; remove or fill them in")
                if len(values):
                    check_scale("x", Split(values.detach()), self.model, self._loaded.dataset)
                if kinds := self._loaded.dataset.column_kinds:
                    check_possible("x", values.detach(), self.columns, kinds)
                return values, kind_of(x, texts)
        raise UserError(f"x has the shape {tuple(values.shape)}; expected (N, {', '.join(map(str, self.x_shape))})")

    def _latents(self, z: Any, grad: bool = False) -> tuple[Tensor, Kind]:
        check_differentiable("z", z, grad)
        values = as_tensor("z", z.to_numpy() if hasattr(z, "to_numpy") else z, self._loaded.device)
        if values.ndim not in (1, 2) or values.shape[-1] != self.latent_dim:
            raise UserError(f"z has the shape {tuple(values.shape)}; expected (N, {self.latent_dim})")
        if not bool(values.isfinite().all()):
            raise UserError("z holds values that are not finite numbers")
        return values.reshape(-1, self.latent_dim).to(torch.float32), kind_of(z, self._texts())

    def _texts(self) -> dict[str, Sequence[str] | None]:
        """Of each column of the data its categories' texts; None for a column of numbers."""
        texts = self._loaded.dataset.categories or [None] * len(self.columns)
        return dict(zip(self.columns, texts, strict=True))


def check_differentiable(what: str, given: Any, grad: bool) -> None:
    """UserError if gradients are asked for, but the input is not a tensor."""
    if grad and not isinstance(given, Tensor):
        raise UserError(f"grad=True: {what} should be a torch.Tensor, not {type(given).__name__}")


def counted(key: str, value: Any) -> int:
    """A whole number of 1 or more, NumPy's too; UserError for any other."""
    n: int = check_value(key, value.item() if isinstance(value, np.generic) else value, PositiveInt)
    return n


def numbered(name: str, n: int) -> list[str]:
    return [f"{name}_{i + 1}" for i in range(n)]


def as_tensor(what: str, values: Any, device: torch.device) -> Tensor:
    """A tensor on `device`; UserError for input that does not hold numbers."""
    try:
        made = values.to(device) if isinstance(values, Tensor) else torch.tensor(np.asarray(values), device=device)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{what} should hold numbers: an array, a tensor or a data frame of them") from None
    if made.is_complex():
        raise UserError(f"{what} holds complex numbers; expected real ones")
    return made


def kind_of(given: Any, texts: Mapping[str, Sequence[str] | None]) -> Kind:
    """From a tensor and its columns' names to the kind of what was given; texts: of columns of categories."""
    if isinstance(given, Tensor):
        return lambda made, names: made.to(given.device)
    if hasattr(given, "columns") and hasattr(given, "index"):
        return lambda made, names: as_frame(given, made, names, [texts.get(name) for name in names])
    return lambda made, names: made.detach().cpu().numpy()


load = Run.load
