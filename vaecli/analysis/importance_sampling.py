"""Estimates of log p(x) from weighted draws of z, a few draws and observations at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaecli.analysis.pareto import MIN_DRAWS, pareto_k, tail_length
from vaecli.datasets.split import Split
from vaecli.models.inference import batches, evaluating
from vaecli.models.vae import VAE, VAEOutput
from vaecli.objectives.base import closed_form_kl, log_weight
from vaecli.utils.distributions import DrawsWithDensity, draw
from vaecli.utils.ranks import gather_columns, rank, world
from vaecli.utils.threads import ordered_parallel_map

CPU_CHUNK = 2**20  # numbers in the widest activation of a thread's chunk: 4 MB, which stays in its cache
ACCELERATOR_CHUNK = 2**27
TEMPORARIES = 8  # tensors of that size that may be alive at once

Tick = Callable[[int], object]  # called with the number of units of work done


class Scores(NamedTuple):
    """Scores of N observations from k draws from q(z|x), in nats; each (N,), float64, on the CPU."""

    elbo: Tensor  # the mean of log w (estimator A): without variance where q(z|x) is the true posterior
    log_px: Tensor  # elbo + kl: the mean of log p(x|z), with log q(z|x) - log p(z) as a control variate
    kl: Tensor  # KL(q(z|x) || p(z)), in closed form where there is one
    nll: Tensor  # minus the log of the mean of w
    nll_mc_stderr: Tensor  # its Monte Carlo standard error by the delta method; NaN for k = 1
    ess: Tensor  # effective sample size of the weights, between 1 and k
    pareto_k: Tensor  # how heavy the weights' tail is, see `pareto`; NaN below 25 draws
    elbo_mc_stderr: Tensor  # of elbo; NaN for k = 1


class Estimated(NamedTuple):
    """Estimates of log p(x) from k draws from another proposal; fields as in Scores."""

    nll: Tensor
    nll_mc_stderr: Tensor
    ess: Tensor
    pareto_k: Tensor


class LogMean:
    """The log of the mean of weights w that arrive in chunks, and its error: running log-sum-exps of w and w^2.

    se^2 = 1/ESS - 1/k with ESS = (sum w)^2 / sum w^2, both (B,), in float64.
    k: how many weights there will be; the largest of them are kept for `pareto_k`
    """

    def __init__(self, k: int = 0) -> None:
        self.count = 0
        self.kept = tail_length(k) + 1 if k >= MIN_DRAWS else 0
        self.total = self.squares = self.shift = torch.zeros(())  # of log w; squares are of log w - shift
        self.log_sum = self.log_squares = torch.full((), -torch.inf)
        self.largest = torch.zeros(())

    def add(self, log_w: Tensor) -> None:
        """The log-weights (K, B) of K more draws for the same B observations."""
        log_w = (log_w.cpu() if log_w.device.type == "mps" else log_w).double()  # mps has no float64
        if not self.count:
            self.shift, self.largest = log_w.mean(0), log_w[:0]
        self.total, self.squares = self.total + log_w.sum(0), self.squares + (log_w - self.shift).square().sum(0)
        self.log_sum = self.log_sum.to(log_w).logaddexp(torch.logsumexp(log_w, 0))
        self.log_squares = self.log_squares.to(log_w).logaddexp(torch.logsumexp(2 * log_w, 0))
        both = torch.cat([self.largest, log_w])
        self.largest = both.topk(min(self.kept, len(both)), 0).values
        self.count += len(log_w)

    def mean_log(self) -> Tensor:
        """The mean of log w (B,)."""
        return self.total / self.count

    def mean_log_stderr(self) -> Tensor:
        """The standard error of `mean_log` (B,); NaN for a single draw."""
        variance = self.squares / self.count - (self.mean_log() - self.shift).square()
        return (variance.clamp_min(0) / (self.count - 1)).sqrt() if self.count > 1 else self.total * torch.nan

    def pareto_k(self) -> Tensor:
        """The shape of the weights' tail (B,); NaN for fewer than 25 weights."""
        return pareto_k(self.largest) if self.kept else torch.full_like(self.log_sum, torch.nan)

    def log_mean(self) -> Tensor:
        """The log of the mean of w (B,)."""
        return self.log_sum - math.log(self.count)

    def ess(self) -> Tensor:
        return torch.exp(2 * self.log_sum - self.log_squares)

    def stderr(self) -> Tensor:
        """The standard error of `log_mean` (B,); NaN for a single draw."""
        if self.count == 1:
            return torch.full_like(self.log_sum, torch.nan)
        return (1 / self.ess() - 1 / self.count).clamp_min(0).sqrt()  # rounding may leave -1e-16


def importance_weighted(
    model: VAE, split: Split, k: int, seed: int = 0, tick: Tick = lambda n: None, rows: int | None = None
) -> Scores:
    """The importance-weighted estimate L_k of log p(x), Burda et al. (2016), and the ELBO's terms from the same draws.

    tick: called with the number of decoder passes done; rows: decoder passes at once; None: as many as fit
        into the processor's cache or the GPU's memory
    """
    parts: list[tuple[int, Tensor]] = []
    with evaluating(model, seed):
        for start, _, q_z, p_z, sums in _summed_blocks(model, split, k, model.encode, tick, rows):
            elbo = sums.mean_log()
            kl = _kl(q_z, p_z, k).to(elbo)
            scores = Scores(elbo, elbo + kl, kl, *_of_weights(sums), sums.mean_log_stderr())
            parts.append((start, torch.stack(scores).cpu()))
    return Scores(*gather_columns(parts, len(split)))


def default_widening(model: VAE) -> float:
    """The factor on the scale of q(z|x) as a proposal: 2 for one or two latents, else 1; see `widened_estimate`."""
    return 2.0 if model.latent_dim <= 2 else 1.0


def widened_estimate(
    model: VAE,
    split: Split,
    k: int,
    widen: float = 2.0,
    seed: int = 0,
    tick: Tick = lambda n: None,
    rows: int | None = None,
) -> Estimated:
    """The importance-weighted estimate with a proposal `widen` times as wide as q(z|x), see `Widened`.

    Training makes q(z|x) lie inside the true posterior. If its tails are thinner, the weights have a heavy tail, which
    draws from q(z|x) seldom reach, so that their standard error does not show it. A wider proposal bounds the weights.
    It helps with one or two latents; with many it wastes the draws. Arguments as in `importance_weighted`.
    """
    return _estimate(model, split, k, lambda x: Widened(model.encode(x), widen), seed, tick, rows)


def proposed_estimate(model: VAE, split: Split, k: int, seed: int = 0, tick: Tick = lambda n: None) -> Estimated:
    """The importance-weighted estimate with the usual proposal: q(z|x), `default_widening` times as wide."""
    widen = default_widening(model)
    if widen != 1:
        return widened_estimate(model, split, k, widen, seed, tick)
    found = importance_weighted(model, split, k, seed, tick)
    return Estimated(found.nll, found.nll_mc_stderr, found.ess, found.pareto_k)


class Widened(DrawsWithDensity):
    """z = m + c (y - m), y ~ q, m = E y: log r(z) = log q(m + (z - m) / c) - D log c.

    For a Gaussian N(m, S) it is N(m, c^2 S).
    """

    def __init__(self, q_z: Distribution, factor: float) -> None:
        super().__init__(q_z.batch_shape, q_z.event_shape, validate_args=False)
        self.q_z, self.middle, self.factor = q_z, q_z.mean, factor

    def rsample_with_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        origin, log_q = draw(self.q_z, sample_shape)
        z = torch.lerp(self.middle, origin, self.factor)
        return z, log_q() - z.shape[-1] * math.log(self.factor)

    def log_prob(self, z: Tensor) -> Tensor:
        origin = torch.lerp(self.middle, z, 1 / self.factor)
        return self.q_z.log_prob(origin) - z.shape[-1] * math.log(self.factor)


def prior_estimate(
    model: VAE, split: Split, k: int, seed: int = 0, tick: Tick = lambda n: None, rows: int | None = None
) -> Estimated:
    """The log of the mean of p(x|z) over k draws from the prior, different ones for each observation.

    It is the importance-weighted estimate with the prior for a proposal. Arguments as in `importance_weighted`.
    """
    return _estimate(model, split, k, lambda x: model.prior(model.encode).expand((len(x),)), seed, tick, rows)


def _estimate(
    model: VAE, split: Split, k: int, propose: Callable[[Tensor], Distribution], seed: int, tick: Tick, rows: int | None
) -> Estimated:
    parts: list[tuple[int, Tensor]] = []
    with evaluating(model, seed):
        for start, *_, sums in _summed_blocks(model, split, k, propose, tick, rows):
            parts.append((start, torch.stack(_of_weights(sums)).cpu()))
    return Estimated(*gather_columns(parts, len(split)))


def _of_weights(sums: LogMean) -> Estimated:
    return Estimated(-sums.log_mean(), sums.stderr(), sums.ess(), sums.pareto_k())


class _Block(NamedTuple):
    """The B observations whose draws are being summed."""

    start: int  # the number of the first one
    x: Tensor  # (B, *x_shape)
    q_z: Distribution  # the proposal, batch (B,)
    p_z: Distribution
    sums: LogMean


def _summed_blocks(
    model: VAE, split: Split, k: int, propose: Callable[[Tensor], Distribution], tick: Tick, rows: int | None
) -> Iterator[_Block]:
    """The observations, a block at a time, each with the sums over k draws from its proposal.

    The processes of a run take the blocks in turn. Each makes the draws of all blocks, so that the draws are those of
    one process.
    """
    rows, like = rows or pairs_at_once(model), next(model.parameters())
    p_z = model.prior(model.encode)

    def jobs() -> Iterator[tuple[_Block, Callable[[], Tensor]]]:
        size = max(1, rows // k)
        for i, x in enumerate(batches(split, size)):
            x = x.to(like.device).to(like.dtype)  # quadrature's draws are of a copy in double precision
            block = _Block(i * size, x, propose(x), p_z, LogMean(k))
            for start in range(0, k, rows):
                z, log_q = draw(block.q_z, (min(rows, k - start),))
                if i % world() == rank():
                    yield block, partial(_log_weights, model, block, z, log_q)

    for block, log_w in ordered_parallel_map(jobs(), threads=torch.get_num_threads() if _on_cpu(model) else 0):
        block.sums.add(log_w)
        tick(log_w.numel())
        if block.sums.count == k:
            yield block


def _log_weights(model: VAE, block: _Block, z: Tensor, log_q: Callable[[], Tensor]) -> Tensor:
    return log_weight(VAEOutput(z, block.q_z, block.p_z, model.decode(z), log_q()), block.x)


def _kl(q_z: Distribution, p_z: Distribution, draws: int) -> Tensor:
    """KL(q || p), (B,): in closed form, or estimated from at most 5,000 draws."""
    exact = closed_form_kl(q_z, p_z)
    if exact is not None:
        return exact
    z, log_q = draw(q_z, (min(draws, 5000),))
    return (log_q() - p_z.log_prob(z)).mean(0)


def _on_cpu(model: VAE) -> bool:
    return next(model.parameters()).device.type == "cpu"


def pairs_at_once(model: VAE) -> int:
    """How many latents to decode at a time, by the decoder's widest activation and, on a GPU, the free memory."""
    device = next(model.parameters()).device
    numbers = CPU_CHUNK if _on_cpu(model) else ACCELERATOR_CHUNK
    if device.type == "cuda":
        numbers = min(numbers, torch.cuda.mem_get_info(device)[0] // (4 * TEMPORARIES))
    return max(1, numbers // widest_activation(model))


def widest_activation(model: VAE) -> int:
    """The most numbers that a layer of the decoder network emits for one latent."""
    sizes = [math.prod(model.x_shape)]
    with ExitStack() as hooks:
        for module in model.decoder_network.modules():
            hooks.enter_context(module.register_forward_hook(lambda module, args, out: sizes.append(out.numel())))
        model.decode(next(model.parameters()).new_zeros(1, model.latent_dim))
    return max(sizes)
