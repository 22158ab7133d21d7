"""Odd rows: their scores beside those of reference rows, and how much each column contributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from vaecli.plots.columns import one_line
from vaecli.plots.style import BLUE, DARK, FAINT, GREY, LABEL, ORANGE, SMALL, canvas, number, tidy

MAX_ROWS, MAX_COLUMNS = 10, 24
WRITTEN = 0.5  # nats: smaller excesses are not written into the map
FILLED: Mapping[str, Any] = {"histtype": "stepfilled", "color": GREY, "alpha": 0.5}


class ExcessSurprisal(NamedTuple):
    """How much less likely than usual each column of M odd rows is, given the others."""

    titles: Sequence[str]  # of d columns
    rows: Sequence[str]  # names of the rows
    values: np.ndarray  # (M, d), nats


def show_odd_rows(
    ordinary: np.ndarray, scores: np.ndarray, flagged: np.ndarray, excess: ExcessSurprisal | None, title: str
) -> Figure:
    """Histograms of the scores (n,) of reference rows and (N,) of the file's rows, nats; flagged: (N,), bool.

    excess: if given, a map of the oddest rows and their most conspicuous columns is drawn below.
    """
    rows = 0 if excess is None else min(len(excess.rows), MAX_ROWS)
    upper, lower = 2.6, 0.0 if excess is None else 1.6 + 0.28 * rows
    figure = canvas(7.2, upper + lower, title)
    if excess is None:
        histograms(figure.subplots(), ordinary, scores, flagged)
        return figure
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=[upper, lower]))
    histograms(above.subplots(), ordinary, scores, flagged)
    surprisal_map(below, excess)
    return figure


def histograms(ax: Axes, ordinary: np.ndarray, scores: np.ndarray, flagged: np.ndarray) -> None:
    """Reference rows grey and filled, the file's rows blue, flagged ones orange, as outlines that hide nothing.

    Very low scores are in the leftmost bar, and the axis says how many.
    """
    known = np.concatenate([part[np.isfinite(part)] for part in (ordinary, scores)])
    high = float(known.max(initial=-1e30)) if len(known) else 0.0
    left = float(np.min(ordinary[np.isfinite(ordinary)], initial=high - 1))
    edge = max(left - 2 * (high - left), float(known.min(initial=high - 1)))
    bins = np.linspace(edge, high + 1e-9, 60).tolist()
    drawn = {"compared with": (ordinary, FILLED), "not flagged": (scores[~flagged], outline(BLUE)),
             "flagged": (scores[flagged], outline(ORANGE))}  # fmt: skip
    for label, (values, style) in drawn.items():
        inside = np.clip(np.where(np.isfinite(values), values, edge), edge, high)
        ax.hist(inside, bins, label=f"{label}: {len(values):,}", **style)
    beyond = int((~(scores >= edge)).sum())  # minus infinity and NaN too
    said = f"; {beyond:,} of the rows below {number(edge, 1)}: leftmost bar" if beyond else ""
    ax.set_xlabel(f"log p(x) in nats; odd on the left{said}", fontsize=LABEL)
    ax.set_ylabel("rows, log scale", fontsize=LABEL)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, None)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.legend(fontsize=SMALL, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0)
    tidy(ax)


def outline(colour: str) -> Mapping[str, Any]:
    return {"histtype": "step", "color": colour, "linewidth": 1.6}


def surprisal_map(figure: SubFigure, excess: ExcessSurprisal) -> None:
    """A map with a line for each of the oddest rows, and the columns with the largest excess, written in nats."""
    shown = np.where(np.isnan(excess.values[:MAX_ROWS]), 0.0, excess.values[:MAX_ROWS])
    places = np.sort(np.argsort(-shown.max(0))[:MAX_COLUMNS])
    ax = figure.subplots()
    top = max(1.0, float(shown.max()))
    image = ax.imshow(shown[:, places], cmap="Oranges", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    for (row, place), value in np.ndenumerate(shown[:, places]):
        if value >= WRITTEN:
            colour = "white" if value > 0.6 * top else DARK
            ax.text(place, row, short(value), ha="center", va="center", fontsize=SMALL - 1.5, color=colour)
    for row in np.flatnonzero(shown.max(1) < WRITTEN).tolist():
        middle = (len(places) - 1) / 2
        ax.text(middle, row, "no column by itself", ha="center", va="center", fontsize=SMALL, color=FAINT)
    rows = [f"row {one_line(row, 1.0, SMALL)}" for row in excess.rows[:MAX_ROWS]]
    ax.set_yticks(range(len(shown)), rows, fontsize=SMALL)
    names = [one_line(excess.titles[i], 1.3, SMALL) for i in places]
    ax.set_xticks(range(len(places)), names, fontsize=SMALL, rotation=90 if len(places) > 6 else 0)
    ax.tick_params(length=0)
    bar = figure.colorbar(image, ax=ax)
    bar.set_label("nats less likely than usual,\ngiven the other columns", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def short(value: float) -> str:
    """Nats in few letters: 0.7, 12, 3k."""
    return (
        number(value, 1) if value < 9.95 else f"{value:.0f}" if value < 999.5 else EngFormatter(places=0, sep="")(value)
    )
