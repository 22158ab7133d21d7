"""A linear decoder with the optimal scale is probabilistic PCA, whose maximum is known (Tipping and Bishop)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.runs import train
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vaecli.models.load import load_run, load_split


def maximum(x: Tensor, n_latents: int) -> tuple[float, float]:
    """The largest mean log p(x) of x (N, P) that a model with so many latents has, and its sigma."""
    p = x.shape[1]
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    variance = values[n_latents:].mean()
    log_det = values[:n_latents].log().sum() + (p - n_latents) * variance.log()
    return -0.5 * float(p * math.log(2 * math.pi) + log_det + p), float(variance.sqrt())


@pytest.mark.parametrize(
    ("epochs", "lr", "gap"), [(60, 0.04, 4e-3), pytest.param(600, 0.01, 1e-4, marks=pytest.mark.slow)]
)
def test_linear_networks_reach_the_greatest_likelihood(
    epochs: int, lr: float, gap: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The diagonal posterior costs nothing there: the columns of W come out orthogonal."""
    monkeypatch.chdir(tmp_path)
    words = (
        "decoder=gaussian_optimal",
        "architecture.hidden=[]",
        "latent_dim=2",
        f"epochs={epochs}",
        "optimizer=adam",
        f"optimizer.lr={lr}",
    )
    rest = (
        "dataset=digits",
        "scheduler=cosine",
        "dataset.val_size=0",
        "images.every_epochs=1000",
        "device=cpu",
        "output=run",
    )
    assert train(*words, *rest) == 0
    run = load_run("run", "last", "cpu")
    x = load_split(run, "train").batch(slice(None)).flatten(1).double()
    (linear,) = (part for part in run.model.decoder_network.modules() if isinstance(part, nn.Linear))
    w, b, sigma = linear.weight.detach().double(), linear.bias.detach().double(), float(run.model.decoder.sigma)
    log_p = MultivariateNormal(b, w @ w.T + sigma**2 * torch.eye(len(b), dtype=torch.float64)).log_prob(x).mean()
    best, scale = maximum(x, 2)
    assert 0 <= best - float(log_p) < gap  # of the 7.2 nats that the two latents are worth
    assert sigma == pytest.approx(scale, rel=2e-3)
    gram = w.T @ w
    assert abs(float(gram[0, 1])) < 0.05 * float(gram.diagonal().min())
