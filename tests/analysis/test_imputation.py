"""What is missing given what is there: against closed forms, and against quadrature over one latent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from support.configurations import composed
from support.making import build_vae
from torch import Tensor

from vaecli.analysis.imputation import conditional, draws_given, impute, interval
from vaecli.decoders.columns import Columns
from vaecli.decoders.wrapped import Filler, Masked
from vaecli.models.inference import evaluating
from vaecli.models.vae import VAE
from vaecli.utils.columns import ColumnKind

NAN = torch.nan
KINDS = [ColumnKind("real"), ColumnKind("positive"), ColumnKind("category", levels=3), ColumnKind("count", whole=True)]


def linear_gaussian() -> tuple[VAE, Tensor, Tensor]:
    """x = W z + b + noise of variance 1, z of two normal numbers; and b, and the covariance W W' + I."""
    config = composed("dataset=arrays", "dataset.path=a.csv", "decoder=gaussian_identity", "dataset.missing=mask",
                      "latent_dim=2", "architecture.hidden=[]")  # fmt: skip
    torch.manual_seed(0)
    model = build_vae(config, (4,)).double()
    output = model.decoder_network.output
    with torch.no_grad():
        output.weight.copy_(torch.randn(4, 2))
        output.bias.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    weight = output.weight.detach()
    return model, output.bias.detach(), weight @ weight.T + torch.eye(4)


def test_a_linear_gaussian_model_agrees_with_the_closed_form() -> None:
    """E and the quantiles of x_m given x_o are those of N(b_m + S_mo S_oo^-1 (x_o - b_o), S_mm - S_mo S_oo^-1 S_om)."""
    model, b, covariance = linear_gaussian()
    assert isinstance(model.decoder, Masked)
    assert any(isinstance(part, Filler) for part in model.modules())
    x = torch.tensor([[2.0, -1.0, NAN, NAN], [NAN, 0.3, 0.0, 2.0], [NAN, NAN, NAN, NAN]], dtype=torch.float64)
    found = impute(model, x, 100_000, complete=2000, seed=1)
    for i, row in enumerate(x):
        there, gone = (~row.isnan()).nonzero()[:, 0], row.isnan().nonzero()[:, 0]
        gain = covariance[gone][:, there] @ torch.linalg.inv(covariance[there][:, there])
        mean = b[gone] + gain @ (row[there] - b[there])
        spread = covariance[gone][:, gone] - gain @ covariance[there][:, gone]
        scale = spread.diagonal().sqrt()
        error = 5 * scale / found.ess[i] ** 0.5
        assert bool(((found.value[i, gone] - mean).abs() < error).all())
        for p, ends in ((0.05, found.low), (0.95, found.high)):
            exact = torch.from_numpy(scipy.stats.norm.ppf(p, mean, scale))
            assert bool(((ends[i, gone] - exact).abs() < 3 * error).all())  # a quantile's error is twice a mean's here
        assert torch.equal(found.complete[:, i, there], row[there].expand(2000, -1))
        drawn = found.complete[:, i, gone]
        assert bool(((drawn.mean(0) - mean).abs() < 6 * scale / 2000**0.5).all())
        if len(gone) > 1:
            torch.testing.assert_close(drawn.T.cov(), spread, rtol=0.25, atol=0.15)


def mixed() -> VAE:
    """One latent, columns of four kinds, weights that make them depend on it."""
    config = composed("dataset=arrays", "dataset.path=a.csv", "decoder=columns", "latent_dim=1",
                      "architecture.hidden=[8]")  # fmt: skip
    config["decoder"]["columns"] = [one.values() for one in KINDS]
    torch.manual_seed(3)
    model = build_vae(config, (4,)).double()
    rng = np.random.default_rng(0)
    t = rng.normal(size=500)
    x = np.c_[t, np.exp(t), np.digitize(t, [-0.5, 0.5]), rng.poisson(np.exp(1 + t))]
    assert isinstance(model.decoder, Columns)
    model.decoder.learn(lambda: iter([torch.from_numpy(x)]))
    with torch.no_grad():
        model.decoder_network.output.weight.mul_(1.5)
    return model.eval()


ROWS = torch.tensor([[0.4, NAN, NAN, 3.0], [NAN, 2.0, 1.0, NAN], [NAN, NAN, NAN, NAN], [0.4, NAN, 2.0, 0.0]]).double()


def by_quadrature(model: VAE, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The conditional means (d,), the probabilities of the category's codes (3,), and weights of a grid of z."""
    z = torch.linspace(-7, 7, 4001, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        p_x = model.decode(z)
        weights = (p_x.log_prob(row) + model.prior(model.encode).log_prob(z)).softmax(0)
        codes = torch.stack(
            [p_x.base_dist.log_prob(row.index_fill(0, torch.tensor(2), k))[:, 2].exp() for k in range(3)]
        )
    return weights @ p_x.mean, codes @ weights, weights


def test_one_latent_agrees_with_quadrature() -> None:
    """Means of numbers and the probability of the most likely category, within five standard errors."""
    model = mixed()
    k = 50_000
    found = impute(model, ROWS, k, KINDS, seed=2)
    for i, row in enumerate(ROWS):
        mean, codes, _ = by_quadrature(model, row)
        with evaluating(model, 2):
            draws = conditional(model, row.unsqueeze(0), 10_000)
        weights = draws.weights[:, 0]
        for j in row.isnan().nonzero()[:, 0].tolist():
            if j == 2:
                assert int(found.value[i, 2]) == int(codes.argmax())
                p = float(codes.max())
                assert float(found.probability[i, 2]) == pytest.approx(
                    p, abs=5 * (p * (1 - p) / float(found.ess[i])) ** 0.5
                )
                assert bool(found.low[i, 2].isnan())
                continue
            values = draws.mean[:, 0, j]
            spread = float((weights * (values - mean[j]).square()).sum() ** 0.5)
            assert float(found.value[i, j]) == pytest.approx(
                float(mean[j]), abs=5 * spread / float(found.ess[i]) ** 0.5
            )


def test_draws_given_a_column_agree_with_quadrature() -> None:
    """The same question asked the other way round: draws of the others, whose means are the conditional ones."""
    model = mixed()
    row = torch.tensor([[1.2, NAN, NAN, NAN]], dtype=torch.float64)
    x, ess = draws_given(model, row, 20_000, 200_000, seed=0)
    mean, codes, _ = by_quadrature(model, row[0])
    assert ess > 1000
    assert bool((x[:, 0] == 1.2).all())
    for j in (1, 3):
        error = 6 * float(x[:, j].std()) * (1 / 20_000 + 1 / ess) ** 0.5
        assert float(x[:, j].mean()) == pytest.approx(float(mean[j]), abs=error)
    shares = torch.bincount(x[:, 2].long(), minlength=3) / len(x)
    torch.testing.assert_close(shares.double(), codes, rtol=0, atol=0.02)


def test_an_encoder_that_is_wrong_costs_draws_and_not_truth() -> None:
    """With q(z|x) far from the posterior, the draws from the prior keep the estimate right."""
    model, b, covariance = linear_gaussian()
    with torch.no_grad():
        for parameter in model.encoder_network.parameters():
            parameter.zero_()
        next(p for p in reversed(list(model.encoder_network.parameters())) if p.ndim == 1)[:2] = 9.0  # q's mean
    x = torch.tensor([[2.0, -1.0, NAN, NAN]], dtype=torch.float64)
    found = impute(model, x, 100_000, seed=1)
    gain = covariance[2:, :2] @ torch.linalg.inv(covariance[:2, :2])
    mean = b[2:] + gain @ (x[0, :2] - b[:2])
    assert bool(((found.value[0, 2:] - mean).abs() < 10 / found.ess[0] ** 0.5).all())


def test_intervals_of_decimals_lie_between_numpys_quantiles() -> None:
    x, counts = torch.randn(40, 3, 2), torch.randint(1, 5, (40, 3))
    ends = interval(x, counts / counts.sum(0), 0.8)
    for i in range(3):
        many = np.repeat(x[:, i].numpy(), counts[:, i].numpy(), axis=0)
        for p, found in zip((0.1, 0.9), ends, strict=True):
            np.testing.assert_allclose(found[i], np.quantile(many, p, axis=0, method="inverted_cdf"))


def test_intervals_of_whole_numbers_are_the_shortest() -> None:
    x, w = torch.poisson(torch.full((60, 5, 2), 4.0)), torch.rand(60, 5)
    w = w / w.sum(0)
    low, high = interval(x, w, 0.9)
    for i, j in itertools.product(range(5), range(2)):
        inside = {
            (a, b): float(w[:, i][(x[:, i, j] >= a) & (x[:, i, j] <= b)].sum()) for a in range(12) for b in range(16)
        }
        assert inside[int(low[i, j]), int(high[i, j])] > 0.9 - 1e-5
        assert float(high[i, j] - low[i, j]) == min(b - a for (a, b), weight in inside.items() if weight > 0.9)
