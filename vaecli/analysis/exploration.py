"""The computations of `vae explore`: codes, planes of latents, decodings, and how likely places are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from vaecli.analysis.metrics import elbo_terms
from vaecli.datasets.split import Split
from vaecli.models.inference import batches, decode_all, evaluating, finite, inference_batch_size, mean_or_draw
from vaecli.models.vae import VAE

POSTERIOR_DRAWS = 300  # of q(z|x), if it is not a Gaussian
TERM_DRAWS = 64  # of z, for the ELBO of an observation
NEIGHBOURS_OF = 1000  # codes whose nearest neighbours show how far apart codes are
FAR_QUANTILE = 0.99


class Decoded(NamedTuple):
    """p(x|z) at one z."""

    mean: np.ndarray  # (*x_shape)
    stddev: np.ndarray | None  # (*x_shape); None if the distribution has none
    log_prior: float  # log p(z), nats


class Posterior(NamedTuple):
    """q(z|x) of one observation, and how well the model explains it."""

    mean: np.ndarray  # (D,)
    covariance: np.ndarray | None  # (D, D); None: not a Gaussian
    draws: np.ndarray  # (M, D)
    reconstruction: np.ndarray  # (*x_shape): mean of p(x|z) at the mean of q(z|x)
    log_px: float  # nats: E log p(x|z)
    kl: float
    elbo: float


class Codes(NamedTuple):
    """The codes of N observations: the means of q(z|x)."""

    loc: np.ndarray  # (N, D)
    kl: np.ndarray | None  # (D,): the mean KL of each latent, nats; None: latents depend on each other


class Plane(NamedTuple):
    """A plane of latents: coordinates are `axes` @ (z - origin)."""

    axes: np.ndarray  # (2, D), or (1, D) of a model with one latent
    origin: np.ndarray  # (D,)

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """z (..., D) in the plane, (..., 2); the second is 0 where there is one latent."""
        found = (z - self.origin) @ self.axes.T
        return found if len(self.axes) == 2 else np.concatenate([found, np.zeros_like(found)], -1)

    def moved(self, z: np.ndarray, to: np.ndarray) -> np.ndarray:
        """The z nearest to z (D,) whose coordinates are `to` (..., 2): (..., D)."""
        step = (np.asarray(to, float) - self.coordinates(z))[..., : len(self.axes)]
        moved: np.ndarray = z + step @ np.linalg.pinv(self.axes).T
        return moved

    def ellipse(self, covariance: np.ndarray) -> tuple[float, float, float]:
        """Width and height (two standard deviations to each side) and angle (radians) of a Gaussian in the plane."""
        within = self.axes @ covariance @ self.axes.T
        if len(self.axes) == 1:
            return 4 * float(np.sqrt(within[0, 0])), 0.0, 0.0
        values, vectors = np.linalg.eigh(within)
        width, height = 4 * np.sqrt(np.maximum(values[::-1], 0.0))
        return float(width), float(height), float(np.arctan2(vectors[1, 1], vectors[0, 1]))


def plane_of(codes: np.ndarray, across: str, up: str) -> Plane:
    """The plane of two of the axes z_1 to z_D, or PC 1 and PC 2, the codes' (N, D) principal components."""
    d = codes.shape[1]
    if d == 1:
        return Plane(np.eye(1), np.zeros(1))
    components = np.eye(d)
    if "PC" in across + up:
        components = np.linalg.svd(codes - codes.mean(0), full_matrices=False)[2]
    rows = [components[int(a[3:]) - 1] if a.startswith("PC") else np.eye(d)[int(a[2:]) - 1] for a in (across, up)]
    centred = across.startswith("PC") and up.startswith("PC")
    return Plane(np.stack(rows), codes.mean(0) if centred else np.zeros(d))


class Coverage:
    """Whether a place lies among the codes: it is as near to one of them as codes are to each other.

    The largest distance allowed is the 0.99 quantile of the distances from codes to their nearest neighbours, in the
    codes' standard deviations of each latent.
    """

    def __init__(self, codes: np.ndarray) -> None:
        self.scale = np.maximum(codes.std(0), 1e-9)
        self.codes = torch.from_numpy((codes / self.scale).astype(np.float32))
        some = self.codes[torch.linspace(0, len(codes) - 1, min(len(codes), NEIGHBOURS_OF)).long()]
        nearest = torch.cdist(some, self.codes).topk(min(2, len(codes)), largest=False).values[:, -1]
        self.bound = float(nearest.quantile(FAR_QUANTILE))

    def covers(self, z: np.ndarray) -> bool:
        """Whether z (D,) lies among the codes."""
        here = torch.from_numpy((z / self.scale).astype(np.float32))
        return bool((self.codes - here).square().sum(1).min() <= self.bound**2)


def codes_of(model: VAE, split: Split, seed: int = 0) -> Codes:
    """The codes of a split, and how much each latent tells; each observation is encoded once.

    seed: of dynamic binarisation
    """
    means, total = [], torch.zeros(model.latent_dim)
    with evaluating(model, seed):
        p_z = model.prior(model.encode)
        for x in batches(split, inference_batch_size(model)):
            q_z = model.encode(x)
            means.append(q_z.mean.cpu())
            if isinstance(q_z, Independent) and isinstance(p_z, Independent):
                total += kl_divergence(q_z.base_dist, p_z.base_dist).sum(0).cpu()
    codes = finite("the encoder's output for these observations", torch.cat(means)).double().numpy()
    apart = isinstance(q_z, Independent) and isinstance(p_z, Independent)
    return Codes(codes, (total / len(split)).double().numpy() if apart else None)


def decoded(model: VAE, z: np.ndarray) -> Decoded:
    """p(x|z) and log p(z) at z (D,), of a model in evaluation mode; UserError if the decoder's output is not finite."""
    with torch.inference_mode():  # without `evaluating`, whose seeding takes as long as decoding
        at = torch.as_tensor(z).to(next(model.parameters()))
        p_x = model.decode(at[None])
        log_prior = float(model.prior(model.encode).log_prob(at[None]))
        return Decoded(mean_or_draw(p_x)[0].cpu().numpy(), spread(p_x), log_prior)


def spread(p_x: Distribution) -> np.ndarray | None:
    """The standard deviation (*x_shape) of the first distribution of a batch; None if it has none."""
    try:
        stddev: np.ndarray = p_x.stddev[0].cpu().numpy()
    except (NotImplementedError, AttributeError, RuntimeError):
        return None
    return stddev


def decoded_draws(model: VAE, z: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n draws of p(x|z) at z (D,): (n, *x_shape)."""
    with evaluating(model, seed):
        at = torch.as_tensor(z).to(next(model.parameters())).expand(n, -1)
        drawn: np.ndarray = decode_all(model, at, draw=True).numpy()
        return drawn


def posterior(model: VAE, x: Tensor, seed: int = 0) -> Posterior:
    """q(z|x) and the terms of the ELBO for one observation x (*x_shape), over 64 draws of z."""
    with evaluating(model, seed):
        q_z = model.encode(x[None])
        mean = finite("the encoder's output for this observation", q_z.mean)
        terms = elbo_terms(model, x[None], TERM_DRAWS)
        draws = q_z.sample((POSTERIOR_DRAWS,))[:, 0].cpu().numpy()
        values = {key: float(value[0]) for key, value in terms.items()}
        back = decode_all(model, mean)[0].numpy()
    return Posterior(mean[0].cpu().numpy().astype(float), covariance(q_z), draws, back, **values)


def covariance(q_z: Distribution) -> np.ndarray | None:
    """The covariance (D, D) of the first Gaussian of a batch; None for other distributions."""
    if isinstance(q_z, MultivariateNormal):
        full: np.ndarray = q_z.covariance_matrix[0].double().cpu().numpy()
        return full
    if isinstance(q_z, Independent) and isinstance(q_z.base_dist, Normal):
        return np.diag(q_z.stddev[0].double().square().cpu().numpy())
    return None


def decodings_of(model: VAE, z: np.ndarray) -> np.ndarray:
    """Means of p(x|z) of z (..., D): (..., *x_shape)."""
    with evaluating(model):
        at = torch.as_tensor(z).to(next(model.parameters()))
        x: np.ndarray = decode_all(model, at.reshape(-1, at.shape[-1])).numpy()
    return x.reshape(*z.shape[:-1], *x.shape[1:])
