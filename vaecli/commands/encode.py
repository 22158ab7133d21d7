"""`vae encode`: the codes of observations as arrays, as a picture and as a TensorBoard embedding."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vaecli.commands.common import (
    Checkpoint,
    Part,
    class_names,
    load_split,
    output_path,
    read_input,
    run_view,
    watch,
    write_arrays,
    write_figure,
    write_table,
)
from vaecli.datasets.split import Split
from vaecli.errors import UserError, shorten
from vaecli.evaluation import at_once, batches, evaluating, kl_per_dim
from vaecli.latents import Encoded, check_dims, encode, prior_moments
from vaecli.plots.latents import latents
from vaecli.runs import Run, load_run
from vaecli.validation import NonNegativeInt, Seed, check_arguments

DRAWS = 10_000  # from the prior, for histograms of it
SHOWN = 200  # characters of a label's name: as an array, each would take as much as the longest
SPRITE_SIZE = 4096  # pixels: the widest picture of all sprites that browsers take everywhere


@dataclass
class Config:
    run: str
    checkpoint: Checkpoint
    split: Part
    input: str | None
    dims: list[NonNegativeInt] | None
    tensorboard: bool
    seed: Seed
    device: str
    output: str | None
    format: Literal["npz", "csv"]
    trust: list[str] = field(default_factory=list)


def main(values: dict[str, Any]) -> Path:
    """Write the codes, and their picture beside them; the path of the codes."""
    config = Config(**check_arguments(Config, values))
    run = load_run(config.run, config.checkpoint, config.device, config.trust)
    path = output_path(config.output, run.folder, "latents", config.format)
    if config.dims is not None:
        check_dims(run.model, config.dims, 2)
    split = load_split(run, config.split) if config.input is None else Split(read_input(run, config.input).x)
    codes = encode(run.model, split, config.seed, watch("encoding", -(-len(split) // at_once(run.model))))
    kl = kl_per_dim(run.model, split, config.seed)
    picture, y = path.with_suffix(".png"), None if split.y is None else split.y.cpu()
    dims = scatter_dims(codes.loc.var(0) if kl is None else kl, config.dims)
    write_figure(picture, latents(codes.loc, y, dims, kl, label_names(run), prior=prior_draws(run)))
    WRITERS[config.format](path, codes, split, label_names(run))
    print(f"wrote {path}\nwrote {picture}")
    if config.tensorboard:
        n = embed(run, split, codes, run.folder / "embedding", config.seed)
        print(f"wrote {run.folder / 'embedding'}: {n} of {len(split)} codes (tensorboard --logdir {run.folder})")
    return path


def prior_draws(run: Run) -> Tensor | None:
    """Draws (N, D) to compare codes with, where the prior is not the standard normal."""
    if prior_moments(run.model).standard:
        return None
    with evaluating(run.model):
        return run.model.sample_latents(DRAWS).cpu()


def scatter_dims(says: Tensor, dims: Sequence[int] | None) -> tuple[int, int]:
    """The latents to draw against each other: those asked for, or the two that say most (D,) in their own order."""
    if dims is None:
        dims = sorted(says.argsort(descending=True)[:2].tolist())
    return dims[0], dims[-1]


def label_names(run: Run) -> Sequence[str] | None:
    return getattr(run.dataset, "label_names", None)


def write_npz(path: Path, codes: Encoded, split: Split, names: Sequence[str] | None) -> None:
    classes = class_names(split.y, names)
    named = None if classes is None else np.array([shorten(name, SHOWN) for name in classes])
    write_arrays(path, loc=codes.loc, scale=codes.scale, labels=split.y, label_names=named, rows=split.rows)


def write_csv(path: Path, codes: Encoded, split: Split, names: Sequence[str] | None) -> None:
    """A line for each observation: loc_1 to loc_D, scale_1 to scale_D, its label or parameters, its row in the file."""
    table: dict[str, Any] = {}
    for what, values in (("loc", codes.loc), ("scale", codes.scale)):
        table |= {f"{what}_{i + 1}": column for i, column in enumerate(values.unbind(1))}
    if split.y is not None:
        y = split.y.cpu()
        table |= dict(zip(label_columns(y, names), y.reshape(len(y), -1).unbind(1), strict=True))
        if classes := class_names(y, names):
            table["label_name"] = [classes[k] for k in y.tolist()]
    write_table(path, {**table, "row": split.rows})


WRITERS = {"npz": write_npz, "csv": write_csv}


def label_columns(y: Tensor, names: Sequence[str] | None) -> list[str]:
    """What to call the columns of labels y (N,) or (N, d)."""
    d = y[0].numel()
    if names and y.is_floating_point() and len(names) == d:
        return list(names)
    return ["label"] if d == 1 else [f"label_{i + 1}" for i in range(d)]


def embed(run: Run, split: Split, codes: Encoded, folder: Path, seed: int) -> int:
    """Write codes, labels and sprites for TensorBoard's projector; of as many observations as one picture has room for.

    An embedding that stands there already is replaced when the new one is complete.
    """
    with evaluating(run.model, seed):
        sprites, room = [], SPRITE_SIZE
        for x in batches(split):
            sprites.append(torch.from_numpy(run_view(run).thumbnails(x.cpu())))
            room = (SPRITE_SIZE // sprites[0].shape[-1]) ** 2
            if sum(map(len, sprites)) >= room:
                break
    images = torch.cat(sprites)[:room]
    y = None if split.y is None else split.y[: len(images)].cpu()
    try:
        with tempfile.TemporaryDirectory(dir=run.folder, prefix=".embedding.") as temporary:
            made = Path(temporary, folder.name)
            write_embedding(str(made), codes.loc[: len(images)], images, y, label_names(run))
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    except OSError as error:
        raise UserError(f"tensorboard=true: cannot write {folder} ({error.strerror or error})") from None
    return len(images)


def write_embedding(folder: str, z: Tensor, images: Tensor, y: Tensor | None, names: Sequence[str] | None) -> None:
    """z (N, D), images (N, C, S, S) and labels into `folder`, as projector_config.pbtxt and the files it names."""
    from torch.utils.tensorboard import SummaryWriter

    metadata: list[Any] | None = None if y is None else y.tolist()
    header = None
    if y is not None and y.ndim > 1:
        header = label_columns(y, names)
    elif y is not None and names and not y.is_floating_point():
        metadata = [names[k] for k in y.tolist()]
    with SummaryWriter(folder) as events:
        events.add_embedding(z, metadata, images, global_step=0, tag="latents", metadata_header=header)
