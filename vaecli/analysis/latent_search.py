"""The latents whose decoding lies closest to a given observation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.analysis.side_by_side import minimize_all
from vaecli.models.inference import evaluating, in_double
from vaecli.models.vae import VAE

Method = Literal["nelder-mead", "adam"]
Tick = Callable[[int], None]
SIMPLEX_LATENTS = 4  # with at most so many latents a simplex works well
EDGE = 0.5  # of the first simplex, in standard deviations of the usual prior
STEPS, RATE = 300, 0.1  # of Adam; the rate falls to zero along a cosine


class Fit(NamedTuple):
    """The best latents found."""

    z: Tensor  # (D,), float64, on the CPU
    x: Tensor  # (*x_shape), the mean of p(x|z), float64, on the CPU
    norm: float  # |target - x|, the root of the sum of squares over all dimensions, in the decoder's units
    norms: list[float]  # the same for each start, ascending
    iterations: int  # of all starts, the final descents included
    evaluations: int  # latents decoded, with or without a gradient
    method: Method


class Distance:
    """z -> squared distance of the mean of p(x|z) from a target (*x_shape); counts the latents that it decodes."""

    def __init__(self, model: VAE, target: Tensor) -> None:
        self.model, self.target, self.evaluations = model, target, 0

    def __call__(self, z: Tensor) -> Tensor:
        """z (R, D) -> (R,); a missing number (NaN) of the target counts as no distance."""
        self.evaluations += len(z)
        away = self.model.decoder.error(self.model.decode(z).mean, self.target)
        return torch.where(self.target.isnan(), 0.0, away).square().flatten(1).sum(1)

    def tensor(self, z: np.ndarray) -> Tensor:
        """z (R, D) of SciPy's on the model's device."""
        return torch.from_numpy(z).to(self.target)

    def norms(self, z: np.ndarray) -> list[float]:
        """The distance at each z (R, D)."""
        return self(self.tensor(z)).sqrt().tolist()

    def gradients(self, z: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """The squared distance at each z (R, D), and its gradient (D,)."""
        with torch.enable_grad():
            points = self.tensor(z).requires_grad_()
            values = self(points)
            (slopes,) = torch.autograd.grad(values.sum(), points)
        return list(zip(values.tolist(), slopes.cpu().numpy(), strict=True))


def fit(
    model: VAE,
    target: Tensor,
    method: Method | None = None,
    restarts: int = 8,
    seed: int = 0,
    tick: Tick = lambda n: None,
) -> Fit:
    """Minimise |target - mean of p(x|z)| over z, in double precision, for one target (*x_shape).

    Where the model works in standard units (dataset.standardize), the distance is in these.

    Nelder and Mead's (1965) simplex from each start, or Adam from all at once; then BFGS from where each ended. If both
    methods find the same minimum, their results therefore agree to many digits. The first start is the prior's mean; of
    the `restarts` others one is the encoder's code of the target and the rest are draws from the prior.
    The searches from all starts go on side by side, so that each call of the decoder serves all of them.
    method None: nelder-mead for up to four latents, adam beyond.
    tick: called with the number of starts from which a method has just ended, in all twice as many as there are starts
    """
    method = method or ("nelder-mead" if model.latent_dim <= SIMPLEX_LATENTS else "adam")
    model = in_double(model)
    target = target.to(next(model.parameters()))
    distance = Distance(model, target)
    with evaluating(model, seed), one_thread():
        first = starts(model, target, restarts)
        ends, searched = (simplex if method == "nelder-mead" else adam)(distance, first, tick)
        descents = minimize_all(
            distance.gradients, ends, [{"gtol": 1e-8}] * len(ends), method="BFGS", jac=True, tick=tick
        )
        best = min(descents, key=lambda one: one.fun)
        x = model.decode(distance.tensor(best.x[None])).mean[0]
    norms = sorted(float(np.sqrt(one.fun)) for one in descents)
    iterations = searched + sum(one.nit for one in descents)
    return Fit(torch.from_numpy(best.x), x.cpu(), norms[0], norms, iterations, distance.evaluations, method)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one thread: with so little work, several would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def starts(model: VAE, target: Tensor, restarts: int) -> Tensor:
    """z (1 + restarts, D): the prior's mean, the encoder's code of the target, draws from the prior."""
    draws = model.sample_latents(max(restarts - 1, 0))
    middle = model.prior(model.encode).mean.unsqueeze(0)
    return torch.cat([middle, model.encode(target.unsqueeze(0)).mean, draws])[: 1 + restarts].double()


def simplex(distance: Distance, first: Tensor, tick: Tick) -> tuple[np.ndarray, int]:
    """Where Nelder-Mead ends from each of the starts (R, D), and its iterations."""
    d = first.shape[1]
    around = np.concatenate([np.zeros((1, d)), EDGE * np.eye(d)])
    begin = first.cpu().numpy()
    options = [
        {"xatol": 1e-5, "fatol": 1e-7, "adaptive": d > SIMPLEX_LATENTS, "initial_simplex": z + around} for z in begin
    ]
    searches = minimize_all(distance.norms, begin, options, method="Nelder-Mead", jac=None, tick=tick)
    return np.stack([one.x for one in searches]), sum(one.nit for one in searches)


def adam(distance: Distance, first: Tensor, tick: Tick) -> tuple[np.ndarray, int]:
    """Where Adam ends from each of the starts (R, D), all of them one batch, and its steps."""
    z = first.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        with torch.enable_grad():
            (z.grad,) = torch.autograd.grad(distance(z).sum(), z)
        optimizer.step()
        scheduler.step()
    tick(len(first))
    return z.detach().cpu().numpy(), STEPS
