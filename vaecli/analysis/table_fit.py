"""How close samples come to the rows of a table, column by column and in their correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from vaecli.utils.columns import CODED, ColumnKind


class ColumnFit(NamedTuple):
    """A column of the data and of samples; gaps are left out."""

    missing: float  # share of the data's cells
    data: tuple[float, float]  # mean and standard deviation, of codes where it is a category
    samples: tuple[float, float]
    distance: float  # between the two distributions, from 0 to 1: see `column_fit`


def column_fit(data: np.ndarray, samples: np.ndarray, coded: bool) -> ColumnFit:
    """data (N,) with NaN for gaps, samples (M,).

    The distance is the largest difference of the distribution functions (Kolmogorov and Smirnov). For categories
    (`coded`) it is half the sum of the absolute differences of their shares: the largest difference between the
    probabilities of any set of values.
    """
    known = data[np.isfinite(data)]
    if not len(known):
        return ColumnFit(1.0, (np.nan, np.nan), (float(samples.mean()), float(samples.std())), np.nan)
    if coded:
        values = np.union1d(known, samples)
        shares = [np.array([(x == value).mean() for value in values]) for x in (known, samples)]
        distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    else:
        distance = float(ks_2samp(known, samples).statistic)
    moments = [(float(x.mean()), float(x.std())) for x in (known, samples)]
    return ColumnFit(1 - len(known) / len(data), moments[0], moments[1], distance)


def table_fit(data: np.ndarray, samples: np.ndarray, kinds: Sequence[ColumnKind] | None) -> list[ColumnFit]:
    """The fit of each column of data (N, d) and samples (M, d)."""
    coded = [kinds is not None and kinds[j].kind in CODED for j in range(data.shape[1])]
    return [column_fit(data[:, j], samples[:, j], coded[j]) for j in range(data.shape[1])]


def spread_error(fits: Sequence[ColumnFit]) -> float:
    """The median over columns of |sd of the samples / sd of the data - 1|; columns that never vary are left out."""
    ratios = [abs(fit.samples[1] / fit.data[1] - 1) for fit in fits if fit.data[1] > 0]
    return float(np.median(ratios)) if ratios else np.nan


def correlation_error(data: np.ndarray, samples: np.ndarray) -> float:
    """The mean absolute difference of two matrices (d, d) of correlations, off the diagonal; NaN are left out."""
    off = ~np.eye(len(data), dtype=bool) & np.isfinite(data) & np.isfinite(samples)
    return float(np.abs(data - samples)[off].mean()) if off.any() else np.nan
