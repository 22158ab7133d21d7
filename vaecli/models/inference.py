"""Uses a model without gradients: in evaluation mode, a batch at a time, with seeded random numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaecli.datasets.split import Split
from vaecli.decoders.wrapped import Standardizer
from vaecli.models.vae import VAE
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory
from vaecli.utils.random import seeded
from vaecli.utils.ranks import share_of, sharing, world

INFERENCE_BATCH = 500  # observations at a time, outside of training


@contextmanager
def evaluating(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode without gradients and with random numbers from `seed`; both are restored at the end."""
    device = next(model.parameters()).device
    was_training = model.training
    with seeded(seed, device), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)


def in_double(model: VAE) -> VAE:
    """A copy in double precision, on the model's device, or on the CPU if the device has no float64."""
    device = next(model.parameters()).device
    return copy.deepcopy(model).to("cpu" if device.type == "mps" else device).double()


def batches(split: Split, size: int = INFERENCE_BATCH) -> Iterator[Tensor]:
    """The observations of a split in order, (size, *x_shape) at a time."""
    for start in range(0, len(split), size):
        yield split.batch(slice(start, start + size))


def shared_batches(split: Split, size: int = INFERENCE_BATCH) -> Iterator[Tensor]:
    """This process's share of each of the `batches`; all of it, if the process is alone."""
    if world() == 1:
        yield from batches(split, size)
        return
    for start in range(0, len(split), size):
        share = share_of(min(size, len(split) - start))
        with sharing(share):
            if split.redraw:  # the pixels are those of the whole batch
                yield split.batch(slice(start, start + share.total))[share.rows]
            else:
                yield split.batch(slice(start + share.start, start + share.stop))


def inference_batch_size(model: nn.Module, draws: int = 1) -> int:
    """How many observations to take at a time outside of training; fewer where they are large."""
    rows = model.rows_at_once() if isinstance(model, VAE) else INFERENCE_BATCH * draws
    return max(1, min(INFERENCE_BATCH, rows // draws))


def observed_dtype(model: nn.Module) -> torch.dtype:
    """The type of observations: float64 if the model subtracts a mean that float32 cannot hold."""
    standardizer = find_standardizer(model)
    return torch.float32 if standardizer is None else standardizer.mean.dtype


def find_standardizer(model: nn.Module) -> Standardizer | None:
    """The module with mean and scale of the data; None if the model does not standardise them."""
    return next((part for part in model.modules() if isinstance(part, Standardizer)), None)


def fix_binarisation(split: Split, seed: int = 0) -> Split:
    """A split whose pixels would be redrawn at each use, with a single draw instead; other splits as they are."""
    if not split.redraw:
        return split
    with seeded(seed, split.device):
        drawn = torch.cat([x.to(torch.uint8) for x in batches(split)])
    return Split(drawn, split.y, rows=split.rows)


def decode_all(model: VAE, z: Tensor, draw: bool = False) -> Tensor:
    """The mean of p(x|z), or a draw from it, for latents z (N, D): (N, *x_shape) on the CPU, a chunk at a time."""
    check_memory(4 * len(z) * math.prod(model.x_shape), f"{len(z):,} observations", "ask for fewer")
    return torch.cat([mean_or_draw(model.decode(part), draw).cpu() for part in z.split(inference_batch_size(model))])


def mean_or_draw(p_x: Distribution, draw: bool = False) -> Tensor:
    """The mean of p(x|z), or a draw from it; UserError if it is not finite."""
    try:
        mean = finite("the decoder's output for these latents", p_x.mean)
    except NotImplementedError:  # a user's distribution without a mean in closed form
        return p_x.sample()
    return p_x.sample() if draw else mean


def finite(what: str, values: Tensor) -> Tensor:
    """`values`; UserError if one of them is not finite: finite weights may still be absurd."""
    if not bool(values.isfinite().all()):
        raise UserError(
            f"{what} is not finite: the weights of this checkpoint are unusable (try checkpoint=last), "
            "or the latents are far from the prior"
        )
    return values
