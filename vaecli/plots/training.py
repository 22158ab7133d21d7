"""The terms of the bound per epoch, from the lines of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaecli.plots.style import BLUE, LABEL, ORANGE, SMALL, canvas, limits, number, tidy

PANELS = (("elbo", "ELBO"), ("log_px", "log p(x|z)"), ("kl", "KL"))
SPLITS = (("train", BLUE, "-"), ("val", ORANGE, "--"))


def curves(history: Sequence[Mapping[str, Any]], run: str = "") -> Figure:
    """ELBO, log p(x|z) and KL in nats per observation over epochs, training solid and validation dashed.

    history: a dict per epoch and split with the keys epoch, split and the three terms; a bound that is not the ELBO
        (IWAE's) is drawn beside it
    run: its name
    """
    figure = canvas(6.4, 7.2, f"training\n{run}" if run else None)
    axes = figure.subplots(3, 1, sharex=True)
    bounds = [("elbo", "ELBO"), ("bound", "bound")] if _has_own_bound(history) else [("elbo", "ELBO")]
    for ax, (key, name) in zip(axes, PANELS, strict=True):
        _panel(ax, history, bounds if key == "elbo" else [(key, name)])
        ax.set_title(name, fontsize=LABEL, loc="left")
        ax.set_ylabel("nats per observation", fontsize=SMALL)
    if best := _best(history):
        axes[0].set_title(best, fontsize=SMALL, loc="right")
    if axes[0].lines:
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=LABEL, frameon=False
        )
    figure.align_ylabels(axes)
    axes[-1].set_xlabel("epoch", fontsize=LABEL)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def series(history: Sequence[Mapping[str, Any]], split: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (E,) in order and the values (E,) of one key on one split; for a repeated epoch the last entry counts."""
    by_epoch = {line["epoch"]: line[key] for line in history if line["split"] == split and line.get(key) is not None}
    epochs = sorted(by_epoch)
    return np.array(epochs, dtype=float), np.array([by_epoch[epoch] for epoch in epochs], dtype=float)


def view_limits(values: list[np.ndarray]) -> tuple[float, float]:
    """Axis limits for curves (E,): the first tenth of the epochs is ignored if it would flatten the rest."""
    whole = limits(*values)
    tail = limits(*(v[max(1, len(v) // 10) :] if len(v) > 3 else v for v in values), pad=0.15)
    return tail if whole[1] - whole[0] > 5 * (tail[1] - tail[0]) else whole


def _panel(ax: Axes, history: Sequence[Mapping[str, Any]], keys: list[tuple[str, str]]) -> None:
    drawn = []
    for k, (key, name) in enumerate(keys):
        for split, colour, line in SPLITS:
            epochs, values = series(history, split, key)
            if not len(epochs):
                continue
            label = f"{name}, {split}" if len(keys) > 1 else split
            marker = "o" if len(epochs) <= 20 else ""
            width = (1.6 if len(epochs) <= 200 else 1.0) / (k + 1)
            ax.plot(epochs, values, line, color=colour, marker=marker, markersize=4, linewidth=width, label=label)
            drawn.append(values)
            first = epochs[0]
    if drawn:
        ax.set_ylim(*view_limits(drawn))
    if drawn and max(map(len, drawn)) == 1:
        ax.set_xlim(first - 1, first + 1)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    tidy(ax)


def _has_own_bound(history: Sequence[Mapping[str, Any]]) -> bool:
    pairs = [(line["elbo"], line["bound"]) for line in history if line.get("bound") is not None]
    return any(abs(elbo - bound) > 1e-4 * abs(elbo) for elbo, bound in pairs)


def _best(history: Sequence[Mapping[str, Any]]) -> str:
    """The best validation bound and its epoch, in words; empty without validation."""
    name = "bound" if _has_own_bound(history) else "elbo"
    epochs, values = series(history, "val", name)
    if not np.isfinite(values).any():
        return ""
    best = int(np.nanargmax(values))
    return f"best val {name.replace('elbo', 'ELBO')} {number(values[best], 2)} at epoch {epochs[best]:.0f}"
