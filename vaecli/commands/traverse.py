"""`vae traverse`: moves one latent at a time through its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vaecli.analysis.latent_space import check_dims, prior_moments, traverse
from vaecli.analysis.metrics import ACTIVE_VARIANCE, kl_per_dim, mean_variances
from vaecli.commands._inputs import load_split, observations_at
from vaecli.commands._keys import MODES, DrawKeys, Steps
from vaecli.commands._outputs import write_figure
from vaecli.datasets.split import Split
from vaecli.models.inference import evaluating
from vaecli.models.load import Run
from vaecli.plots.style import latent, number, numbers
from vaecli.utils.types import NonNegativeInt, Part, Seed, Span

LEAST_KL = 0.1  # nats: a latent with less hardly changes the decoding


@dataclass
class Config(DrawKeys):
    FILE = "traversals.png"
    split: Part
    steps: Steps
    span: Span
    index: NonNegativeInt | None
    dims: list[NonNegativeInt] | None
    seed: Seed


def main(config: Config, run: Run) -> Path:
    """Write the picture, the latents with the most information about the data first; returns its path."""
    split, start, view = load_split(run, config.split), None, config.view(run)
    if config.dims is not None:
        check_dims(run.model, config.dims)
    if config.index is not None:
        x = observations_at(run, split, config.split, [("index", config.index)], config.seed).x
        with evaluating(run.model):
            start = run.model.encode(x).mean[0]
    shown = choose(run, split, config, view.most_rows(config.steps))
    traversal = traverse(run.model, config.steps, config.span, start, shown.dims)
    title = ["one latent moved at a time", MODES["mean"], *shown.left_out]
    if start is not None:
        title.append(f"from the code of {config.split} observation {config.index}")
    if not prior_moments(run.model).standard:
        title.append("in standard deviations from the prior's mean")
    steps, heading = numbers(traversal.values.numpy()), config.heading(run, ", ".join(title))
    write_figure(config.target, view.strips(traversal.x, shown.labels, steps, heading))
    for line in shown.left_out:
        print(f"{line}; dims=[...] chooses others")
    return config.target


class Shown(NamedTuple):
    """The latents of a picture, in its order."""

    dims: list[int]
    labels: list[str]
    left_out: list[str]  # remarks on the latents that are not drawn


def choose(run: Run, split: Split, config: Config, most: int) -> Shown:
    """The latents asked for, or those in use, with the most information first; at most `most`."""
    says, name, least = kl_per_dim(run.model, split, config.seed), "KL", LEAST_KL
    if says is None:
        says, name, least = mean_variances(run.model, split, config.seed), "variance", ACTIVE_VARIANCE
    order = [dim for dim in says.argsort(descending=True, stable=True).tolist() if dim in (config.dims or [dim])]
    used = order if config.dims else [dim for dim in order if says[dim] >= least] or order[:1]
    left_out = []
    if len(used) < len(order):
        left_out.append(f"{len(order) - len(used)} of {len(order)} latents left out ({name} below {least:g})")
    if len(used) > most:
        left_out.append(f"the first {most} of {len(used)}")
    dims = used[:most]
    return Shown(dims, [f"{latent(dim)}   {name} {number(float(says[dim]), 2)}" for dim in dims], left_out)
