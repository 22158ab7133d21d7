"""How close samples come to a table: figures that are known, and gaps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from vaecli.analysis.table_fit import column_fit, correlation_error, spread_error, table_fit
from vaecli.utils.columns import ColumnKind


def test_a_shifted_column_has_the_distance_of_its_distributions() -> None:
    """Of N(0, 1) and N(1, 1): 2 Phi(1/2) - 1."""
    rng = np.random.default_rng(0)
    data = np.where(rng.random(40_000) < 0.25, np.nan, rng.normal(size=40_000))
    fit = column_fit(data, rng.normal(1, 2, 40_000) / 2 + 0.5, coded=False)
    assert fit.missing == pytest.approx(0.25, abs=0.01)
    assert fit.distance == pytest.approx(2 * norm.cdf(0.5) - 1, abs=0.015)
    assert fit.samples == pytest.approx((1, 1), abs=0.02)


def test_categories_and_columns_without_a_value() -> None:
    data = np.array([[0.0, np.nan], [1.0, np.nan], [1.0, np.nan], [2.0, np.nan]])
    samples = np.array([[0.0, 1.0], [0.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    first, second = table_fit(data, samples, [ColumnKind("category", levels=4), ColumnKind("real")])
    assert first.distance == pytest.approx(0.5)  # shares .25 .5 .25 0 against .5 0 .25 .25
    assert second.missing == 1
    assert np.isnan(second.distance)
    assert spread_error([first]) == pytest.approx(abs(first.samples[1] / first.data[1] - 1))
    matrix = np.array([[1.0, 0.5, np.nan], [0.5, 1.0, 0.0], [np.nan, 0.0, 1.0]])
    assert correlation_error(matrix, np.eye(3)) == pytest.approx(0.25)
