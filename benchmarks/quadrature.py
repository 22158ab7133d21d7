"""Quadrature against closed forms: python benchmarks/quadrature.py [runs' folders ...].

Without a run: linear-Gaussian models with one and two latents, six scales of noise, observations that stem from five
places z. The table holds the largest of |log p(x) by quadrature - closed form| over the models, and in brackets the
error that the quadrature itself estimated, in nats.

With runs: the first 20 test observations of each by quadrature, and by a Gauss-Legendre rule of 64 x 64 cells around
each mode, with 8 nodes along each latent in a cell.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from vaecli.architectures.mlp import MLP
from vaecli.datasets.split import Split
from vaecli.decoders.gaussian import Gaussian as GaussianDecoder
from vaecli.posteriors.gaussian import Gaussian
from vaecli.priors.standard_normal import StandardNormal
from vaecli.quadrature import quadrature
from vaecli.vae import VAE

SIGMAS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)
PLACES = (0.0, 2.0, 6.0, 12.0, 15.0)
WIDTH = 10  # numbers in an observation


def linear_gaussian(dim: int, sigma: float, distances: tuple[float, ...]) -> tuple[VAE, Split, Tensor]:
    """A model with an encoder that knows nothing, observations from z at these distances from 0, and their log p(x)."""
    generator = torch.Generator().manual_seed(dim)
    posterior, networks = Gaussian(dim), MLP(hidden=[])
    encoder, decoder = networks.encoder((WIDTH,), posterior.n_features), networks.decoder(dim, 1, (WIDTH,))
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    model = VAE(encoder, posterior, decoder, GaussianDecoder((WIDTH,), sigma=sigma), StandardNormal(dim), dim, (WIDTH,))
    direction = torch.ones(dim) / dim**0.5
    z = torch.tensor(distances).unsqueeze(1) * direction
    with torch.no_grad():
        x = model.decoder_network(z).squeeze(1) + sigma * torch.randn(len(z), WIDTH, generator=generator)
        bias = model.decoder_network(torch.zeros(1, dim)).flatten()
        w = (model.decoder_network(torch.eye(dim)).squeeze(1) - bias).T.double()
        w, b = decoder.output.weight.double(), decoder.output.bias.double()  # type: ignore[union-attr]
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


if __name__ == "__main__":
    table()
