"""The decimals of the numbers in written tables: those of the run's data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.kinds import decimals_of
from vaecli.models.load import Run, load_split
from vaecli.utils.columns import ColumnKind
from vaecli.utils.errors import UserError

SEEN = 10_000  # training rows that the decimals of a table without kinds are found in
OF_MEANS = 4  # decimals of means of whole numbers and of probabilities, which the data have none of


def with_data_decimals(run: Run, x: Tensor) -> Tensor:
    """x (N, P) of a model, its columns with no more decimals than those of the run's data.

    Unchanged if the columns have no kinds and the data cannot be read.
    """
    kinds = run.dataset.column_kinds
    if kinds is not None:
        return torch.stack(list(map(rounded, x.unbind(1), kinds)), 1)
    try:
        train = load_split(run, "train").head(SEEN)
    except UserError:
        return x
    seen, counts = train.batch(slice(0, len(train))).cpu(), counted(run)
    return torch.stack([as_seen(*columns, counts) for columns in zip(x.unbind(1), seen.unbind(1), strict=True)], 1)


def as_seen(x: Tensor, seen: Tensor, counts: bool) -> Tensor:
    """A column (N,) with the decimals of the numbers `seen` (M,), or OF_MEANS where it may hold their means.

    counts: the likelihood gives whole numbers probabilities, so that those of x which are not whole are means
    """
    known = seen[~seen.isnan()].double().numpy()
    decimals = decimals_of(np.unique(known), single=seen.dtype != torch.float64) if len(known) else None
    if decimals is None:
        return x
    if decimals == 0 and (counts or np.ptp(known) <= 1):
        decimals = OF_MEANS
    return x.double().round(decimals=decimals).to(x.dtype)


def counted(run: Run) -> bool:
    """Whether the decoder gives probabilities to values, not densities."""
    with torch.inference_mode():
        support = run.model.decode(next(run.model.parameters()).new_zeros(1, run.model.latent_dim)).support
    return support is not None and bool(support.is_discrete)


def rounded(x: Tensor, kind: ColumnKind) -> Tensor:
    """A column (N,) with the decimals of its kind (whole: none), and still with values that the kind can have."""
    decimals = 0 if kind.whole else kind.decimals
    if decimals is None:
        return x
    step, y = 10.0**-decimals, x.double().round(decimals=decimals)
    if kind.kind == "positive" and not kind.zeros:
        y = y.clamp(min=step)
    if kind.kind == "interval" and not kind.zeros and kind.low is not None and kind.high is not None:
        y = y.clamp(kind.low + step, kind.high - step)
    return y.to(x.dtype)
