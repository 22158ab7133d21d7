"""`vae sample`: new observations from a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vaecli.build import load_run
from vaecli.commands.common import Checkpoint, Mode, output_path, run_view, write_arrays
from vaecli.evaluation import decode_all, evaluating
from vaecli.training.logger import save_figure
from vaecli.validation import NonNegativeFloat, PositiveInt, Seed, check_arguments


@dataclass
class Config:
    run: str
    checkpoint: Checkpoint
    n: PositiveInt
    mode: Mode
    temperature: NonNegativeFloat
    seed: Seed
    device: str
    output: str | None
    format: Literal["png", "npz"]


def main(values: dict[str, Any]) -> Path:
    """Write samples as a picture or as arrays; the path."""
    config = Config(**check_arguments(Config, values))
    run = load_run(config.run, config.checkpoint, config.device)
    path = output_path(config.output, run.folder, "samples", config.format)
    with evaluating(run.model, config.seed):
        z = run.model.sample_latents(config.n, config.temperature)
        x = decode_all(run.model, z, draw=config.mode == "draw")
    if config.format == "npz":
        write_arrays(path, x=x, z=z.cpu())
    else:
        save_figure(path, run_view(run).samples(x, f"{config.n} samples"))
    print(f"wrote {path}")
    return path
