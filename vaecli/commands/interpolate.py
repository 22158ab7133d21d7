"""`vae interpolate`: from the code of one observation to that of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vaecli.analysis.latent_space import interpolate
from vaecli.commands._inputs import load_split, pick
from vaecli.commands._outputs import write_figure
from vaecli.commands._run import Part, RunKeys, Steps, run_view
from vaecli.models.inference import evaluating
from vaecli.utils.schema import check_arguments, check_value
from vaecli.utils.text import say
from vaecli.utils.types import NonNegativeInt, Seed


@dataclass
class Config(RunKeys):
    split: Part
    from_: NonNegativeInt  # the key `from`, which Python reserves
    to: NonNegativeInt
    steps: Steps
    path: Literal["linear", "spherical"]
    seed: Seed


def main(values: dict[str, Any]) -> Path:
    """Write the picture, an observation at either end; its path."""
    rest = {key: value for key, value in values.items() if key != "from"}
    start = check_value("from", values["from"], NonNegativeInt)
    config = Config(from_=start, **check_arguments(Config, rest, supplied=("from_",)))
    run = config.load()
    path = config.output_path(run, "interpolation", "png")
    split = load_split(run, config.split)
    ends = pick(run, split, config.split, [("from", config.from_), ("to", config.to)], config.seed)
    with evaluating(run.model):
        codes = run.model.encode(ends.x).mean
    between = interpolate(run.model, codes[0], codes[1], config.steps, config.path)
    x = ends.x.cpu()
    strip = torch.cat([x[:1], between.x, x[1:]]).unsqueeze(0)
    labels = [f"data {config.from_}", *(f"{t:.2f}" for t in torch.linspace(0, 1, config.steps)), f"data {config.to}"]
    title = f"{config.path} path between the codes of two {config.split} observations"
    write_figure(path, run_view(run).strips(strip, [""], labels, title, mark=[0, -1]))
    say(f"wrote {path}")
    return path
