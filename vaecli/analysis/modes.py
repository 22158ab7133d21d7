"""The modes of p(x, z) over z for one observation, and the coordinates in which each looks like a unit Gaussian."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaecli.models.vae import VAE

STEPS = 60  # of an ascent
RADIUS = 0.3  # of its first step, at most
MIN_GAIN = 1e-9  # an ascent ends when its next step gains or moves less
DIFFERENCE = 1e-4  # step of the differences of gradients that give the curvature
MASS_CUTOFF = 30.0  # nats below the mass of the heaviest mode; lighter modes are left out
MAX_MODES = 8  # the heaviest modes are kept
MIN_DIP = 0.5  # nats; two modes are one if the integrand falls by less between them
MAX_MODE_DISTANCE = 6.0  # standard deviations; two modes farther apart are never one


class Joint:
    """log p(x, z) of one observation x as a function of z; remembers its highest value and where it was."""

    def __init__(self, model: VAE, p_z: Distribution, x: Tensor, rows: int) -> None:
        self.model, self.p_z, self.x, self.rows = model, p_z, x, rows
        self.top, self.highest = torch.zeros(0), -math.inf

    def __call__(self, z: Tensor) -> Tensor:
        """z (N, D) -> (N,), `rows` decoded at a time."""
        values = torch.cat([self.model.decode(part).log_prob(self.x) for part in z.split(self.rows)])
        values = values + self.p_z.log_prob(z)
        # far from the data a network may overflow; if that makes the integral too low, the draws contradict it,
        # and it is refused
        values = torch.where(values.isnan(), -torch.inf, values)
        if float(values.detach().max()) > self.highest:
            self.top, self.highest = z[values.argmax()].detach(), float(values.detach().max())
        return values

    def gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The values (N,) and slopes (N, D)."""
        with torch.enable_grad():
            point = z.detach().requires_grad_()
            values = self(point)
            (slope,) = torch.autograd.grad(values.sum(), point)
        return values.detach(), slope


class Mode(NamedTuple):
    """A mode m and axes A: with z = m + A u, p(x, z) falls off about as exp(-|u|^2 / 2)."""

    middle: Tensor  # (D,)
    axes: Tensor  # (D, D), a standard deviation along each principal axis in its columns
    height: float  # log p(x, m)

    @property
    def log_volume(self) -> float:
        return float(torch.linalg.slogdet(self.axes).logabsdet)

    @property
    def log_mass(self) -> float:
        """Laplace's approximation of the log-integral."""
        return self.height + self.log_volume + len(self.middle) / 2 * math.log(2 * math.pi)

    def place(self, u: Tensor) -> Tensor:
        """z (N, D) of u (N, D)."""
        return self.middle + u @ self.axes.T

    def coordinates(self, z: Tensor) -> Tensor:
        """u (N, D) of z (N, D)."""
        return torch.linalg.solve(self.axes, (z - self.middle).T).T


def modes(joint: Joint, starts: Tensor) -> list[Mode]:
    """The modes to which ascents from the starts (N, D) lead, the heaviest first."""
    ends, heights = ascend(joint, starts)
    kept: list[Mode] = []
    for i in heights.argsort(descending=True)[: int(heights.isfinite().sum())].tolist():
        if not any(_is_part_of(joint, mode, ends[i], float(heights[i])) for mode in kept):
            kept.append(_mode(joint, ends[i], float(heights[i])))
        if len(kept) >= 2 * MAX_MODES:
            break
    kept.sort(key=lambda mode: -mode.log_mass)
    return [mode for mode in kept[:MAX_MODES] if mode.log_mass > kept[0].log_mass - MASS_CUTOFF]


def _is_part_of(joint: Joint, mode: Mode, z: Tensor, height: float) -> bool:
    """Whether z belongs to the mode: the straight line between them is short, and the integrand has no dip on it."""
    if float(mode.coordinates(z.unsqueeze(0)).norm()) > MAX_MODE_DISTANCE:
        return False
    shares = torch.linspace(0, 1, 9, dtype=z.dtype, device=z.device).unsqueeze(1)
    return float(joint(torch.lerp(z, mode.middle, shares)).min()) > height - MIN_DIP


def ascend(joint: Joint, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Where Newton's ascents from the starts (N, D) end, (N, D), and the values there (N,).

    The absolute values of the curvature's eigenvalues are used, so that ascents leave saddle points. A step that gains
    nothing divides the radius by four.
    """
    z, radius = starts.clone(), starts.new_full((len(starts), 1), RADIUS)
    value, slope = joint.gradient(z)
    going = value.isfinite().nonzero().squeeze(1)
    for _ in range(STEPS):
        if not len(going):
            break
        here, g = z[going], slope[going]
        sizes, vectors = torch.linalg.eigh(_curvature(joint, here, starts.new_full((len(here), 1), DIFFERENCE)))
        step = (vectors @ ((vectors.mT @ g.unsqueeze(2)) / sizes.abs().clamp_min(1e-6).unsqueeze(2))).squeeze(2)
        step = step * (radius[going] / step.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp_max(1)
        values, slopes = joint.gradient(here + step)
        better = values > value[going]
        length, gain = step.norm(dim=1), (step * g).sum(1)
        won = going[better]
        z[won], value[won], slope[won] = (here + step)[better], values[better], slopes[better]
        radius[going] = torch.where(better, 2 * radius[going].squeeze(1), length / 4).unsqueeze(1)
        going = going[(gain > MIN_GAIN) & (length > MIN_GAIN)]
    return z, value


def _curvature(joint: Joint, z: Tensor, step: Tensor) -> Tensor:
    """Minus the second derivatives at z (N, D), (N, D, D), from slopes `step` (N, 1) to both sides along each axis."""
    n, dim = z.shape
    away = step.unsqueeze(1) * torch.eye(dim, dtype=z.dtype, device=z.device)
    points = torch.stack([z.unsqueeze(1) + away, z.unsqueeze(1) - away])  # (2, N, D, D)
    slopes = joint.gradient(points.reshape(-1, dim))[1].view(2, n, dim, dim)
    curvature = (slopes[1] - slopes[0]) / (2 * step.unsqueeze(1))
    curvature = torch.where(curvature.isfinite(), curvature, 0.0)
    return (curvature + curvature.mT) / 2


def _mode(joint: Joint, z: Tensor, height: float) -> Mode:
    """The mode, with axes from the curvature, each so long that the integrand falls by half a nat at its end.

    The curvature is computed from differences over about a standard deviation, because derivatives mean little if the
    decoder has kinks.
    """
    step, axes = 1e-3, torch.eye(len(z), dtype=z.dtype, device=z.device)
    for _ in range(3):
        sizes, vectors = torch.linalg.eigh(_curvature(joint, z.unsqueeze(0), z.new_full((1, 1), step))[0])
        lengths = sizes.abs().clamp_min(0.01).rsqrt()
        axes = _fitted(joint, z, height, vectors * lengths)
        step = 0.3 * float(axes.norm(dim=0).min())
    return Mode(z, axes, height)


def _fitted(joint: Joint, z: Tensor, height: float, axes: Tensor) -> Tensor:
    """The axes, each scaled until the integrand falls by half a nat, averaged over both ends."""
    for _ in range(4):
        ends = torch.cat([z + axes.T, z - axes.T])
        drop = height - joint(ends).clamp_min(height - 1e6).view(2, -1).mean(0)
        axes = axes * (0.5 / drop.clamp_min(0.01)).sqrt().clamp(0.1, 5)
    return axes
