"""From a configuration to everything that training needs, made and checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vaecli.config.instantiate import check_trust, instantiate
from vaecli.datasets.split import Splits
from vaecli.models import build
from vaecli.models.vae import VAE
from vaecli.objectives.base import Objective
from vaecli.runs.config import absolute_paths
from vaecli.runs.folder import refuse_occupied
from vaecli.utils.device import pick_device
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.schema import check_arguments
from vaecli.utils.threads import share_out
from vaecli.utils.types import PositiveFloat, PositiveInt, Seed


def refuse_shared_scores(config: dict[str, Any], model: VAE, objective: Objective) -> None:
    """UserError for an objective whose gradient would be biased, since the decoder scores draws of z together."""
    if objective.own_scores and not model.decoder.training_bound:
        name, decoder = config["objective"]["name"], config["decoder"]["name"]
        raise UserError(
            f"objective={name} with decoder={decoder}: the decoder's scale depends on all draws of z, which biases "
            "this gradient: use objective=iwae, or decoder=gaussian"
        )


@dataclass
class Every:
    every_epochs: PositiveInt


@dataclass
class EveryNowAndThen:
    every_epochs: PositiveInt
    every_seconds: PositiveFloat | None


@dataclass
class Images:
    every_epochs: PositiveInt | None


@dataclass
class EarlyStopping:
    patience: PositiveInt | None


@dataclass
class Averaging:
    decay: Annotated[float, Field(gt=0, lt=1)] | None


@dataclass
class Config:
    """The top-level keys of conf/train.yaml; what is in a group is checked by the class that takes it."""

    latent_dim: PositiveInt
    samples: PositiveInt
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Seed
    start_at_mean: bool
    clip_grad_norm: PositiveFloat | None
    device: str
    output: str | None
    resume: str | None
    repeat: str | None
    trust: list[str]
    validate: Every
    checkpoint: EveryNowAndThen
    images: Images
    early_stopping: EarlyStopping
    ema: Averaging
    dataset: dict[str, Any]
    architecture: dict[str, Any]
    decoder: dict[str, Any]
    posterior: dict[str, Any]
    prior: dict[str, Any]
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]


class Job(NamedTuple):
    """Everything that is made before the run's folder is."""

    config: dict[str, Any]  # resolved, as it is stored
    settings: Config  # the same, checked
    dataset: Any
    splits: Splits  # on the training device
    model: VAE
    objective: Objective
    optimizer: torch.optim.Optimizer
    scheduler: Any
    average: AveragedModel | None
    warning: str | None


def prepare(config: dict[str, Any], trusted: bool = False) -> Job:
    """Check everything and build everything; raises UserError before anything is written.

    trusted: the configuration comes from a file, so that only classes of vaecli's and of `trust`'s are built
    """
    settings = Config(**check_arguments(Config, config))
    check_trust(settings.trust)
    make = partial(instantiate, config, trusted=trusted, trust=settings.trust)
    if settings.output is not None:
        refuse_occupied(expanded(settings.output))
    device = pick_device(settings.device)
    dataset = make("dataset")
    config = absolute_paths(config)
    splits = dataset.load()
    config = with_columns(config, dataset.names)
    per_epoch = -(-len(splits.train) // settings.batch_size)
    objective = make("objective", steps_per_epoch=per_epoch, **samples(config))
    if settings.early_stopping.patience and splits.val is None:
        raise UserError("early_stopping.patience needs a validation split: set dataset.val_size (val_fraction) above 0")
    torch.manual_seed(settings.seed)
    config = build.settle(config, splits.train, dataset.recipe, trusted, settings.trust)
    model = build.build_vae(config, splits.train.x_shape, trusted, settings.trust)
    refuse_shared_scores(config, model, objective)
    warning = build.check_data(model.decoder, splits.train, dataset.recipe)
    build.learn_units(model, splits.train)
    if settings.start_at_mean:
        build.start_at_mean(model, splits.train)
    build.start_prior(model, splits.train)
    model.to(device)
    draws = settings.batch_size * settings.samples * objective.k
    if device.type == "cpu":
        batch = min(settings.batch_size, len(splits.train))
        model.refuse_too_many(batch, draws // settings.batch_size * batch)
    share_out(model, draws)
    optimizer = make("optimizer", params=model.parameters())
    total_steps = per_epoch * settings.epochs
    scheduler = make("scheduler", optimizer=optimizer, total_steps=total_steps, steps_per_epoch=per_epoch)
    average = averaged(model, settings.ema.decay)
    splits = splits.to(device)
    return Job(config, settings, dataset, splits, model, objective, optimizer, scheduler, average, warning)


def samples(config: dict[str, Any]) -> dict[str, Any]:
    """The objective's n_samples: `samples`, unless its own keys say it, as older config.yaml files do."""
    return {} if "n_samples" in config["objective"] else {"n_samples": config["samples"]}


def with_columns(config: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The configuration with the names of a table's columns, which then hold wherever its file has gone."""
    dataset = config["dataset"]
    return {**config, "dataset": {**dataset, "columns": list(names)}} if names and "columns" in dataset else config


def averaged(model: VAE, decay: float | None) -> AveragedModel | None:
    """A copy of the model whose weights follow the model's after every step t = 1, 2 ...:

    w <- d w + (1 - d) w_model with d = min(decay, t / (t + 9)), but w_model itself at the first step. The ramp lets the
    average forget the first steps: it spans about a tenth of the steps so far until that is 1 / (1 - decay).
    """
    if decay is None:
        return None

    def follow(averages: Any, weights: Any, before: Any) -> None:
        t = int(before) + 1  # the first step is copied and does not come here
        get_ema_multi_avg_fn(min(decay, t / (t + 9)))(averages, weights, before)

    return AveragedModel(model, multi_avg_fn=follow)
