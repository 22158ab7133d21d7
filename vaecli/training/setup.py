"""Builds everything that training needs from a configuration, and checks it before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vaecli.config.instantiate import OptionFactory, Trust
from vaecli.datasets.split import Split, Splits
from vaecli.models import build
from vaecli.models.inference import observed_dtype
from vaecli.models.load import load_run
from vaecli.models.vae import VAE
from vaecli.objectives.base import Objective
from vaecli.plots.view import check_channels
from vaecli.runs.config import RunConfig
from vaecli.training.accumulated import AccumulatedPasses, check_parts_add_up
from vaecli.training.execution import choose_execution
from vaecli.training.parallel import SharedPasses
from vaecli.training.passes import Passes
from vaecli.training.step import LossModule, Update
from vaecli.utils.device import pick_device
from vaecli.utils.errors import UserError
from vaecli.utils.ranks import world
from vaecli.utils.threads import keep_freed_memory, set_cpu_threads


def check_independent_scores(config: RunConfig, model: VAE, objective: Objective) -> None:
    """UserError for an objective whose gradient would be biased, because the decoder scores all draws of z together."""
    if objective.own_scores and not model.decoder.training_bound:
        name, decoder = config.objective.name, config.decoder.name
        raise UserError(
            f"objective={name} with decoder={decoder}: the decoder's scale depends on all draws of z, which biases "
            "this gradient: use objective=iwae, or decoder=gaussian"
        )


class TrainingSetup(NamedTuple):
    """Everything that is built before the run's folder is created."""

    config: RunConfig  # filled in from the data
    dataset: Any
    splits: Splits  # on the training device
    model: VAE
    objective: Objective
    optimizer: torch.optim.Optimizer
    scheduler: Any
    average: AveragedModel | None
    warning: str | None


def prepare(config: RunConfig) -> TrainingSetup:
    """Check everything and build everything; raises UserError before anything is written."""
    # a configuration that comes from a run's file may not name anyone's classes
    trust = Trust(tuple(config.trust), typed_here=config.resume is None and config.repeat is None)
    options = OptionFactory(config.options, trust)
    device = pick_device(config.device)
    dataset = build.make_dataset(options)
    config = config.with_paths()
    splits = dataset.splits()
    per_epoch = -(-len(splits.train) // config.batch_size)
    objective = options.make("objective", steps_per_epoch=per_epoch, **samples(config))
    if config.early_stopping.patience and splits.val is None:
        raise UserError("early_stopping.patience needs a validation split: set dataset.val_size (val_fraction) above 0")
    torch.manual_seed(config.seed)
    config = build.fill_from_data(config, options, dataset, splits.train)
    options = OptionFactory(config.options, trust)
    model = build.build_vae(options, config.latent_dim, splits.train.x_shape)
    warning = build.check_data(model.decoder, splits.train, dataset.recipe, config.dataset)
    check_independent_scores(config, model, objective)
    if config.accumulate > 1:
        check_parts_add_up(LossModule(model, objective), config.accumulate)
    if device.type == "mps" and observed_dtype(model) == torch.float64:
        raise UserError("device=mps has no float64, which these data need: give device=cpu or dataset.precision=single")
    initialise(model, splits.train, config)
    average = averaged(model.to(device), config.ema.decay)
    at_once = -(-config.batch_size // config.accumulate)  # observations in one pass through the networks
    draws = at_once * config.samples * objective.k
    if device.type == "cpu":
        batch = min(at_once, len(splits.train))
        model.check_batch_fits(batch, draws // at_once * batch)
    set_cpu_threads(model, draws)
    optimizer = options.make("optimizer", params=[p for p in model.parameters() if p.requires_grad])
    total_steps = per_epoch * config.n_epochs
    scheduler = options.make("scheduler", optimizer=optimizer, total_steps=total_steps, steps_per_epoch=per_epoch)
    check_channels(splits.train.x_shape, config.images.channels)
    splits = splits.to(device)
    return TrainingSetup(config, dataset, splits, model, objective, optimizer, scheduler, average, warning)


def samples(config: RunConfig) -> Mapping[str, int]:
    """The objective's n_samples: `samples`, unless it has its own key, as in older config.yaml files."""
    return {} if "n_samples" in config.objective else {"n_samples": config.samples}


def initialise(model: VAE, train: Split, config: RunConfig) -> None:
    """Initialise a new model from the training data."""
    build.learn_units(model, train)
    if config.start_at_mean:
        build.initialise_output_bias(model, train)
    if config.prior_of is not None:
        copy_and_freeze_networks(model, config.prior_of, config)
    build.initialise_prior(model, train)


def copy_and_freeze_networks(model: VAE, run: str, config: RunConfig) -> None:
    """Copy everything but the prior from a run's best checkpoint, and exclude it from training.

    A resumed run has its own checkpoint, and does not need the other one. UserError if the other's networks do not fit.
    """
    model.requires_grad_(False)
    model.prior.requires_grad_(True)
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError(f"prior={config.prior.name}: has no weights to fit; use prior=mixture or prior=flow")
    if config.resume is not None:
        return
    kept = {name: value for name, value in load_run(run, trust=config.trust, device="cpu").model.state_dict().items()
            if not name.startswith("prior.")}  # fmt: skip
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("prior.")}
    if {name: value.shape for name, value in kept.items()} != {name: value.shape for name, value in own.items()}:
        raise UserError(f"prior_of={run}: its networks have other shapes; train with repeat={run}")
    model.load_state_dict(kept, strict=False)


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


def make_update(setup: TrainingSetup, say: Callable[[str], None]) -> Update:
    """The Update that takes the steps; `say` is called with a line if there is something to report about them."""
    config = setup.config
    update = Update(
        setup.model,
        setup.objective,
        setup.optimizer,
        setup.scheduler,
        setup.average,
        config.precision,
        config.clip_grad_norm,
    )
    if world() > 1 or config.accumulate > 1:
        shared = AccumulatedPasses(update.loss, config.accumulate) if config.accumulate > 1 else None
        update.passes = shared or SharedPasses(update.loss)
        keep_freed_memory()
        return update
    steps = config.n_epochs * -(-len(setup.splits.train) // config.batch_size)
    execution = choose_execution(config.compile, update.loss, steps)
    if execution.remark:
        say(execution.remark)
    update.passes = Passes(update.loss, execution, config.batch_size, say)
    keep_freed_memory()
    return update
