"""`vae sample`: new observations from a trained model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from vaecli.analysis.imputation import draws_given
from vaecli.commands._decimals import with_data_decimals
from vaecli.commands._figures import write_figure
from vaecli.commands._given import Given, given_row
from vaecli.commands._inputs import read_latents
from vaecli.commands._keys import MODES, DrawKeys, Mode
from vaecli.commands._outputs import Chunks, by_title, column_titles, write_arrays, write_table
from vaecli.models.inference import INFERENCE_BATCH, decode_all, evaluating, observed_dtype
from vaecli.models.load import Run
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory
from vaecli.utils.progress import progress_bar
from vaecli.utils.text import figure, plural
from vaecli.utils.types import NonNegativeFloat, PositiveInt, Seed

MIN_GIVEN, DRAWS_FOR_EACH = 10_000, 20  # weighted draws where columns are given, at least, and for each sample
DEFAULT_SAMPLES = 64  # samples in a file, unless n is given


@dataclass
class Config(DrawKeys):
    FILE = "samples.{format}"
    n: PositiveInt | None
    z: str | None
    given: Given | None
    k: PositiveInt | None
    mode: Mode | None
    temperature: Annotated[NonNegativeFloat, Field(le=1e6)]  # beyond, float32 overflows
    seed: Seed
    format: Literal["png", "npz", "csv"]


def main(config: Config, run: Run) -> Path:
    """Write samples as a picture or as arrays; returns the path."""
    titles = column_titles(run) if config.format == "csv" else []
    if config.given is not None:
        return sample_given(config, run, config.given, titles)
    given = None if config.z is None else read_latents(run, config.z)
    view = config.view(run)
    n = config.n or (view.default_samples if config.format == "png" else DEFAULT_SAMPLES)
    most = view.most_samples if config.format == "png" else None
    mode = config.mode or ("draw" if view.show_draws or run.model.decoder.counts else "mean")
    if given is None:
        check_memory_for_samples(run, n, config.format, most)
    with evaluating(run.model, config.seed):
        z = run.model.sample_latents(n, config.temperature) if given is None else given
        drawn = z[:most]
        parts = drawn.split(INFERENCE_BATCH)
        x = (decode_all(run.model, part, draw=mode == "draw") for part in progress_bar("decoding", len(parts))(parts))
        if config.format == "npz":
            write_arrays(config.target, x=Chunks((len(z), *run.model.x_shape), x, observed_dtype(run.model)), z=z.cpu())
        elif config.format == "csv":
            write_table(config.target, by_title(run, titles, with_data_decimals(run, torch.cat(list(x)))))
        else:
            title = config.heading(run, f"{what(len(drawn), len(z), config)}, {MODES[mode]}")
            write_figure(config.target, view.samples(torch.cat(list(x)), title))
    if len(drawn) < len(z):
        print(f"drew the first {len(drawn)} of {len(z)}; format=npz writes them all")
    return config.target


def sample_given(config: Config, run: Run, given: Given, titles: list[str]) -> Path:
    """Write draws of whole observations of which some columns are given, from weighted draws."""
    if config.z is not None or config.mode == "mean" or config.temperature != 1:
        raise UserError("given=: draws whole rows; leave z, mode and temperature out")
    row, view = given_row(run, given), config.view(run)
    n = config.n or (view.default_samples if config.format == "png" else DEFAULT_SAMPLES)
    k = config.k or max(MIN_GIVEN, DRAWS_FOR_EACH * n)
    check_memory(8 * k * row.shape[1], f"n={n}, k={k}", "ask for fewer")
    x, ess = draws_given(run.model, row, n, k, config.seed)
    if ess < n / 10:
        print(f"{n:,} samples from {ess:,.0f} effective draws: many are alike; raise k")
    if config.format == "npz":
        write_arrays(config.target, x=x)
    elif config.format == "csv":
        drawn = torch.where(row.cpu().isnan(), with_data_decimals(run, x), x)
        write_table(config.target, by_title(run, titles, drawn))
    else:
        said = ", ".join(f"{name} = {value}" for name, value in given.items())
        title = config.heading(run, f"{plural(n, 'sample')} given {figure(said)}, {MODES['draw']}")
        write_figure(config.target, view.samples(x[: view.most_samples], title))
    return config.target


def what(drawn: int, n: int, config: Config) -> str:
    """What a picture shows: how many of n samples, or of the given latents."""
    noun = "sample" if config.z is None else "given latent"
    shown = plural(n, noun) if drawn == n else f"the first {drawn:,} of {n:,} {noun}s"
    return shown + (f" at temperature {config.temperature:g}" if config.z is None and config.temperature != 1 else "")


def check_memory_for_samples(run: Run, n: int, format: str, most: int | None) -> None:
    """UserError if the latents, and the observations unless they are written in parts, would not fit into memory."""
    made = {"png": min(n, most or n), "csv": n, "npz": 0}[format]
    needed = 4 * (n * run.model.latent_dim + 2 * made * math.prod(run.model.x_shape))
    check_memory(needed, f"n={n}", "ask for fewer" if made == 0 else "ask for fewer, or use format=npz")
