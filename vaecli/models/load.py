"""Loads a run's model and data from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from vaecli.config.instantiate import OptionFactory, Trust
from vaecli.datasets.base import Dataset
from vaecli.datasets.split import Split, Splits
from vaecli.models.build import build_vae
from vaecli.models.inference import evaluating
from vaecli.models.vae import VAE
from vaecli.runs import checkpoint
from vaecli.runs.access import NotPermitted, is_own, restrict_paths
from vaecli.runs.find import find_run
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import BEST, LAST
from vaecli.utils.device import pick_device
from vaecli.utils.errors import UserError
from vaecli.utils.schema import check_value
from vaecli.utils.types import Part, PositiveInt, Values


class Run(NamedTuple):
    """A trained model and where it comes from."""

    folder: RunFolder
    config: Values  # as the checkpoint has it
    model: VAE  # in evaluation mode, on the device asked for
    dataset: Dataset  # made from the configuration, its data not yet loaded
    epoch: int
    checkpoint: str  # best, last or ema
    forbidden_paths: Mapping[str, str]  # the data set's files that may not be read, by their keys

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def load_run(
    run: str,
    which: str = BEST,
    device: str = "auto",
    trust: Sequence[str] = (),
    data: Values | None = None,
) -> Run:
    """Rebuild the model of a run's checkpoint. Only classes of vaecli, and of the packages in `trust`, are built.

    data: keys of `dataset` that replace those of the run, such as the paths
    """
    allowed = Trust(tuple(trust))
    folder = find_run(run, which)
    path = folder.checkpoint(which)
    if not path.is_file() and which == BEST and folder.has(LAST):
        raise UserError(f"{folder} has no best checkpoint yet (no epoch was finished): use checkpoint=last")
    state, place = checkpoint.load(path), pick_device(device)
    try:
        model = rebuild(state, allowed)
        own = is_own(folder.known_summary().id, state["config"]["dataset"])
        chosen: Any = OptionFactory(state["config"], allowed).option_class("dataset")
        node, unread = restrict_paths(state["config"]["dataset"], folder.path, own, data or {}, chosen.localise)
        dataset = OptionFactory({"dataset": node}, allowed).make("dataset")
    except UserError:
        raise
    except Exception as error:  # the contents of a file can be inconsistent in any way
        raise UserError(f"{path} does not fit its own configuration: {checkpoint.summary(error)}") from None
    return Run(folder, state["config"], model.to(place).eval(), dataset, state["epoch"], which, unread)


def load_splits(run: Run, whole: bool = False) -> Splits:
    """The run's data, on the CPU; UserError if they may not or cannot be read.

    whole: also the rows that the run's dataset.rows or dataset.without_rows left out
    """
    if run.forbidden_paths:
        raise NotPermitted(run.folder.path, run.forbidden_paths)
    try:
        return run.dataset.load() if whole else run.dataset.splits()
    except UserError as error:
        raise UserError(f"this needs the data that {run.folder} was trained on: {error}") from None


def part_of(run: Run, splits: Splits, part: Part) -> Split:
    """One part of the run's data, on the model's device."""
    split: Split | None = getattr(splits, part)
    if split is None:
        raise UserError(f"split={part}: this run set no observations aside for it; use split=train or split=test")
    if split.x_shape != run.model.x_shape:
        wanted = f"expects observations of shape {run.model.x_shape}"
        raise UserError(f"{run.folder}: the model {wanted}, but its data set's have {split.x_shape}")
    return split.to(run.device)


def load_split(run: Run, part: Part) -> Split:
    return part_of(run, load_splits(run), part)


def rebuild(state: Values, trust: Trust) -> VAE:
    """The model that a checkpoint's configuration describes, with its weights; any exception if they do not fit.

    It is built on the meta device and then takes over the file's tensors, so that memory is used for the contents of
    the file, not for what its configuration claims.
    """
    config, weights = state["config"], state["model"]
    latent_dim = check_value("latent_dim", config.get("latent_dim"), PositiveInt)
    room = sum(tensor.numel() for tensor in weights.values())
    if latent_dim > room:
        raise ValueError(f"latent_dim={latent_dim}, but there are only {room} weights")
    with torch.device("meta"), limit_parameters(4 * len(weights) + 100):
        model = build_vae(OptionFactory(config, trust), latent_dim, tuple(state["x_shape"]))
    model.measure()
    for name, expected in model.state_dict().items():
        tensor = weights.get(name)
        if tensor is not None and tensor.dtype != expected.dtype:
            raise ValueError(f"{name} is of type {tensor.dtype}, not {expected.dtype}")
        if tensor is not None and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds values that are not finite numbers")
    model.load_state_dict(weights, assign=True)
    missing = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    if missing:
        raise ValueError(f"{missing[0]} is not in the file")
    check_prior(model)
    return model


def check_prior(model: VAE) -> None:
    """ValueError unless a model's prior can be drawn from: its scales are weights of the file."""
    with evaluating(model):
        p_z = model.prior(model.encode)
        try:
            p_z.sample()  # fails for a negative scale, which the variance does not show
            usable = bool(p_z.mean.isfinite().all()) and bool(((p_z.stddev > 0) & p_z.stddev.isfinite()).all())
        except RuntimeError:
            usable = False
    if not usable:
        raise ValueError("the standard deviations of its prior are not positive numbers, or its means not finite")


@contextmanager
def limit_parameters(n: int) -> Iterator[None]:
    """Within it, creating more than n parameters raises ValueError: a configuration can ask for billions of layers."""
    left = n

    def count(*args: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("it describes far more layers than the file has weights for")

    with register_module_parameter_registration_hook(count):
        yield
