"""Figures of a trained model over a data set: active units, KL of each latent, errors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from vaecli.datasets.split import Split
from vaecli.models.inference import batches, evaluating, inference_batch_size
from vaecli.models.vae import VAE
from vaecli.objectives.elbo import ELBO

ACTIVE_VARIANCE = 0.01  # a latent is in use if its posterior mean has a larger variance over the data
LEAST_KL = 0.1  # nats: a latent with less hardly changes the decoding


def elbo_terms(model: VAE, x: Tensor, draws: int) -> dict[str, Tensor]:
    """Each observation's ELBO, log p(x|z) and KL divergence, (N,) each on the CPU, in nats: means over `draws` of z.

    If the draws do not fit into memory together, they are made in several passes.
    """
    each = max(1, min(draws, model.rows_at_once() // len(x)))
    passes = [ELBO(each)(model, x, 0).metrics for _ in range(-(-draws // each))]
    return {key: torch.stack([one[key] for one in passes]).mean(0).cpu() for key in ("elbo", "log_px", "kl")}


def kl_per_dim(model: VAE, split: Split, seed: int = 0) -> Tensor | None:
    """The mean over a split of each latent's share of KL(q(z|x) || p(z)), (D,), in nats.

    None if the latents depend on each other under q(z|x) or p(z): the divergence is then not a sum over latents.
    """
    total = torch.zeros(model.latent_dim)
    with evaluating(model, seed):
        p_z = model.prior(model.encode)
        for x in batches(split, inference_batch_size(model)):
            q_z = model.encode(x)
            if not (isinstance(q_z, Independent) and isinstance(p_z, Independent)):
                return None
            total += kl_divergence(q_z.base_dist, p_z.base_dist).sum(0).cpu()
    return total / len(split)


def mean_variances(model: VAE, split: Split, seed: int = 0) -> Tensor:
    """The variance over a split of the mean of each latent under q(z|x), (D,)."""
    with evaluating(model, seed):
        means = torch.cat([model.encode(x).mean.cpu() for x in batches(split, inference_batch_size(model))])
    return means.double().var(0, correction=0)


def active_units(model: VAE, split: Split, threshold: float = ACTIVE_VARIANCE, seed: int = 0) -> Tensor:
    """Which latents, (D,) of truth values, have a posterior mean whose variance over the split is above `threshold`.

    Burda et al. (2016), section 5.
    """
    return mean_variances(model, split, seed) > threshold


def mean_squared_error(model: VAE, split: Split, seed: int = 0) -> float:
    """The mean squared error of the mean of p(x|z) at the posterior's mean, over all numbers but missing ones (NaN).

    Where the model works in standard units (dataset.standardize), the errors are in these.
    """
    total, count = 0.0, 0
    with evaluating(model, seed):
        for x in batches(split, inference_batch_size(model)):
            known = ~x.isnan()
            error = torch.where(known, model.decoder.error(model.decode(model.encode(x).mean).mean, x), 0.0)
            total, count = total + float(error.double().square().sum()), count + int(known.sum())
    return total / count


def has_mass(model: VAE, split: Split) -> bool:
    """Whether the decoder gives every observation a probability, not a density; bits per dimension need that."""
    with evaluating(model):
        support = model.decode(next(model.parameters()).new_zeros(1, model.latent_dim)).support
        if support is None or not support.is_discrete:
            return False
        return all(bool(support.check(x).all()) for x in batches(split))
