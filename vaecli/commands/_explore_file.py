"""Writes the page of `vae explore output=page.html`: one file, without server or network."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from vaecli.commands._explore_map import Overview
from vaecli.commands._explore_page import Page
from vaecli.commands._explored import Explored
from vaecli.commands._keys import source
from vaecli.plots.explore.frame import Frame
from vaecli.plots.explore.pictures import ImagePicture, show
from vaecli.plots.explore.static import grid_size, numbers_of, static_page, stored
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_text

if TYPE_CHECKING:
    from vaecli.commands._explore_keys import Config

LARGEST = 6_000_000  # bytes
PROBES = 400  # places, besides the middles of all cells, at which blends are compared with the model


def write_page(config: Config, explored: Explored) -> None:
    """Write the page; UserError if it would be larger than 6 MB."""
    frame = Frame("")
    page = Page(Overview(explored, frame), frame)
    at = page.overview.dots
    n = grid_size(*numbers_of(page.picture, explored.run.model.x_shape))
    xs, ys = (np.linspace(*ends_of(at[:, i]), n) for i in (0, 1))
    exact = page.decodings(page.overview.plane.moved(page.z, np.stack(np.meshgrid(xs, ys), -1)))
    x = stored(page.picture, exact)
    largest, mean = blend_error(page, x, xs, ys)
    show(page.picture, exact[n // 2, n // 2])
    start = page.overview.place(page.z, page.height)
    page.map.mark.data = {"x": [float(start[0])], "y": [float(start[1])]}
    unit = "of the range from black to white" if isinstance(page.picture, ImagePicture) else "in the data's units"
    probed = (n - 1) ** 2 + PROBES
    notes = [
        f"Each decoding is blended from the four nearest of {n} x {n} computed in advance. At "
        f"{probed:,} places between them it differs from the model's own decoding by at most {largest:.3g} {unit} in "
        f"any number, and by {mean:.3g} on average.",
        *(["The other latents stay at their mean over the codes."] if len(page.z) > 2 else []),
        "Move the mouse over the map, touch it, or use the arrow keys.",
    ]  # fmt: skip
    words = {"heading": f"{explored.run.folder.title}: its latent space", "lead": lead(config, explored),
             "legend": page.overview.legend.text, "notes": notes}  # fmt: skip
    html = static_page(page.map, page.picture, x, xs, ys, words, explored.run.dataset.categories)
    if len(html.encode()) > LARGEST:
        raise UserError(
            f"output={config.output}: the page would have {len(html) / 1e6:.1f} MB, more than 6: give a smaller n"
        )
    replace_text(config.target, html)


def ends_of(values: np.ndarray) -> tuple[float, float]:
    """The ends of a grid that covers all values."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * max(high - low, 1e-6)
    return low - margin, high + margin


def blend_error(page: Page, x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> tuple[float, float]:
    """The largest and the mean absolute difference between what the page shows and the model's decodings.

    At the middles of all cells and at PROBES random places; images are compared in shades from 0 to 1.
    """
    i, j = (k.ravel() for k in np.meshgrid(np.arange(len(ys) - 1), np.arange(len(xs) - 1), indexing="ij"))
    rng = np.random.default_rng(0)
    more = rng.integers(0, len(i), PROBES)
    i, j = np.concatenate([i, i[more]]), np.concatenate([j, j[more]])
    s, t = (np.concatenate([np.full(len(i) - PROBES, 0.5), rng.random(PROBES)]) for _ in range(2))
    at = np.stack([xs[j] + s * (xs[1] - xs[0]), ys[i] + t * (ys[1] - ys[0])], -1)
    largest, total = 0.0, 0.0
    for part in np.array_split(np.arange(len(i)), -(-len(i) // 500)):
        exact = page.decodings(page.overview.plane.moved(page.z, at[part]))
        a, b, c, d = (x[i[part] + u, j[part] + v].astype(float) for u, v in ((0, 0), (0, 1), (1, 0), (1, 1)))
        w, h = (k[part].reshape(-1, *[1] * (a.ndim - 1)) for k in (s, t))
        blended = (1 - h) * ((1 - w) * a + w * b) + h * ((1 - w) * c + w * d)
        if isinstance(page.picture, ImagePicture):
            blended, exact = np.rint(blended) / 255, np.clip(page.picture.view.shades(exact), 0, 1)
        difference = np.abs(blended - exact)
        largest, total = max(largest, float(difference.max())), total + float(difference.mean()) * len(part)
    return largest, total / len(i)


def lead(config: Config, explored: Explored) -> str:
    """The sentence at the top: what the page shows, and which command made it."""
    what = f"The codes of {len(explored.codes):,} {config.split} observations"
    if explored.split is None:
        what = f"{len(explored.codes):,} draws from the prior (the data could not be read)"
    name = config.run if isinstance(config.run, str) else config.run[0]
    command = shlex.join(["vae", "explore", f"run={name}", f"split={config.split}", f"output={config.output}"])
    return f"{what} of {source(explored.run)}, made by: {command}"
