"""`vae sample`: new observations from a trained model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from vaecli.commands._inputs import read_latents
from vaecli.commands._keys import DataKeys, Mode, run_view
from vaecli.commands._outputs import Chunks, by_title, column_titles, write_arrays, write_figure, write_table
from vaecli.models.inference import CHUNK, decode_all, evaluating, observed_dtype
from vaecli.models.load import Run
from vaecli.utils.memory import check_memory
from vaecli.utils.progress import progress_bar
from vaecli.utils.types import NonNegativeFloat, PositiveInt, Seed

DRAWN = 10_000  # more would not be seen in a picture


@dataclass
class Config(DataKeys):
    FILE = "samples.{format}"
    n: PositiveInt
    z: str | None
    mode: Mode
    temperature: Annotated[NonNegativeFloat, Field(le=1e6)]  # beyond, float32 overflows
    seed: Seed
    format: Literal["png", "npz", "csv"]


def main(config: Config, run: Run) -> Path:
    """Write samples as a picture or as arrays; the path."""
    titles = column_titles(run) if config.format == "csv" else []
    given = None if config.z is None else read_latents(run, config.z)
    if given is None:
        refuse_too_many(run, config)
    with evaluating(run.model, config.seed):
        z = run.model.sample_latents(config.n, config.temperature) if given is None else given
        drawn = z[:DRAWN] if config.format == "png" else z
        parts = drawn.split(CHUNK)
        x = (
            decode_all(run.model, part, draw=config.mode == "draw")
            for part in progress_bar("decoding", len(parts))(parts)
        )
        if config.format == "npz":
            write_arrays(config.target, x=Chunks((len(z), *run.model.x_shape), x, observed_dtype(run.model)), z=z.cpu())
        elif config.format == "csv":
            write_table(config.target, by_title(titles, torch.cat(list(x))))
        else:
            what = f"{len(drawn)} samples" if given is None else f"{len(drawn)} given latents, decoded"
            write_figure(config.target, run_view(run).samples(torch.cat(list(x)), what))
    if len(drawn) < len(z):
        print(f"drew the first {len(drawn)} of {len(z)}; format=npz writes them all")
    return config.target


def refuse_too_many(run: Run, config: Config) -> None:
    """UserError where the latents, and the observations unless they are written as they are made, would not fit."""
    made = {"png": min(config.n, DRAWN), "csv": config.n, "npz": 0}[config.format]
    needed = 4 * (config.n * run.model.latent_dim + 2 * made * math.prod(run.model.x_shape))
    check_memory(needed, f"n={config.n}", "ask for fewer" if made == 0 else "ask for fewer, or use format=npz")
