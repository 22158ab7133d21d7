"""`vae traverse`: moves one latent at a time through its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vaecli.analysis.latent_space import check_dims, prior_moments, traverse
from vaecli.analysis.metrics import ACTIVE_VARIANCE, LEAST_KL, kl_per_dim, mean_variances
from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import Observations, check_indices, load_split, observations_at, read_input, select
from vaecli.commands._keys import MODES, DrawKeys, ObservedKeys, Steps
from vaecli.datasets.split import Split
from vaecli.models.inference import evaluating
from vaecli.models.load import Run
from vaecli.plots.style import latent, number, numbers
from vaecli.utils.text import figure
from vaecli.utils.types import NonNegativeInt, Span


@dataclass
class Config(ObservedKeys, DrawKeys):
    FILE = "traversals.png"
    steps: Steps
    span: Span
    index: NonNegativeInt | None
    dims: list[NonNegativeInt] | None


def main(config: Config, run: Run) -> Path:
    """Write the picture, the latents with the most information about the data first; returns its path."""
    if config.dims is not None:
        check_dims(run.model, config.dims)
    split, begin = read(run, config)
    start, view = None, config.view(run)
    if begin is not None:
        with evaluating(run.model):
            start = run.model.encode(begin.x).mean[0]
    shown = choose(run, split, config, view.most_rows(config.steps))
    traversal = traverse(run.model, config.steps, config.span, start, shown.dims)
    title = ["one latent moved at a time", MODES["mean"], *shown.left_out]
    if begin is not None:
        where = f"the {config.split} split" if config.input is None else figure(Path(config.input).name)
        title.append(f"from the code of observation {begin.titles()[0]} of {where}")
    if not prior_moments(run.model).standard:
        title.append("in standard deviations from the prior's mean")
    steps, heading = numbers(traversal.values.numpy()), config.heading(run, ", ".join(title))
    write_figure(config.target, view.strips(traversal.x, shown.labels, steps, heading))
    for line in shown.left_out:
        print(f"{line}; dims=[...] chooses others")
    return config.target


def read(run: Run, config: Config) -> tuple[Split, Observations | None]:
    """The observations of the file or of the split; and the one to start from, if any."""
    if config.input is None:
        split, named = load_split(run, config.split), [("index", i) for i in (config.index,) if i is not None]
        return split, observations_at(run, split, config.split, named, config.seed) if named else None
    seen, what = read_input(run, config.input), f"input={config.input}"
    index = 0 if config.index is None and len(seen.x) == 1 else config.index
    if index is None:
        return seen.split, None
    check_indices([("index", index)], what, len(seen.x))
    return seen.split, select(seen, what, None, [index])


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
        below = f"{name} below {least:g}{', as of the one drawn' * bool(says[used[0]] < least)}"
        left_out.append(f"{len(order) - len(used)} of {len(order)} latents not drawn ({below})")
    if len(used) > most:
        left_out.append(f"the first {most} of {len(used)}")
    dims = used[:most]
    return Shown(dims, [f"{latent(dim)}   {name} {number(float(says[dim]), 2)}" for dim in dims], left_out)
