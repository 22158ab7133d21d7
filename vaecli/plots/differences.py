"""How two or more models' scores differ: histograms of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vaecli.plots.style import BLUE, GREY, LABEL, ORANGE, canvas, tidy

MAX_HISTOGRAMS = 8  # histograms


def differences(values: Sequence[np.ndarray], labels: Sequence[str], title: str, width: float = 7.2) -> Figure:
    """A histogram of each of `values` (N,), nats, with 0 and the mean marked; `labels`: of their rows."""
    shown = list(zip(values, labels, strict=True))[:MAX_HISTOGRAMS]
    figure = canvas(width, 1.0 + 1.5 * len(shown), title)
    axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for ax, (one, label) in zip(axes, shown, strict=True):
        ax.hist(one, bins=min(60, max(10, len(one) // 10)), color=BLUE)
        ax.axvline(0, color=GREY, linewidth=1)
        ax.axvline(float(one.mean()), color=ORANGE, linewidth=1.5)
        ax.set_ylabel(label, fontsize=LABEL, rotation=0, ha="right", va="center")
        tidy(ax)
    axes[-1].set_xlabel("difference of log p(x) in nats, better on the right; orange: the mean", fontsize=LABEL)
    return figure
