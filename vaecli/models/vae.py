"""The variational autoencoder: two networks and three distributions, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaecli.decoders.base import Decoder
from vaecli.models.sizes import COPIES, Sizes, sizes
from vaecli.posteriors.base import Posterior
from vaecli.priors.base import Prior
from vaecli.utils.distributions import draw


class VAEOutput(NamedTuple):
    """One pass through a VAE with K samples of z for each of B observations."""

    z: Tensor  # (K, B, D), reparametrised draws from q_z
    q_z: Distribution  # q(z|x): batch (B,), event (D,)
    p_z: Distribution  # p(z): batch (), event (D,)
    p_x: Distribution  # p(x|z): batch (K, B), event x_shape
    log_q: Tensor  # (K, B), log q(z|x) of the draws z


class VAE(nn.Module):
    """p(z) p(x|z) and q(z|x), composed of two networks and the three distributions that they parametrise.

    encoder_network: x (B, *x_shape) -> features (B, posterior.n_features)
    decoder_network: z (N, D) -> parameters (N, decoder.n_params, *x_shape)

    Kingma and Welling (2014). Knows no loss, data, device or configuration.
    """

    def __init__(
        self,
        encoder_network: nn.Module,
        posterior: Posterior,
        decoder_network: nn.Module,
        decoder: Decoder,
        prior: Prior,
        latent_dim: int,
        x_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.encoder_network, self.posterior = encoder_network, posterior
        self.decoder_network, self.decoder = decoder_network, decoder
        self.prior = prior
        self.latent_dim, self.x_shape = latent_dim, x_shape
        self.sizes: tuple[Sizes, Sizes] | None = None  # of the two networks, if known

    def measure(self) -> None:
        """Compute how much memory the networks take, on the meta device, on which a user's networks may not run."""
        with suppress(RuntimeError, TypeError, ValueError):
            self.sizes = sizes(self.encoder_network, self.x_shape), sizes(self.decoder_network, (self.latent_dim,))

    def check_batch_fits(self, encoded: int = 0, decoded: int = 0) -> None:
        """UserError if so many observations at once would not fit into this machine's memory."""
        if self.sizes is not None:
            self.sizes[0].check(encoded, "encoding")
            self.sizes[1].check(decoded, "decoding")

    def rows_at_once(self) -> int:
        """How many observations, or draws of z, go through the networks in 2 GB without gradients."""
        return 2**31 // max([COPIES * each.largest for each in self.sizes or ()], default=1)

    def encode(self, x: Tensor) -> Distribution:
        """q(z|x) of observations x (B, *x_shape): batch shape (B,), event shape (D,)."""
        if x.device.type == "cpu":
            self.check_batch_fits(encoded=len(x))
        q_z: Distribution = self.posterior(self.encoder_network(x))
        return q_z

    def decode(self, z: Tensor) -> Distribution:
        """p(x|z) of latents z (..., D): batch shape (...), event shape x_shape."""
        if z.device.type == "cpu":
            self.check_batch_fits(decoded=z.numel() // z.shape[-1])
        params = self.decoder_network(z.reshape(-1, z.shape[-1])).unflatten(0, z.shape[:-1])
        p_x: Distribution = self.decoder(*params.unbind(z.ndim - 1))
        return p_x

    def forward(self, x: Tensor, n_samples: int = 1) -> VAEOutput:
        """Encode x (B, *x_shape), draw n_samples latents for each observation, decode them."""
        q_z = self.encode(x)
        z, log_q = draw(q_z, (n_samples,))
        return VAEOutput(z, q_z, self.prior(self.encode), self.decode(z), log_q())

    def sample_latents(self, n: int, temperature: float = 1.0) -> Tensor:
        """n draws z (n, D) from the prior, their distances from its mean scaled by `temperature`."""
        p_z = self.prior(self.encode)
        z = p_z.sample((n,))
        return z if temperature == 1 else torch.lerp(p_z.mean, z, temperature)

    def sample(self, n: int, temperature: float = 1.0) -> Distribution:
        """p(x|z) at n draws from the prior, batch shape (n,); the caller takes `.mean` or `.sample()`."""
        return self.decode(self.sample_latents(n, temperature))
