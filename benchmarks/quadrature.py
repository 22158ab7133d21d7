"""Quadrature against closed forms: python benchmarks/quadrature.py [runs' folders ...].

Without a run: linear-Gaussian models with one and two latents, six scales of noise, observations that stem from five
places z. The table holds the largest of |log p(x) by quadrature - closed form| over the models, and in brackets the
error that the quadrature itself estimated, in nats.

With runs: the first 20 test observations of each by quadrature and by a Gauss-Legendre rule of 60 x 60 cells around
each mode, with 5 x 5 nodes in each; a second such rule, of 50 x 50 cells, says how far that one can be trusted.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
import torch
from torch import Tensor

from vaecli.analysis.modes import Joint, modes
from vaecli.analysis.quadrature import FINE, ModeShare, in_double, integral, quadrature, searches
from vaecli.config.instantiate import TYPED_HERE, OptionFactory
from vaecli.datasets.split import Split
from vaecli.models.build import build_vae
from vaecli.models.inference import evaluating
from vaecli.models.load import load_run, load_split
from vaecli.models.vae import VAE

SIGMAS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)
PLACES = (0.0, 2.0, 6.0, 12.0, 15.0)
WIDTH = 10  # numbers in an observation


def options(sigma: float) -> dict[str, dict[str, object]]:
    return {
        "architecture": {"_target_": "vaecli.architectures.mlp.MLP", "name": "mlp", "hidden": []},
        "posterior": {"_target_": "vaecli.posteriors.gaussian.Gaussian", "name": "gaussian"},
        "decoder": {"_target_": "vaecli.decoders.gaussian.Gaussian", "name": "gaussian_fixed", "sigma": sigma},
        "prior": {"_target_": "vaecli.priors.standard_normal.StandardNormal", "name": "standard_normal"},
    }


def linear_gaussian(dim: int, sigma: float, distances: tuple[float, ...]) -> tuple[VAE, Split, Tensor]:
    """A model with an encoder that knows nothing, observations from z at these distances from 0, and their log p(x)."""
    generator = torch.Generator().manual_seed(dim)
    model = build_vae(OptionFactory(options(sigma), TYPED_HERE), dim, (WIDTH,))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    direction = torch.ones(dim) / dim**0.5
    z = torch.tensor(distances).unsqueeze(1) * direction
    with torch.no_grad():
        x = model.decoder_network(z).squeeze(1) + sigma * torch.randn(len(z), WIDTH, generator=generator)
        w, b = (parameter.double() for parameter in model.decoder_network.parameters())
    return model, Split(x), closed_form(x.double(), w, b, sigma)


def closed_form(x: Tensor, w: Tensor, b: Tensor, sigma: float) -> Tensor:
    """log N(x; b, W W^T + sigma^2 I) in the singular vectors of W, where nothing cancels."""
    u, s, _ = torch.linalg.svd(w, full_matrices=True)
    variances = torch.full((len(b),), sigma**2, dtype=torch.float64)
    variances[: len(s)] += s**2
    return -0.5 * (((x - b) @ u).square() / variances + (2 * math.pi * variances).log()).sum(1)


def table() -> None:
    started, count = time.perf_counter(), 0
    print("| latents | $\\sigma$ | " + " | ".join(f"$\\vert z \\vert = {place:g}$" for place in PLACES) + " |")
    print("|---|---|" + "---|" * len(PLACES))
    for dim in (1, 2):
        for sigma in SIGMAS:
            model, split, truth = linear_gaussian(dim, sigma, PLACES)
            found = quadrature(model, split)
            off, count = (found.log_px - truth).abs(), count + len(split)
            cells = [f"{a:.0e} ({b:.0e})" for a, b in zip(off.tolist(), found.error.tolist(), strict=True)]
            print(f"| {dim} | {sigma:g} | " + " | ".join(cells) + " |")
            if not bool((off <= found.error).all()) or float(off.max()) > 1e-6:
                print("^ an error larger than its estimate, or than 1e-6")
    print(f"\n{(time.perf_counter() - started) / count:.2f} s for each of {count} observations")


def product_rule(cells: int, nodes: int, low: np.ndarray, high: np.ndarray) -> tuple[Tensor, Tensor]:
    """Nodes (N, D) and log-weights (N,) of a Gauss-Legendre rule in each of cells^D equal cells of a box."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    edges = np.linspace(-1, 1, cells + 1)
    axis = torch.from_numpy(((edges[:-1] + edges[1:])[:, None] / 2 + x / cells).ravel())
    weights = torch.from_numpy(np.tile(np.log(w / cells), cells))
    dim = len(low)
    z = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    log_w = torch.cartesian_prod(*[weights] * dim).reshape(-1, dim).sum(1)
    middle, half = torch.from_numpy(low + high) / 2, torch.from_numpy(high - low) / 2
    return middle + half * z, log_w + half.log().sum()


def by_cells(joint: Joint, starts: Tensor, cells: int) -> float:
    """log p(x) from fixed cells around each mode, in boxes a quarter larger than those of the quadrature."""
    around, parts = modes(joint, starts), []
    for i, mode in enumerate(around):
        share = ModeShare(joint, around, i, FINE._replace(spread=1.5))
        u, log_w = product_rule(cells, 5, *(1.25 * corner for corner in share.box(1.0)))
        parts.append(torch.cat([share(part) for part in u.split(joint.rows)]) + log_w + mode.log_volume)
    return float(torch.logsumexp(torch.cat(parts), 0))


def compare(name: str, limit: int = 20) -> None:
    run = load_run(name, device="cpu")
    model, split = in_double(run.model), load_split(run, "test").head(limit)
    seconds, rows = 0.0, []
    with evaluating(model):
        for joint, starts in searches(model, split):
            started = time.perf_counter()
            value, error = integral(joint, starts, 1e-6)
            seconds += time.perf_counter() - started
            one, other = (by_cells(joint, starts, cells) for cells in (60, 50))
            rows.append((abs(value - one), error, abs(one - other)))
    off, errors, doubt = np.array(rows).T
    print(f"{name}: {limit} observations, {seconds / limit:.2f} s each; mean and largest of")
    for what, values in (("|difference|", off), ("estimated error", errors), ("doubt of the cells", doubt)):
        print(f"  {what:20} {values.mean():.1e} {values.max():.1e}")
    print(f"  differences larger than error and doubt together: {int((off > errors + doubt).sum())}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        compare(folder)
    if not sys.argv[1:]:
        table()
