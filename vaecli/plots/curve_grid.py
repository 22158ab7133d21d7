"""Curves on a grid of two latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vaecli.plots.style import (
    BLUE,
    DPI,
    LABEL,
    SCREEN,
    SMALL,
    TITLE,
    about_zero,
    canvas,
    heading,
    latent,
    limits,
    locator,
    numbers,
    round_ticks,
    tidy,
    zero_line,
)


def titled(
    grid: np.ndarray,
    x: np.ndarray,
    values: np.ndarray,
    dims: tuple[int, int],
    labels: tuple[str, str],
    title: str | None,
) -> Figure:
    """x (n, n, P) on grid (P,), each in small axes titled with its z; labels: of the grid and of the curves' values."""
    n, printed = len(values), numbers(values)
    scales: Mapping[str, Any] = {"xlim": limits(grid, pad=0.02), "ylim": about_zero(x)}
    figure, cells = _cells(n, title)
    for i in reversed(range(n)):
        for j in range(n):
            ax = figure.add_axes(cells[n - 1 - i][j], xticks=[], yticks=[], **scales)
            ax.plot(grid, x[i, j], color=BLUE, linewidth=1.4)
            ax.set_title(f"({printed[j]}, {printed[i]})", fontsize=SMALL, pad=2)
            zero_line(ax)
            tidy(ax)
            if i == 0:
                ax.xaxis.set_major_locator(locator(3))
            if j == 0:
                ax.yaxis.set_major_locator(locator(5))
    across = f"{labels[0]}      ({latent(dims[0])} grows to the right, {latent(dims[1])} upwards)"
    figure.supxlabel(across, fontsize=LABEL, y=0.08 / figure.get_figheight(), va="bottom")
    figure.supylabel(labels[1], fontsize=LABEL, x=0.08 / figure.get_figwidth(), ha="left")
    return figure


def untitled(grid: np.ndarray, x: np.ndarray, values: np.ndarray, dims: tuple[int, int], title: str | None) -> Figure:
    """x (n, n, P), all in one axes and on one scale, between the values of the two latents."""
    n, (low, high), (left, right) = len(values), about_zero(x), limits(grid, pad=0.0)
    figure = canvas(0.8 * SCREEN[0], SCREEN[1], title)
    ax = figure.subplots()
    rows, columns = np.indices((n, n))[..., None]
    across = columns + 0.06 + 0.88 * np.broadcast_to((grid - left) / (right - left), x.shape)  # (n, n, P)
    up = rows + 0.06 + 0.88 * (x - low) / (high - low)
    lines = np.stack([across, up], axis=-1).reshape(n * n, -1, 2)
    ax.add_collection(LineCollection(list(lines), colors=BLUE, linewidths=1.2 if n <= 30 else 0.7))
    places, labels = round_ticks(values)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(np.arange(n + 1), minor=True)
        axis.set_ticks(places + 0.5, labels)
    ax.grid(which="minor", color="#e4e4e4", linewidth=0.6)
    ax.tick_params(which="minor", length=0)
    ax.set(xlim=(0, n), ylim=(0, n))
    ax.set_xlabel(latent(dims[0]), fontsize=TITLE)
    ax.set_ylabel(latent(dims[1]), fontsize=TITLE)
    tidy(ax)
    return figure


def _cells(n: int, title: str | None) -> tuple[Figure, list[list[tuple[float, float, float, float]]]]:
    """A figure without layout, and the rectangles of n rows of n small axes in it, each with room for a title.

    Constrained layout would take seconds, and here all axes have the same size.
    """
    left, bottom, above, right = 0.75, 0.48, 0.22, 0.12  # inches
    across, up = min(max(1.16, 3.3 / n), SCREEN[0] / n), min(max(1.03, 2.4 / n), SCREEN[1] / n)
    width = left + n * across + right
    head = heading(title, width)
    top = max(head.height, 0.05)
    height = bottom + n * up + top
    figure = Figure((width, height), DPI, facecolor="white")
    head.draw(figure)
    tops = [height - top - row * up for row in range(n)]
    size = ((across - 0.28) / width, (up - above - 0.1) / height)
    return figure, [
        [((left + column * across) / width, (top - up + 0.1) / height, *size) for column in range(n)] for top in tops
    ]
