"""Grids, traversals and paths in the space of latents, and what they decode to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from scipy.special import gammaincinv
from torch import Tensor
from torch.distributions import Independent, Normal

from vaecli.datasets.split import Split
from vaecli.models.inference import batches, decode_all, evaluating, finite, inference_batch_size
from vaecli.models.vae import VAE
from vaecli.utils.errors import UserError
from vaecli.utils.ranks import gather_columns, rank, world


class Encoded(NamedTuple):
    """The posteriors of N observations, on the CPU."""

    loc: Tensor  # (N, D): means
    scale: Tensor  # (N, D): standard deviations


class Manifold(NamedTuple):
    """The decoder over a grid of two latents."""

    values: Tensor  # (n,): what each of the two takes, in the prior's standard deviations from its mean
    z: Tensor  # (n, n, D): at [i, j] the first latent is at values[j], the second at values[i]
    x: Tensor  # (n, n, *x_shape), on the CPU: means of p(x|z)


class Traversal(NamedTuple):
    """R latents, each moved through S values while the others stay."""

    values: Tensor  # (S,), in the prior's standard deviations from its mean
    z: Tensor  # (R, S, D)
    x: Tensor  # (R, S, *x_shape), on the CPU: means of p(x|z)


class Interpolation(NamedTuple):
    """S steps from one code to another."""

    z: Tensor  # (S, D)
    x: Tensor  # (S, *x_shape), on the CPU: means of p(x|z)


class PriorMoments(NamedTuple):
    """Mean and standard deviations of a prior."""

    mean: Tensor  # (D,)
    stddev: Tensor  # (D,)
    gaussian: bool  # whether it is a Gaussian of independent latents

    @property
    def standard(self) -> bool:
        """Whether mean and standard deviations are those of the standard normal, so that positions are the latents."""
        return not bool(self.mean.any()) and bool((self.stddev == 1).all())


def linear_values(n: int, span: float) -> Tensor:
    """n evenly spaced values (n,) from -span to span."""
    return torch.linspace(-span, span, n, dtype=torch.float64)


def quantile_values(n: int, span: float) -> Tensor:
    """n values (n,) from -span to span: the standard normal's inverse CDF of an even grid of probabilities.

    Neighbours enclose the same share of the prior. Kingma and Welling (2014), appendix A.
    """
    half = torch.erf(torch.tensor(span / math.sqrt(2), dtype=torch.float64))  # P(|z| < span)
    values = math.sqrt(2) * torch.erfinv(half * torch.linspace(-1, 1, n, dtype=torch.float64))
    if not torch.isfinite(values).all():
        raise UserError(f"span={span:g}: spacing=quantile takes a span of at most 8")
    return values


def linear_path(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """The straight line from start to end (D,), in equal steps: (steps, D)."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device).unsqueeze(1))


def spherical_path(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """From start to end (D,) in equal angles on a great circle, the length changing evenly: (steps, D).

    Draws from a normal distribution of many dimensions lie near a sphere, which a straight line leaves. Shoemake
    (1985), White (2016). Parallel and opposite vectors, and zero, have no such circle and get the straight line.
    """
    lengths = torch.stack([start.norm(), end.norm()])
    a, b = start / lengths[0], end / lengths[1]
    # Kahan's formula: exact for small angles, where the cosine's inverse is not
    angle = 2 * torch.atan2((a - b).norm(), (a + b).norm())
    if not torch.sin(angle) > 1e-4:
        return linear_path(start, end, steps)
    t = torch.linspace(0, 1, steps, device=start.device).unsqueeze(1)
    direction = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return direction * torch.lerp(lengths[0], lengths[1], t)


SPACINGS: dict[str, Callable[[int, float], Tensor]] = {"linear": linear_values, "quantile": quantile_values}
PATHS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"linear": linear_path, "spherical": spherical_path}


def encode(model: VAE, split: Split, seed: int = 0, progress: Callable[[Iterable], Iterable] = iter) -> Encoded:
    """Means and standard deviations of q(z|x) for all observations of a split, which lies on the model's device.

    The processes of a run take the batches in turn.
    progress: wraps the iteration over batches, to show a bar; seed: of dynamic binarisation
    """
    with evaluating(model, seed):
        size = inference_batch_size(model)
        mine = (pair for pair in enumerate(progress(batches(split, size))) if pair[0] % world() == rank())
        posteriors = [(i * size, model.encode(x)) for i, x in mine]
        parts = [(start, torch.cat([q_z.mean.T, q_z.stddev.T]).cpu()) for start, q_z in posteriors]
    loc, scale = gather_columns(parts, len(split)).T.contiguous().split(model.latent_dim, dim=1)
    return Encoded(finite("the encoder's output for these observations", loc.contiguous()), scale.contiguous())


def manifold(
    model: VAE, n: int = 20, span: float = 3.0, dims: Sequence[int] = (0, 1), spacing: str = "linear"
) -> Manifold:
    """The decoder's mean over an n x n grid of the latents `dims`, the others at the prior's mean.

    span: the outermost values, in the prior's standard deviations; spacing: one of SPACINGS
    UserError if `dims` are not two different latents of the model, and for spacing=quantile if the prior is not a
    Gaussian of independent latents.
    """
    if model.latent_dim < 2:
        raise UserError("this run has one latent, and a manifold is a grid of two: use vae traverse")
    check_dims(model, dims, 2)
    across, up = dims
    prior = prior_moments(model)
    if spacing == "quantile" and not prior.gaussian:
        raise UserError("spacing=quantile: needs a Gaussian prior, and this run's prior is not Gaussian")
    values = SPACINGS[spacing](n, span).to(prior.mean)
    z = prior.mean.expand(n, n, -1).clone()
    z[..., across] += prior.stddev[across] * values
    z[..., up] += prior.stddev[up] * values.unsqueeze(1)
    return Manifold(values.cpu(), z.cpu(), decode(model, z))


def traverse(
    model: VAE, steps: int = 11, span: float = 3.0, start: Tensor | None = None, dims: Sequence[int] | None = None
) -> Traversal:
    """The decoder's mean while each of the latents `dims` (None: all) goes from -span to span, one at a time.

    span: in the prior's standard deviations, counted from its mean
    start (D,): the values of the other latents; None: the prior's mean
    UserError for latents that the model does not have.
    """
    dims = list(range(model.latent_dim)) if dims is None else list(dims)
    check_dims(model, dims)
    prior = prior_moments(model)
    start = prior.mean if start is None else start.to(prior.mean)
    values = linear_values(steps, span).to(start)
    z = start.expand(len(dims), steps, -1).clone()
    z[torch.arange(len(dims)), :, torch.tensor(dims)] = torch.addcmul(
        prior.mean[dims].unsqueeze(1), prior.stddev[dims].unsqueeze(1), values
    )
    return Traversal(values.cpu(), z.cpu(), decode(model, z))


def interpolate(model: VAE, start: Tensor, end: Tensor, steps: int = 12, path: str = "linear") -> Interpolation:
    """The decoder's mean at `steps` latents from start to end (D,), both included; path: one of PATHS."""
    like = next(model.parameters())
    z = PATHS[path](start.to(like), end.to(like), steps)
    return Interpolation(z.cpu(), decode(model, z))


def decode(model: VAE, z: Tensor) -> Tensor:
    """The mean of p(x|z) for z (..., D) on the model's device: (..., *x_shape) on the CPU."""
    with evaluating(model):
        return decode_all(model, z.reshape(-1, z.shape[-1])).unflatten(0, z.shape[:-1])


@torch.no_grad()
def prior_moments(model: VAE) -> PriorMoments:
    """Mean and standard deviation of the prior, on the model's device."""
    p_z = model.prior(model.encode)
    gaussian = isinstance(p_z, Independent) and isinstance(p_z.base_dist, Normal)
    return PriorMoments(p_z.mean, p_z.stddev, gaussian)


def prior_radius(model: VAE, share: float) -> float | None:
    """The radius of the ball around 0 that holds a share of a standard normal prior; None for other priors.

    |z|^2 of D latents has a chi-square distribution with D degrees of freedom.
    """
    prior = prior_moments(model)
    return math.sqrt(2 * gammaincinv(len(prior.mean) / 2, share)) if prior.gaussian and prior.standard else None


def check_dims(model: VAE, dims: Sequence[int], n: int | None = None) -> None:
    """UserError unless `dims` are different latents of the model, counted from 0, and n of them."""
    shown = f"dims=[{','.join(map(str, dims))}]"
    if not dims or len(set(dims)) != len(dims) or len(dims) != (n or len(dims)):
        raise UserError(f"{shown}: expected {'two ' if n == 2 else ''}different latents, as in dims=[0,1]")
    if not all(0 <= dim < model.latent_dim for dim in dims):
        have = "only latent 0" if model.latent_dim == 1 else f"the latents 0 to {model.latent_dim - 1}"
        raise UserError(f"{shown}: this run has {have}")
