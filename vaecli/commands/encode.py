"""`vae encode`: the codes of observations as arrays, as a picture and as a TensorBoard embedding."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from vaecli.analysis.latent_space import Encoded, check_dims, encode, prior_moments
from vaecli.analysis.metrics import kl_per_dim
from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import observed
from vaecli.commands._keys import DrawKeys, ObservedKeys
from vaecli.commands._names import Names, label_columns
from vaecli.commands._outputs import write_arrays, write_table
from vaecli.commands._run import Written
from vaecli.datasets.split import Split
from vaecli.models.inference import batches, evaluating, inference_batch_size
from vaecli.models.load import Run
from vaecli.plots.images import ImagePlots
from vaecli.plots.latents import latents
from vaecli.plots.view import View
from vaecli.utils.command_line import tensorboard_command
from vaecli.utils.errors import UserError
from vaecli.utils.progress import progress_bar
from vaecli.utils.ranks import leads
from vaecli.utils.text import figure, for_tensorboard, plural
from vaecli.utils.types import NonNegativeInt

PRIOR_DRAWS = 10_000  # from the prior, for histograms of it
SPRITE_SIZE = 4096  # pixels: the largest width of the picture of all sprites that every browser accepts


@dataclass
class Config(ObservedKeys, DrawKeys):
    FILE = "latents.{format}"
    ALSO = (".png",)
    rows: str | None
    dims: list[NonNegativeInt] | None
    tensorboard: bool
    format: Literal["npz", "csv"]


def main(config: Config, run: Run) -> Iterator[Path | Written]:
    """Write the codes, and their picture next to them."""
    if config.dims is not None:
        check_dims(run.model, config.dims, 2)
    split, called = observed(run, config.split, config.input, config.rows)
    codes = encode(
        run.model, split, config.seed, progress_bar("encoding", -(-len(split) // inference_batch_size(run.model)))
    )
    kl = kl_per_dim(run.model, split, config.seed)
    picture, y = config.target.with_suffix(".png"), None if split.y is None else split.y.cpu()
    dims = scatter_dims(codes.loc.var(0) if kl is None else kl, config.dims)
    file = config.input or config.rows
    where = plural(len(split), f"{config.split} observation" if file is None else "observation")
    source = "" if file is None else f" of {figure(Path(file).name)}"
    title = config.heading(run, f"codes of {where}{source}")
    write_figure(picture, latents(codes.loc, y, dims, kl, called.classes, prior_draws(run), title))
    if config.format == "npz":
        write_arrays(config.target, loc=codes.loc, scale=codes.scale, **called.arrays(split))
    else:
        write_csv(config.target, codes, split, called)
    yield config.target
    yield picture
    if config.tensorboard and leads():
        n = embed(run, config.view(run), split, called.classes, codes, run.folder / "embedding", config.seed)
        yield Written(run.folder / "embedding", f": {n} of {len(split)} codes ({tensorboard_command(run.folder.path)})")


def prior_draws(run: Run) -> Tensor | None:
    """Draws (N, D) to compare codes with, if the prior is not the standard normal."""
    if prior_moments(run.model).standard:
        return None
    with evaluating(run.model):
        return run.model.sample_latents(PRIOR_DRAWS).cpu()


def scatter_dims(information: Tensor, dims: Sequence[int] | None) -> tuple[int, int]:
    """The latents to draw against each other: those asked for, or the two of most `information` (D,), in order."""
    if dims is None:
        dims = sorted(information.argsort(descending=True)[:2].tolist())
    return dims[0], dims[-1]


def write_csv(path: Path, codes: Encoded, split: Split, called: Names) -> None:
    """A line for each observation: loc_1 to loc_D, scale_1 to scale_D, its label or parameters, its row and file."""
    table: dict[str, Any] = {}
    for what, values in (("loc", codes.loc), ("scale", codes.scale)):
        table |= {f"{what}_{i + 1}": column for i, column in enumerate(values.unbind(1))}
    write_table(path, {**table, **called.columns(split)})


def embed(
    run: Run, view: View, split: Split, classes: Sequence[str] | None, codes: Encoded, folder: Path, seed: int
) -> int:
    """Write codes, labels and, of images, as many as one picture has room for, for TensorBoard's projector.

    An existing embedding is replaced once the new one is complete.
    """
    images = None
    if isinstance(view, ImagePlots):
        split = split.head((SPRITE_SIZE // max(run.model.x_shape[1:])) ** 2)
        with evaluating(run.model, seed):
            images = squares(torch.from_numpy(view.shades(torch.cat([x.cpu() for x in batches(split)]))))
    y = None if split.y is None else split.y.cpu()
    try:
        with tempfile.TemporaryDirectory(dir=run.folder, prefix=".embedding.") as temporary:
            made = Path(temporary, folder.name)
            write_embedding(str(made), codes.loc[: len(split)], images, y, classes)
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    except OSError as error:
        raise UserError(f"tensorboard=true: cannot write {folder} ({error.strerror or error})") from None
    return len(split)


def squares(x: Tensor) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as squares on black; missing values are grey."""
    down, across = (max(x.shape[-2:]) - side for side in x.shape[-2:])
    x = torch.where(x.isnan(), 0.5, x).clamp(0, 1)
    return pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))


def write_embedding(
    folder: str, z: Tensor, images: Tensor | None, y: Tensor | None, names: Sequence[str] | None
) -> None:
    """z (N, D), images (N, C, S, S) and labels into `folder`, as projector_config.pbtxt and the files it names."""
    from torch.utils.tensorboard import SummaryWriter

    metadata: list[Any] | None = None if y is None else y.tolist()
    header = None
    if y is not None and y.ndim > 1:
        header = [for_tensorboard(name) for name in label_columns(y, names)]
    elif y is not None and names and not y.is_floating_point():
        metadata = [for_tensorboard(names[k]) for k in y.tolist()]
    with SummaryWriter(folder) as events:
        events.add_embedding(z, metadata, images, global_step=0, tag="latents", metadata_header=header)
