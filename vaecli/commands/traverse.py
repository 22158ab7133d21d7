"""`vae traverse`: one latent after the other moved through its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaecli.analysis.latent_space import check_dims, prior_moments, traverse
from vaecli.analysis.metrics import kl_per_dim, mean_variances
from vaecli.commands._inputs import load_split, pick
from vaecli.commands._keys import DataKeys, Steps, run_view
from vaecli.commands._outputs import write_figure
from vaecli.datasets.split import Part
from vaecli.models.inference import evaluating
from vaecli.models.load import Run
from vaecli.plots.style import latent, number, numbers
from vaecli.utils.types import NonNegativeInt, Seed, Span


@dataclass
class Config(DataKeys):
    FILE = "traversals.png"
    split: Part
    steps: Steps
    span: Span
    index: NonNegativeInt | None
    dims: list[NonNegativeInt] | None
    seed: Seed


def main(config: Config, run: Run) -> Path:
    """Write the picture, the latents that say most about the data first; its path."""
    split, start = load_split(run, config.split), None
    chosen = list(range(run.model.latent_dim)) if config.dims is None else config.dims
    check_dims(run.model, chosen)
    if config.index is not None:
        x = pick(run, split, config.split, [("index", config.index)], config.seed).x
        with evaluating(run.model):
            start = run.model.encode(x).mean[0]
    kl, name = kl_per_dim(run.model, split, config.seed), "KL"
    if kl is None:
        kl, name = mean_variances(run.model, split, config.seed), "variance"
    chosen = sorted(chosen, key=lambda dim: -float(kl[dim]))
    found = traverse(run.model, config.steps, config.span, start, chosen)
    labels = [f"{latent(dim)}   {name} {number(float(kl[dim]), 2)}" for dim in chosen]
    title = f"from the code of {config.split} observation {config.index}" if start is not None else None
    if not prior_moments(run.model).standard:
        title = "; ".join([*filter(None, [title]), "in standard deviations from the prior's mean"])
    steps = numbers(found.values.numpy())
    write_figure(config.target, run_view(run).strips(found.x, labels, steps, title))
    return config.target
