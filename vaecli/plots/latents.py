"""Figures of the posterior's means: each latent against the prior, and two against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from vaecli.plots.palette import CLASS_COLOURS
from vaecli.plots.style import (
    BLUE,
    DARK,
    LABEL,
    SCREEN,
    SMALL,
    array,
    canvas,
    evenly_spaced,
    latent,
    number,
    text_size,
    tidy,
    wrap,
)
from vaecli.utils import text

MARKERS = ("o", "^")
MAX_LABEL_LENGTH = 40  # characters of a label
MAX_SCATTERS = 4  # labels that are numbers, each with a scatter of its own


class Colouring(NamedTuple):
    """The colours of a scatter."""

    values: np.ndarray | None  # (N,): class numbers from 0, or a parameter
    name: str = ""  # the parameter's
    classes: Sequence[str] = ()  # the names of the classes; none for a parameter

    @property
    def many(self) -> bool:
        """Whether there are more classes than colours and markers can distinguish."""
        return len(self.classes) > len(CLASS_COLOURS) * len(MARKERS)


def latents(
    loc: Any,
    labels: Any,
    dims: tuple[int, int],
    kl: Any = None,
    label_names: Sequence[str] | None = None,
    prior: Any = None,
    title: str | None = None,
) -> Figure:
    """Histograms of up to eight latents beside the prior, and a scatter of two, coloured by their labels.

    A single latent, dims (0, 0), is drawn against the labels instead.

    loc (N, D) are posterior means; labels (N,) integers are classes, (N, d) or (N,) floats are parameters with a
    scatter each; kl (D,) in nats: the latents with the largest are drawn. dims count from 0, printed latents from 1.
    label_names name the classes, or the parameters, of which the first four are drawn.
    prior (M, D) are draws from the prior; None: it is N(0, I).
    """
    loc = array(loc)
    if loc.ndim != 2:
        raise ValueError(f"loc: expected the shape (N, D), got {loc.shape}")
    colourings, title = _first(_colourings(labels, label_names), title)
    rows, columns = (len(colourings), 1) if len(colourings) <= 2 else (-(-len(colourings) // 2), 2)
    right_width = 5.2 * columns + (0.9 if colourings[0].classes else 0.0)
    legend = 0.0 if colourings[0].many else sum(text_size(name, LABEL)[1] + 0.08 for name in colourings[0].classes)
    figure = canvas(4.0 + right_width, min(max(4.8, 4.4 * rows, legend + 0.4), SCREEN[1]), title)
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=[4.0, right_width]))
    priors = None if prior is None else array(prior, loc.shape[1], name="prior")
    _histograms(left, loc, None if kl is None else array(kl, loc.shape[1], name="kl"), priors)
    axes = right.subplots(rows, columns, squeeze=False)
    for ax, colouring in zip(axes.flat, colourings, strict=False):
        ax.set_xlabel(latent(dims[0]), fontsize=LABEL)
        if dims[0] == dims[1]:
            _against_label(ax, loc[:, dims[0]], colouring)
        else:
            ax.set_ylabel(latent(dims[1]), fontsize=LABEL)
            _scatter(ax, loc[:, list(dims)], colouring)
    for ax in axes.flat[len(colourings) :]:
        ax.remove()
    return figure


def _first(colourings: list[Colouring], title: str | None) -> tuple[list[Colouring], str | None]:
    """The first colourings, as many as a figure has room for, and the title, which says if there are more."""
    if len(colourings) <= MAX_SCATTERS:
        return colourings, title
    what, end, source = (title or "").partition("\n")
    return colourings[:MAX_SCATTERS], f"{what}, by the first {MAX_SCATTERS} of {len(colourings)} labels{end}{source}"


def _colourings(labels: Any, names: Sequence[str] | None) -> list[Colouring]:
    if labels is None:
        return [Colouring(None)]
    values = np.asarray(labels)
    if values.ndim == 1 and np.issubdtype(values.dtype, np.integer):
        kinds, codes = np.unique(values, return_inverse=True)
        if names or len(kinds) <= len(CLASS_COLOURS) * len(MARKERS):
            classes = [
                wrap(text.figure(names[kind], MAX_LABEL_LENGTH) if names else str(kind), 1.4, LABEL) for kind in kinds
            ]
            return [Colouring(codes, "class", classes)]
        return [Colouring(values.astype(float), "label")]
    columns = values.reshape(len(values), -1).T.astype(float)
    return [
        Colouring(column, text.figure(names[i], MAX_LABEL_LENGTH) if names else "label")
        for i, column in enumerate(columns)
    ]


def _histograms(figure: SubFigure, loc: np.ndarray, kl: np.ndarray | None, prior: np.ndarray | None) -> None:
    shown = np.arange(loc.shape[1]) if kl is None else np.argsort(-kl)
    shown = shown[:8]
    columns = 1 if len(shown) <= 4 else 2
    axes = figure.subplots(-(-len(shown) // columns), columns, squeeze=False, sharex=True)
    reach = max(4.0, view_reach(loc[:, shown].ravel()))
    bins = np.linspace(-reach, reach, int(np.clip(reach / 0.1, 40, 200)) + 1)
    t = np.linspace(-4.0, 4.0, 200)
    for ax, dim in zip(axes.flat, shown, strict=False):
        ax.hist(loc[:, dim], bins, density=True, histtype="stepfilled", color=BLUE, alpha=0.7)
        dashed: Mapping[str, Any] = {"color": DARK, "linewidth": 1.2, "linestyle": "--"}
        if prior is None:
            ax.plot(t, np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi), **dashed)
        else:
            ax.hist(prior[:, dim], bins, density=True, histtype="step", **dashed)
        name = latent(dim) if kl is None else f"{latent(dim)}   KL {number(kl[dim], 2)}"
        ax.set_title(name, fontsize=LABEL, pad=3)
        ax.set_yticks([])
        tidy(ax)
        ax.spines["left"].set_visible(False)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    name = "N(0, 1)" if prior is None else "draws from the prior"
    figure.supxlabel(f"posterior mean (dashed: {name})", fontsize=LABEL)


def view_reach(z: np.ndarray) -> float:
    """The range of an axis, from 0: to the farthest of z, unless a few lie far beyond all others."""
    distances = np.abs(z)
    return min(float(distances.max()), 1.6 * float(np.quantile(distances, 0.995)) + 0.5)


def _scatter(ax: Axes, z: np.ndarray, colouring: Colouring) -> None:
    """z (N, 2) in a square view about 0, with dashed circles of radius 1 to 5."""
    distances = np.abs(z).max(1)
    reach = max(5.1, 1.06 * view_reach(distances))
    beyond = int((distances > reach).sum())
    if beyond:
        ax.set_title(f"{beyond} of {len(z)} lie outside", fontsize=SMALL, loc="right", pad=3)
    ax.set_title("circles: 1 to 5 from the origin", fontsize=SMALL, loc="left", pad=3)
    for radius in range(1, 6):
        ax.add_patch(Circle((0, 0), radius, fill=False, color=DARK, alpha=0.7, linestyle="--", linewidth=0.8, zorder=3))
    size, values = float(np.clip(20000 / len(z), 3, 25)), colouring.values
    if values is None:
        ax.scatter(z[:, 0], z[:, 1], size, color=BLUE, alpha=0.5, linewidths=0)
    elif colouring.classes and not colouring.many:
        _classes(ax, z, values, colouring.classes, size)
    else:
        points = ax.scatter(z[:, 0], z[:, 1], size, c=values, cmap="viridis", linewidths=0)
        bar = ax.figure.colorbar(points, ax=ax, fraction=0.05, pad=0.02)
        bar.set_label(colouring.name, fontsize=LABEL)
        bar.ax.tick_params(labelsize=SMALL)
        if colouring.classes:
            places, names = _some_classes(colouring.classes)
            bar.set_ticks(places, labels=names)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    tidy(ax)


def _against_label(ax: Axes, z: np.ndarray, colouring: Colouring) -> None:
    """z (N,) to the right; upwards a parameter, or the classes, each spread over a band of its own."""
    values, spread = colouring.values, np.random.default_rng(0).uniform(-0.4, 0.4, len(z))
    if values is None or colouring.classes:
        values = spread + (0 if values is None else values)
        places, names = _some_classes(colouring.classes)
        ax.set_yticks(places, names)
        ax.set_ylabel("label" if colouring.classes else "", fontsize=LABEL)
    else:
        ax.set_ylabel(colouring.name, fontsize=LABEL)
    ax.scatter(z, values, float(np.clip(20000 / len(z), 3, 25)), color=BLUE, alpha=0.5, linewidths=0)
    reach = max(1.2, 1.06 * view_reach(z))
    ax.set_xlim(-reach, reach)
    tidy(ax)


def _some_classes(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The classes to name along an axis, and their names: all of up to 20, evenly spaced ones of more."""
    places = list(range(len(names))) if len(names) <= len(CLASS_COLOURS) * len(MARKERS) else evenly_spaced(len(names))
    return places, [names[i] for i in places]


def _classes(ax: Axes, z: np.ndarray, codes: np.ndarray, names: Sequence[str], size: float) -> None:
    """Points in the order they come, so that no class hides another, and a legend."""
    colours = np.array([CLASS_COLOURS[k % 10] for k in range(len(names))])
    for block, marker in enumerate(MARKERS):
        mine = codes // 10 == block
        ax.scatter(z[mine, 0], z[mine, 1], size, c=colours[codes[mine]], marker=marker, alpha=0.8, linewidths=0)
    entries = [
        Line2D([], [], color=colours[k], marker=MARKERS[k // 10], linestyle="", label=name)
        for k, name in enumerate(names)
    ]
    ax.figure.legend(handles=entries, loc="outside right center", frameon=False, fontsize=LABEL, handletextpad=0.2)
