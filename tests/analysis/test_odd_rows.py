"""Conformal p-values, what they promise, and a column's surprisal against the closed form."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from support.linear import Linear

from vaecli.analysis import odd_rows
from vaecli.analysis.odd_rows import (
    benjamini_hochberg,
    columns_given_others,
    least_rate,
    min_references,
    p_values,
    significant,
    unlike_gaps,
)


def test_p_values_count_what_is_no_higher() -> None:
    ordinary = torch.tensor([3.0, 1.0, 2.0, 2.0])
    scores = torch.tensor([0.0, 1.0, 2.0, 2.5, 9.0, -torch.inf, torch.nan])
    expected = [1 / 5, 2 / 5, 4 / 5, 4 / 5, 1.0, 1 / 5, 1 / 5]
    assert p_values(ordinary, scores).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.05, 0.01, 0.003])
def test_the_fewest_rows_for_a_rate(rate: float) -> None:
    n = min_references(rate)
    assert bool(significant(torch.tensor(least_rate(n), dtype=torch.float64), rate))
    assert n == 1 or least_rate(n - 1) > rate


@pytest.mark.parametrize(("n", "rate"), [(999, 0.05), (99, 0.01), (40, 0.05)])
def test_ordinary_rows_raise_at_most_that_share_of_alarms(n: int, rate: float) -> None:
    """Over 200 draws of rows to compare with: floor(rate (n + 1)) / (n + 1), up to 4 standard errors."""
    shares = torch.tensor(
        [float(significant(p_values(torch.randn(n), torch.randn(1000)), rate).double().mean()) for _ in range(200)]
    )
    expected = math.floor(rate * (n + 1) + 1e-9) / (n + 1)
    assert abs(float(shares.mean()) - expected) < 4 * float(shares.std()) / 200**0.5
    assert expected <= rate


def test_false_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    for _ in range(20):
        p = torch.rand(50, dtype=torch.float64) ** 3
        expected = torch.from_numpy(scipy.stats.false_discovery_control(p.numpy())) <= 0.1
        assert torch.equal(benjamini_hochberg(p, 0.1), expected)
    assert not benjamini_hochberg(torch.ones(3, dtype=torch.float64), 0.1).any()


def test_a_columns_surprisal_agrees_with_the_closed_form() -> None:
    """log p(x_j | the others) of a normal distribution, by its covariance."""
    linear = Linear(2, n=5)
    x = linear.split.batch(slice(None))
    found = columns_given_others(linear.model, x, 100_000)
    output = linear.model.decoder_network.output
    w, b = output.weight.detach().double(), output.bias.detach().double()  # type: ignore[union-attr]
    precision = torch.linalg.inv(w @ w.T + 0.25 * torch.eye(len(b), dtype=torch.float64))
    away = x.double() - b
    variance = 1 / precision.diagonal()
    offset = (away @ precision) * variance  # x_j less its mean given the others
    exact = -0.5 * (offset.square() / variance + variance.log() + math.log(2 * math.pi))
    torch.testing.assert_close(found, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize(("usual", "new", "n", "differ"), [
    (0.1, 0.0, 400, True), (0.0, 0.1, 400, True), (0.1, 0.1, 400, False), (0.1, 0.115, 9999, False),
    (0.1, 0.0, 1, False),
])  # fmt: skip
def test_shares_of_gaps_differ(usual: float, new: float, n: int, differ: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = ((500, usual), (n, new))
    both = [torch.where(torch.rand(rows, 6, generator=rng) < share, torch.nan, 0.5) for rows, share in shapes]
    assert (unlike_gaps(*both) is not None) == differ


def test_few_alarms_where_gaps_have_the_same_source() -> None:
    rng = torch.Generator().manual_seed(1)
    gaps = torch.rand(200, 80, 5, generator=rng) < 0.15
    x = torch.where(gaps, torch.nan, 0.5)
    assert sum(unlike_gaps(one[:50], one[50:]) is not None for one in x) <= 3  # 3 standard errors: 0.5 are expected


def test_a_constant_column_is_exactly_as_likely_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    given = torch.tensor([[1.0, 4e-17], [2.0, 0.0], [0.5, -4e-17], [1.5, torch.nan]], dtype=torch.float64)
    monkeypatch.setattr(odd_rows, "columns_given_others", lambda *rest: given)
    none = torch.zeros(2, 2)
    found = odd_rows.excess_surprisal(None, none, none, 1)  # type: ignore[arg-type]
    assert found[0].tolist() == [1.0, 0.0]
    assert found[1, 0] == 0
    assert found[1, 1].isnan()
