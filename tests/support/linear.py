"""A linear-Gaussian model, whose evidence has a closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vaecli.architectures.mlp import MLP
from vaecli.datasets.split import Split
from vaecli.decoders.gaussian import Gaussian as GaussianDecoder
from vaecli.models.vae import VAE
from vaecli.posteriors.gaussian import Gaussian
from vaecli.priors.standard_normal import StandardNormal

P, SIGMA = 6, 0.5


class Linear:
    """p(x|z) = N(W z + b, sigma^2 I), W with orthogonal columns, and an encoder that knows the true posterior."""

    def __init__(self, dim: int, n: int = 8, sigma: float = SIGMA) -> None:
        generator = torch.Generator().manual_seed(1)
        w = torch.linalg.qr(torch.randn(P, dim, generator=generator)).Q * torch.linspace(1.5, 0.6, dim)
        b = torch.randn(P, generator=generator)
        posterior, networks = Gaussian(dim), MLP(hidden=[])
        encoder, decoder = networks.encoder((P,), posterior.n_features), networks.decoder(dim, 1, (P,))
        self.model = VAE(
            encoder, posterior, decoder, GaussianDecoder((P,), sigma=sigma), StandardNormal(dim), dim, (P,)
        )
        decoder.output.weight.data, decoder.output.bias.data = w, b  # type: ignore[union-attr]
        precision = w.T @ w + sigma**2 * torch.eye(dim)
        a = torch.linalg.solve(precision, w.T)
        self.layer = encoder[-1]  # type: ignore[index]
        self.layer.weight.data = torch.cat([a, torch.zeros_like(a)])
        self.layer.bias.data = torch.cat([-a @ b, (sigma**2 / precision.diagonal()).sqrt().log()])
        x = torch.randn(n, dim, generator=generator) @ w.T + b + sigma * torch.randn(n, P, generator=generator)
        self.split = Split(x)
        covariance = w.double() @ w.double().T + sigma**2 * torch.eye(P, dtype=torch.float64)
        self.log_p: Tensor = MultivariateNormal(b.double(), covariance).log_prob(x.double())

    def narrow(self, scale: float, shift: float = 0.0) -> Linear:
        """Spoil the encoder."""
        dim = self.model.latent_dim
        self.layer.bias.data[dim:] += math.log(scale)
        self.layer.bias.data[:dim] += shift
        return self
