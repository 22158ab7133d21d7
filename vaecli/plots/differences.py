"""How two or more models' scores differ: histograms of paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.plots.style import BLUE, GREY, LABEL, ORANGE, SMALL, canvas, number, text_size, tidy, wrap

MAX_HISTOGRAMS = 8  # histograms
LABEL_WIDTH = 2.2  # inches


def say_which_is_better(ax: Axes, values: np.ndarray) -> None:
    """On each side of 0, above the axes, which run is the better one and on how many observations; and the mean."""
    mean, right = float(values.mean()), int((values > 0).sum())
    above: Mapping[str, Any] = {"va": "bottom", "fontsize": SMALL, "transform": ax.transAxes}
    ax.text(0, 1.01, f"first run better: {int((values < 0).sum()):,}", ha="left", **above)
    ax.text(0.5, 1.01, f"orange: the mean, {number(mean, 2)}", ha="center", color=ORANGE, **above)
    ax.text(1, 1.01, f"this run better: {right:,}", ha="right", **above)


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
        say_which_is_better(ax, one)
    figure.supxlabel("difference of log p(x) in nats; the bars are numbers of observations", fontsize=LABEL)
    return figure
