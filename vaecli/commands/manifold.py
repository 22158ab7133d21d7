"""`vae manifold`: the decoder over a grid of two latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vaecli.analysis.latent_space import manifold, prior_moments
from vaecli.commands._outputs import write_figure
from vaecli.commands._run import RunKeys, Steps, run_view
from vaecli.utils.text import say
from vaecli.utils.types import NonNegativeInt, Span


@dataclass
class Config(RunKeys):
    n: Steps | None
    span: Span
    dims: list[NonNegativeInt]
    spacing: Literal["linear", "quantile"]


def main(values: dict[str, Any]) -> Path:
    """Write the picture; its path."""
    config = Config.checked(values)
    run = config.load()
    path = config.output_path(run, "manifold", "png")
    view = run_view(run)
    grid = manifold(run.model, config.n or view.readable, config.span, config.dims, config.spacing)
    across, up = config.dims
    standard = prior_moments(run.model).standard
    others = None if run.model.latent_dim == 2 else f"all other latents at {'0' if standard else 'their mean'}"
    title = others if standard else "; ".join(["in standard deviations from the prior's mean", *filter(None, [others])])
    write_figure(path, view.manifold(grid.x, grid.values, (across, up), title))
    say(f"wrote {path}")
    return path
