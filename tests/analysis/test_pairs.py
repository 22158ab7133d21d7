"""Paired differences against their closed forms."""

from __future__ import annotations

import pytest
import torch

from vaecli.analysis.pairs import paired


def test_the_error_of_a_pair_is_that_of_the_differences() -> None:
    torch.manual_seed(0)
    hard, n = 10 * torch.randn(4000, dtype=torch.float64), 4000  # what both models find hard
    one, other = hard + 0.5 + torch.randn(n, dtype=torch.float64), hard
    found = paired(one, other, torch.full((n,), 0.3), torch.full((n,), 0.4))
    assert found.stderr == pytest.approx(1 / n**0.5, rel=0.05)
    assert abs(found.mean - 0.5) < 4 * found.stderr
    assert found.mc_stderr == pytest.approx(0.5 / n**0.5)
    normal = torch.distributions.Normal(0.0, 1.0)
    assert found.wins == pytest.approx(float(normal.cdf(torch.tensor(0.5))), abs=0.03)
    assert found.order[0] == found.difference.abs().argmax()


def test_equal_models_differ_by_nothing() -> None:
    x, none = torch.randn(10), torch.zeros(10)
    found = paired(x, x, none, none)
    assert (found.mean, found.stderr, found.wins) == (0, 0, 0.5)
