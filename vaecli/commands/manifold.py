"""`vae manifold`: the decoder over a grid of two latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaecli.analysis.latent_space import manifold, prior_moments
from vaecli.commands._keys import MODES, DrawKeys, Steps
from vaecli.commands._outputs import write_figure
from vaecli.models.load import Run
from vaecli.utils.types import NonNegativeInt, Span


@dataclass
class Config(DrawKeys):
    FILE = "manifold.png"
    n: Steps | None
    span: Span
    dims: list[NonNegativeInt]
    spacing: Literal["linear", "quantile"]


def main(config: Config, run: Run) -> Path:
    """Write the picture; returns its path."""
    view = config.view(run)
    grid = manifold(run.model, config.n or view.default_grid_size, config.span, config.dims, config.spacing)
    across, up = config.dims
    standard = prior_moments(run.model).standard
    title = ["a grid of two latents", MODES["mean"]]
    if run.model.latent_dim > 2:
        title.append(f"all other latents at {'0' if standard else 'their mean'}")
    if not standard:
        title.append("in standard deviations from the prior's mean")
    heading = config.heading(run, ", ".join(title))
    write_figure(config.target, view.manifold(grid.x, grid.values, (across, up), heading))
    return config.target
