"""The density of a draw is a field of the model's output, and is right whatever becomes of the tensors."""

from __future__ import annotations

import pytest
import torch
from support.configurations import composed
from support.making import build_vae

from vaecli.analysis.importance_sampling import Widened
from vaecli.config.catalog import groups
from vaecli.models.vae import VAE
from vaecli.objectives.base import log_weight

POSTERIORS = groups()["posterior"]


def made(posterior: str) -> tuple[VAE, torch.Tensor]:
    torch.manual_seed(0)
    config = composed(f"posterior={posterior}", "latent_dim=3", "architecture.hidden=[8]", "decoder=gaussian")
    return build_vae(config, (5,)), torch.randn(4, 5)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_output_has_the_draws_density(posterior: str) -> None:
    model, x = made(posterior)
    out = model(x, 6)
    assert out.log_q.shape == (6, 4)
    torch.testing.assert_close(out.log_q, out.q_z.log_prob(out.z), rtol=1e-4, atol=1e-4)
    want = out.p_x.log_prob(x) + out.p_z.log_prob(out.z) - out.log_q
    assert torch.equal(log_weight(out, x), want)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_distributions_remember_no_draws(posterior: str) -> None:
    """`log_prob` is a function of z's values: what it gives for a draw, it gives for a copy, bit for bit."""
    model, x = made(posterior)
    q_z = model.encode(x)
    wide = Widened(q_z, 2.0)
    for one in (q_z, wide):
        z = one.rsample(torch.Size([3]))
        assert torch.equal(one.log_prob(z), one.log_prob(z.detach().clone()))
