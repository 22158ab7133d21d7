"""`vae manifold`: the decoder over a grid of two latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaecli.analysis.latent_space import manifold, prior_moments
from vaecli.commands._figures import write_figure
from vaecli.commands._keys import MODES, DrawKeys, Steps
from vaecli.models.load import Run
from vaecli.plots.images import ImagePlots
from vaecli.utils.types import NonNegativeInt, Span


@dataclass
class Config(DrawKeys):
    FILE = "manifold.png"
    n: Steps | None
    span: Span
    dims: list[NonNegativeInt] | None
    spacing: Literal["linear", "quantile"]


def main(config: Config, run: Run) -> Path:
    """Write the picture; returns its path."""
    view, dims = config.view(run), most_used(run) if config.dims is None else config.dims
    wanted = config.n or view.default_grid_size
    n = min(wanted, view.most_grid) if isinstance(view, ImagePlots) else wanted
    grid = manifold(run.model, n, config.span, dims, config.spacing)
    across, up = dims
    standard = prior_moments(run.model).standard
    title = ["a grid of two latents", MODES["mean"]]
    if run.model.latent_dim > 2:
        title.append(f"all other latents at {'0' if standard else 'their mean'}")
    if not standard:
        title.append("in standard deviations from the prior's mean")
    heading = config.heading(run, ", ".join(title))
    write_figure(config.target, view.manifold(grid.x, grid.values, (across, up), heading))
    if n < wanted:
        print(f"{n} x {n} images instead of {wanted} x {wanted}: more would be too small to see on a screen")
    return config.target


def most_used(run: Run) -> list[int]:
    """The two latents with the largest KL when training ended; the first two if it is not a sum over latents."""
    kl = run.folder.known_summary().kl_per_dim
    if kl is None or None in kl or not 2 <= len(kl) == run.model.latent_dim:
        return [0, 1]
    return sorted(sorted(range(len(kl)), key=lambda dim: -(kl[dim] or 0.0))[:2])
