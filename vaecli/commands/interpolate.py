"""`vae interpolate`: from the code of one observation to that of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch

from vaecli.analysis.latent_space import interpolate
from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import Observations, check_indices, load_split, observations_at, read_input, select
from vaecli.commands._keys import MODES, DrawKeys, ObservedKeys, Steps
from vaecli.models.inference import evaluating
from vaecli.models.load import Run
from vaecli.utils.schema import check_arguments, check_value
from vaecli.utils.text import figure
from vaecli.utils.types import NonNegativeInt


@dataclass
class Config(ObservedKeys, DrawKeys):
    FILE = "interpolation.png"
    from_: NonNegativeInt  # the key `from`, which Python reserves
    to: NonNegativeInt
    steps: Steps
    path: Literal["linear", "spherical"]

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        rest = {key: value for key, value in values.items() if key != "from"}
        start = check_value("from", values["from"], NonNegativeInt)
        return cls(from_=start, **check_arguments(cls, rest, supplied=("from_",)))


def main(config: Config, run: Run) -> Path:
    """Write the picture, with an observation at each end; returns its path."""
    ends = ends_of_path(run, config)
    with evaluating(run.model):
        codes = run.model.encode(ends.x).mean
    between = interpolate(run.model, codes[0], codes[1], config.steps, config.path)
    x = ends.x.cpu()
    strip = torch.cat([x[:1], between.x, x[1:]]).unsqueeze(0)
    labels = [f"data {config.from_}", *(f"{t:.2f}" for t in torch.linspace(0, 1, config.steps)), f"data {config.to}"]
    where = f"the {config.split} split" if config.input is None else figure(Path(config.input).name)
    names = " and ".join(ends.titles())
    title = f"{config.path} path between the codes of observations {names} of {where}, {MODES['mean']}"
    view = config.view(run)
    write_figure(config.target, view.strips(strip, [""], labels, config.heading(run, title), mark=[0, -1]))
    return config.target


def ends_of_path(run: Run, config: Config) -> Observations:
    """The two observations, of the file or of the split."""
    named = [("from", config.from_), ("to", config.to)]
    if config.input is not None:
        seen, what = read_input(run, config.input), f"input={config.input}"
        check_indices(named, what, len(seen.x))
        return select(seen, what, None, [i for _, i in named])
    return observations_at(run, load_split(run, config.split), config.split, named, config.seed)
