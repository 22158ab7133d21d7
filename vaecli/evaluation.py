"""Exact means over a data set: sums over observations, divided by their number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from vaecli.datasets.split import Split
from vaecli.errors import UserError
from vaecli.memory import check_memory
from vaecli.objectives.base import Estimate, Objective
from vaecli.objectives.elbo import ELBO
from vaecli.vae import VAE

CHUNK = 500  # observations at a time where nothing is trained


class Totals:
    """Running sums of an objective's metrics and loss, kept on their device: adding to them never waits for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[Tensor] = []
        self.counts: list[int] = []

    def add(self, estimate: Estimate) -> None:
        self.names = [*estimate.metrics, "loss"]
        sums = torch.stack(list(estimate.metrics.values())).detach().sum(-1)
        count = len(estimate.metrics["elbo"])
        self.rows.append(torch.cat([sums, estimate.loss.detach().reshape(1) * count]))
        self.counts.append(count)

    def means(self) -> dict[str, float]:
        """Each metric's mean over the observations added so far."""
        total = torch.stack(self.rows).cpu().double().sum(0) / sum(self.counts)
        return dict(zip(self.names, total.tolist(), strict=True))

    def latest(self) -> dict[str, float]:
        """Each metric's mean over the last batch added; waits for the device."""
        return dict(zip(self.names, (self.rows[-1] / self.counts[-1]).tolist(), strict=True))

    def first_broken(self) -> tuple[int, dict[str, float]] | None:
        """The first batch with a sum that is not finite, counted from 0, and those sums by name; waits for the device.

        None where all are finite.
        """
        rows = torch.stack(self.rows).cpu()
        bad = (~rows.isfinite()).nonzero()
        if not len(bad):
            return None
        first = int(bad[0, 0])
        named = zip(self.names, rows[first].tolist(), strict=True)
        return first, {name: value for name, value in named if not math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors from which `load_state_dict` goes on to the same means, bit for bit."""
        return {"names": self.names, "rows": torch.stack(self.rows).cpu(), "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.names, self.counts, rows = list(state["names"]), list(state["counts"]), state["rows"]
        if rows.shape != (len(self.counts), len(self.names)) or not all(type(n) is int and n > 0 for n in self.counts):
            raise ValueError("the sums of the epoch under way do not fit together")
        self.rows = list(rows.to(device))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from `seed`, on the CPU and on `device`; the generators put back as they were at the end."""
    others = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(others, device_type=device.type if others else "cuda"):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode without gradients and with random numbers from `seed`; both put back as they were at the end."""
    device = next(model.parameters()).device
    was_training = model.training
    with seeded(seed, device), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)


def batches(split: Split, size: int = CHUNK) -> Iterator[Tensor]:
    """The observations of a split in order, (size, *x_shape) at a time."""
    for start in range(0, len(split), size):
        yield split.batch(slice(start, start + size))


def at_once(model: VAE, draws: int = 1) -> int:
    """How many observations to take at a time where nothing is trained: CHUNK, or fewer where they take much memory."""
    return max(1, min(CHUNK, model.rows_at_once() // draws))


def mean_metrics(model: VAE, objective: Objective, split: Split, step: int = 0, seed: int = 0) -> dict[str, float]:
    """The mean of each of the objective's metrics, and of its loss, over a split; nats per observation."""
    totals, draws = Totals(), getattr(objective, "n_samples", 1) * getattr(objective, "k", 1)
    with evaluating(model, seed):
        for x in batches(split, at_once(model, draws)):
            totals.add(objective(model, x, step))
    return totals.means()


def elbo_terms(model: VAE, x: Tensor, draws: int) -> dict[str, Tensor]:
    """Each observation's ELBO, log p(x|z) and KL divergence, (N,) each on the CPU, in nats: means over `draws` of z.

    Where so many do not fit into memory together, they are taken in several passes.
    """
    each = max(1, min(draws, model.rows_at_once() // len(x)))
    found = [ELBO(each)(model, x, 0).metrics for _ in range(-(-draws // each))]
    return {key: torch.stack([one[key] for one in found]).mean(0).cpu() for key in ("elbo", "log_px", "kl")}


def kl_per_dim(model: VAE, split: Split, seed: int = 0) -> Tensor | None:
    """The mean over a split of each latent's share of KL(q(z|x) || p(z)), (D,), in nats.

    None where the latents depend on each other under q(z|x) or p(z): the divergence is then no sum over latents.
    """
    total = torch.zeros(model.latent_dim)
    with evaluating(model, seed):
        p_z = model.prior(model.encode)
        for x in batches(split, at_once(model)):
            q_z = model.encode(x)
            if not (isinstance(q_z, Independent) and isinstance(p_z, Independent)):
                return None
            total += kl_divergence(q_z.base_dist, p_z.base_dist).sum(0).cpu()
    return total / len(split)


def mean_variances(model: VAE, split: Split, seed: int = 0) -> Tensor:
    """The variance over a split of the mean of each latent under q(z|x), (D,)."""
    with evaluating(model, seed):
        means = torch.cat([model.encode(x).mean.cpu() for x in batches(split, at_once(model))])
    return means.double().var(0, correction=0)


def active_units(model: VAE, split: Split, threshold: float = 0.01, seed: int = 0) -> Tensor:
    """Which latents, (D,) of truth values, have a posterior mean whose variance over the split is above `threshold`.

    Burda et al. (2016), section 5.
    """
    return mean_variances(model, split, seed) > threshold


def mean_squared_error(model: VAE, split: Split, seed: int = 0) -> float:
    """Of the mean of p(x|z) at the posterior's mean, averaged over all numbers that are not missing (NaN).

    Where the model works in standard units (dataset.standardize), the errors are in these.
    """
    total, count = 0.0, 0
    with evaluating(model, seed):
        for x in batches(split, at_once(model)):
            known = ~x.isnan()
            error = torch.where(known, model.decoder.error(model.decode(model.encode(x).mean).mean, x), 0.0)
            total, count = total + float(error.double().square().sum()), count + int(known.sum())
    return total / count


def calibrate(model: VAE, train: Split, seed: int = 0) -> None:
    """Set what the decoder takes from the whole training set for validation and evaluation; most take nothing.

    One pass: the squared error of the mean of p(x|z) for one draw of z from each q(z|x), the same at every call.
    """
    if model.decoder.calibrate is None:
        return
    with evaluating(model, seed):
        parts = ((x, model(x).p_x.mean[0]) for x in batches(train, at_once(model)))
        errors = [model.decoder.error(mean, x).square().flatten(1).mean(1) for x, mean in parts]
    model.decoder.calibrate(float(torch.cat(errors).cpu().double().mean()))


def has_mass(model: VAE, split: Split) -> bool:
    """Whether the decoder gives every observation a probability, not a density: only then are bits per dimension."""
    with evaluating(model):
        support = model.decode(next(model.parameters()).new_zeros(1, model.latent_dim)).support
        if support is None or not support.is_discrete:
            return False
        return all(bool(support.check(x).all()) for x in batches(split))


def drawn_once(split: Split, seed: int = 0) -> Split:
    """A split whose pixels are redrawn at each use with one draw put in their place; others as they are."""
    if not split.redraw:
        return split
    with seeded(seed, split.device):
        drawn = torch.cat([x.to(torch.uint8) for x in batches(split)])
    return Split(drawn, split.y, rows=split.rows)


def decode_all(model: VAE, z: Tensor, draw: bool = False) -> Tensor:
    """The mean of p(x|z), or a draw from it, for latents z (N, D): (N, *x_shape) on the CPU, a chunk at a time."""
    check_memory(4 * len(z) * math.prod(model.x_shape), f"{len(z):,} observations", "ask for fewer")
    return torch.cat([decode_part(model, part, draw).cpu() for part in z.split(at_once(model))])


def decode_part(model: VAE, z: Tensor, draw: bool) -> Tensor:
    """The mean of p(x|z), or a draw from it, for latents z (N, D) at once; UserError where it is not finite."""
    p_x = model.decode(z)
    try:
        mean = finite("what the decoder makes of these latents", p_x.mean)
    except NotImplementedError:  # a distribution of the user's own, of which draws are all there is
        return p_x.sample()
    return p_x.sample() if draw else mean


def finite(what: str, values: Tensor) -> Tensor:
    """`values`; UserError where one of them is not finite: weights that are numbers may still be absurd ones."""
    if not bool(values.isfinite().all()):
        raise UserError(f"{what} is not finite: the weights of this checkpoint are of no use, or the latents far out")
    return values
