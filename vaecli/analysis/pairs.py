"""Paired differences: two models' scores of the same observations."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Paired(NamedTuple):
    """How much better one model scores each observation than another, and on average, in nats."""

    difference: Tensor  # (N,), float64: log p(x) of the one minus that of the other
    mean: float
    stderr: float  # of the mean, over observations; NaN for one
    mc_stderr: float  # of the mean, over the draws of both estimates
    wins: float  # share of the observations on which the difference is positive; half of those where it is 0 count

    @property
    def order(self) -> Tensor:
        """The observations, those that differ most first."""
        return self.difference.abs().argsort(descending=True, stable=True)


def paired(log_p: Tensor, other: Tensor, error: Tensor, other_error: Tensor) -> Paired:
    """The difference of two models' log p(x) (N,), whose Monte Carlo standard errors are given.

    An observation that is hard for one model is usually hard for the other, so that the mean difference is known much
    better than either mean: its standard error is the standard deviation of the differences over the root of N.
    """
    difference, n = (log_p - other).double(), len(log_p)
    stderr = float(difference.std() / n**0.5) if n > 1 else float("nan")
    mc_stderr = float((error.double().square() + other_error.double().square()).sum().sqrt() / n)
    wins = float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())
    return Paired(difference, float(difference.mean()), stderr, mc_stderr, wins)
