"""How two or more models' scores differ: histograms of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vaecli.plots.style import BLUE, GREY, LABEL, ORANGE, canvas, text_size, tidy, wrap

MAX_HISTOGRAMS = 8  # histograms
LABEL_WIDTH = 2.2  # inches


def differences(values: Sequence[np.ndarray], labels: Sequence[str], title: str, width: float = 7.2) -> Figure:
    """A histogram of each of `values` (N,), nats, with 0 and the mean marked; `labels`: of their rows."""
    shown = list(zip(values, labels, strict=True))[:MAX_HISTOGRAMS]
    texts = [wrap(label, LABEL_WIDTH, LABEL) for _, label in shown]
    rows = [max(1.5, text_size(text, LABEL)[1] + 0.3) for text in texts]
    figure = canvas(width, 1.0 + sum(rows), title)
    axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=rows)[:, 0]
    for ax, (one, _), text in zip(axes, shown, texts, strict=True):
        ax.hist(one, bins=min(60, max(10, len(one) // 10)), color=BLUE)
        ax.axvline(0, color=GREY, linewidth=1)
        ax.axvline(float(one.mean()), color=ORANGE, linewidth=1.5)
        ax.set_ylabel(text, fontsize=LABEL, rotation=0, ha="right", va="center")
        tidy(ax)
    figure.supxlabel("difference of log p(x) in nats, better on the right; orange: the mean", fontsize=LABEL)
    return figure
