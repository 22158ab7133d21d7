"""log p(x) by numerical integration over one or two latents, in double precision and with an estimate of its error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import cubature
from torch import Tensor

from vaecli.analysis.importance_sampling import Scores, Tick, pairs_at_once
from vaecli.analysis.modes import Joint, Mode, modes
from vaecli.datasets.split import Split
from vaecli.models.inference import batches, evaluating, in_double
from vaecli.models.vae import VAE
from vaecli.utils.distributions import draw
from vaecli.utils.threads import ordered_parallel_map

REACH = 6.0  # the grid of starts covers at least [-REACH, REACH] in each latent
GRID = {1: 401, 2: 81}  # its points along each latent
DRAWS = 2000  # from the prior: the grid extends to the farthest of them, and the best of them are starts too
OWN_DRAWS = 200  # from q(z|x), whose heaviest are starts
GRID_STARTS, DRAW_STARTS = 24, 6  # at most so many starts from the grid, and from each kind of draws
AGAIN = 3  # searches for modes: repeated if the integration finds a higher point
NARROWEST = 8.0  # a box reaches at least so many of the mode's standard deviations
LOPSIDED = 1.13  # factor on the box's upper corner, so that its centre is not the mode
BETWEEN = 1.22  # ratio of the distances of successive points on a ray; the 60th: 120,000 standard deviations
OUTSIDE = 30.0  # nats below the highest at which the integrand may be cut off
ROUNDING = 1e-14  # of log p(x, z), relative to its terms
UNSURE = 0.1  # nats of error above which an integral is not called exact
TOLERANCE = {1: 1e-9, 2: 1e-6}  # by the number of latents
SUBDIVISIONS = {1: 300, 2: 80}  # of a box, at most


class Quadrature(NamedTuple):
    """The integral for each of N observations; each (N,), float64, on the CPU."""

    log_px: Tensor
    error: Tensor  # an estimate of its error in nats, never NaN; infinite if the integral was not found

    def refused(self, scores: Scores) -> Tensor:
        """Which of the integrals (N,) must not be called exact.

        Those with an error above `UNSURE`, and those that lie below the draws' estimates, since then a mode was missed:
        below the ELBO, or below an importance-weighted estimate whose weights have no heavy tail, by more than four
        standard errors; or below any such estimate by more than 7 nats, which happens by chance once in exp(7), by
        Markov's inequality. A test whose standard error is unknown (one draw) is not made.
        """
        high, estimate = self.log_px + self.error, -scores.nll
        light = scores.pareto_k <= 0.7
        return (
            (self.error > UNSURE)
            | (high < scores.elbo - 4 * scores.elbo_mc_stderr)
            | (high < estimate - 7)
            | (light & (high < estimate - 4 * scores.nll_mc_stderr))
        )


class Scheme(NamedTuple):
    """One of the two schemes by which each integral is computed; they differ in coordinates, rule and shares.

    A rule cannot see a kink between a cell's edge and its first node. A mode often lies on a kink of the decoder, with
    an axis along it. So the two schemes turn the axes, and shift the centre of the box, where the rule cuts it in two.
    """

    rule: str
    turn: float  # of the axes, in radians
    wider: float  # the box, by this factor
    spread: float  # of the Gaussians that divide the integrand among the modes


ROUGH, FINE = Scheme("gk15", -0.4, 1.17, 2.0), Scheme("gk21", 0.3, 1.0, 1.0)


def quadrature(model: VAE, split: Split, tolerance: float | None = None, tick: Tick = lambda n: None) -> Quadrature:
    """log of the integral of p(x|z) p(z) over z for every observation; one or two latents.

    The search for the integrand's modes starts from many places. The integral is computed around each mode, in
    coordinates in which the integrand is about a unit Gaussian, until the estimated relative error is below `tolerance`
    (None: `TOLERANCE`) or the number of points reaches its limit. This is done twice, in different coordinates and by
    different rules; the error is the sum of both rules' own estimates and of the difference. Raises ValueError for more
    than two latents.
    """
    if model.latent_dim > 2:
        raise ValueError(f"quadrature needs one or two latents, this model has {model.latent_dim}")
    precise, tolerance = in_double(model), tolerance or TOLERANCE[model.latent_dim]
    threads = torch.get_num_threads() if next(precise.parameters()).device.type == "cpu" else 0
    integrals = []
    with evaluating(precise):
        jobs = ((None, partial(integral, joint, starts, tolerance)) for joint, starts in searches(precise, split))
        for _, pair in ordered_parallel_map(jobs, threads):
            integrals.append(pair)
            tick(1)
    return Quadrature(*torch.tensor(integrals, dtype=torch.float64).T)


def searches(model: VAE, split: Split) -> Iterator[tuple[Joint, Tensor]]:
    """Each observation's integrand, and the starts (S, D) of the search for its modes.

    These are q(z|x)'s mean and heaviest draws; of the prior's draws the first ones, the heaviest and the highest; and
    the points of a grid that lie higher than their neighbours.
    """
    p_z, rows, n = model.prior(model.encode), pairs_at_once(model), DRAW_STARTS
    draws = p_z.sample((DRAWS,))
    grid = lattice(GRID[model.latent_dim], max(REACH, 1.1 * float(draws.abs().max())), draws)
    cloud = torch.cat([draws, grid])
    log_pz = p_z.log_prob(cloud)
    for batch in batches(split):
        x = batch.to(draws.device).to(draws.dtype)
        q_z = model.encode(x)
        own, density = draw(q_z, (OWN_DRAWS,))
        log_q, log_px = density(), on_cloud(model, cloud, x, rows)
        middle = q_z.mean
        for i, one in enumerate(x):
            joint, weights = Joint(model, p_z, one, rows), log_px[:DRAWS, i]
            heights = log_px[:, i] + log_pz
            high = torch.cat([weights.topk(n).indices, heights[:DRAWS].topk(n).indices])
            heavy = own[(joint(own[:, i]) - log_q[:, i]).topk(n).indices, i]
            tops = grid[peaks(heights[DRAWS:], model.latent_dim)]
            yield joint, torch.cat([middle[i : i + 1], heavy, draws[:n], draws[high], tops])


def lattice(n: int, reach: float, like: Tensor) -> Tensor:
    """The n^D points of a grid over [-reach, reach]^D."""
    steps = torch.linspace(-reach, reach, n, dtype=like.dtype, device=like.device)
    return torch.cartesian_prod(*[steps] * like.shape[1]).reshape(-1, like.shape[1])


def on_cloud(model: VAE, z: Tensor, x: Tensor, rows: int) -> Tensor:
    """log p(x|z) of each z (N, D) and x (B, *x_shape), (N, B)."""
    parts = []
    for part in z.split(rows):
        p_x = model.decode(part)
        parts.append(torch.stack([p_x.log_prob(one) for one in x], 1))
    return torch.cat(parts)


def peaks(values: Tensor, dim: int) -> Tensor:
    """The indices (S,) of the highest values on a grid (n^D,) that are no lower than their neighbours."""
    n = GRID[dim]
    image = torch.where(values.isnan(), -torch.inf, values).clamp(-1e300, 1e300).view(1, *[n] * dim)
    pool: Callable[..., Tensor] = torch.nn.functional.max_pool1d if dim == 1 else torch.nn.functional.max_pool2d
    places = (pool(image, 3, 1, 1) == image).flatten().nonzero().squeeze(1)
    return places[values[places].argsort(descending=True)[:GRID_STARTS]]


def integral(joint: Joint, starts: Tensor, tolerance: float) -> tuple[float, float]:
    """log p(x) of one observation, and an estimate of its error."""
    for _ in range(AGAIN):
        all_modes = modes(joint, starts)
        if not all_modes:
            return -math.inf, math.inf
        known = max(mode.height for mode in all_modes)
        (fine, error), (rough, other) = (total(joint, all_modes, scheme, tolerance) for scheme in (FINE, ROUGH))
        if joint.highest < known + 1e-3:
            break
        starts = torch.cat([joint.top.unsqueeze(0), torch.stack([mode.middle for mode in all_modes])])
    rounding = ROUNDING * (1 + max(abs(mode.height) for mode in all_modes))
    return fine, error + other + abs(fine - rough) + rounding


def total(joint: Joint, all_modes: list[Mode], scheme: Scheme, tolerance: float) -> tuple[float, float]:
    """The log of the integral, and its error in nats as the rule estimates it."""
    scale = float(torch.logsumexp(torch.tensor([mode.log_mass for mode in all_modes], dtype=torch.float64), 0))
    all_modes = [turned(mode, scheme.turn) for mode in all_modes]
    shares = [ModeShare(joint, all_modes, i, scheme) for i in range(len(all_modes))]
    value, error = (sum(column) for column in zip(*(one.sum(scale, tolerance) for one in shares), strict=True))
    if not value > error:
        return (scale + math.log(value) if value > 0 else -math.inf), math.inf
    return scale + math.log(value), -math.log1p(-error / value)


def turned(mode: Mode, angle: float) -> Mode:
    """The same mode in coordinates turned by an angle, if there are two."""
    if len(mode.middle) == 1:
        return mode
    turn = mode.axes.new_tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return mode._replace(axes=mode.axes @ turn)


class ModeShare:
    """Mode i's share of p(x, z): p(x, z) g_i(z) / sum_j g_j(z), with g_j mode j's Gaussian, wider by `spread`.

    The shares add up to p(x, z) everywhere, so that modes that overlap are not counted twice, and each is smooth.
    """

    def __init__(self, joint: Joint, all_modes: list[Mode], i: int, scheme: Scheme) -> None:
        self.joint, self.all_modes, self.i, self.scheme = joint, all_modes, i, scheme
        self.mode, self.dim = all_modes[i], len(all_modes[i].middle)

    def __call__(self, u: Tensor) -> Tensor:
        """Its logarithm at the mode's coordinates u (N, D), (N,)."""
        z, width = self.mode.place(u), self.scheme.spread
        log_g = [one.height - 0.5 * (one.coordinates(z) / width).square().sum(1) for one in self.all_modes]
        return self.joint(z) + torch.stack(log_g, 1).log_softmax(1)[:, self.i]

    def sum(self, scale: float, tolerance: float) -> tuple[float, float]:
        """Its integral over z, times exp(-scale), and the error of that."""

        def integrand(u: np.ndarray) -> np.ndarray:
            values = self(torch.from_numpy(u).to(self.mode.axes)) + (self.mode.log_volume - scale)
            return values.exp().cpu().numpy()

        low, high = self.box(self.scheme.wider)
        result = cubature(
            integrand, low, high, rule=self.scheme.rule, rtol=tolerance, atol=tolerance / len(self.all_modes),
            max_subdivisions=SUBDIVISIONS[self.dim],
        )  # fmt: skip
        return float(result.estimate), float(result.error)

    def box(self, wider: float) -> tuple[np.ndarray, np.ndarray]:
        """The corners of a box outside which the share is negligible, the corners `wider` times as far out.

        It contains all points of rays from the mode at which the integrand is not negligible, and grows until the
        integrand on its faces is.
        """
        points = self.rays()
        values = self(points)
        floor = max(self.mode.height, float(values.max())) - OUTSIDE
        near = torch.cat([points[values > floor], points.new_zeros(1, self.dim)])
        low = (BETWEEN * near.amin(0)).clamp_max(-NARROWEST) * wider
        high = (BETWEEN * near.amax(0)).clamp_min(NARROWEST) * wider
        for _ in range(20):
            faces = [(axis, side) for axis in range(self.dim) for side in (low, high)]
            open_ = [face for face in faces if float(self(_face(low, high, *face)).max()) > floor]
            if not open_:
                break
            for axis, side in open_:
                side[axis] *= 1.4
        return low.cpu().numpy(), LOPSIDED * high.cpu().numpy()

    def rays(self) -> Tensor:
        """Points on rays from the mode, each BETWEEN times as far out as the one before, (N, D)."""
        radii = BETWEEN ** torch.arange(60).to(self.mode.axes).view(-1, 1, 1)
        if self.dim == 1:
            directions = radii.new_tensor([[1.0], [-1.0]])
        else:
            angles = torch.arange(48).to(radii) * (2 * math.pi / 48)
            directions = torch.stack([angles.cos(), angles.sin()], 1)
        return (radii * directions).flatten(0, 1)


def _face(low: Tensor, high: Tensor, axis: int, side: Tensor) -> Tensor:
    """Points on one face of a box, (N, D)."""
    shares = torch.linspace(0, 1, 65).to(low).unsqueeze(1)
    points = torch.lerp(low.unsqueeze(0), high.unsqueeze(0), shares)
    points[:, axis] = side[axis]
    return points
