"""Builds a model from a configuration and the training data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vaecli.architectures.base import Architecture, DecoderNetwork
from vaecli.config.instantiate import OptionFactory
from vaecli.datasets.base import Dataset
from vaecli.datasets.checks import check_finite
from vaecli.datasets.split import Split
from vaecli.decoders.base import DataFacts, Decoder
from vaecli.decoders.wrapped import Filler, Masked, Standardized, Standardizer
from vaecli.models.inference import batches, evaluating, inference_batch_size, shared_batches
from vaecli.models.sizes import Sizes
from vaecli.models.vae import VAE
from vaecli.runs.choice import Choice
from vaecli.runs.config import RunConfig
from vaecli.utils.columns import ColumnKind
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory
from vaecli.utils.random import seeded
from vaecli.utils.ranks import all_reduce_sum, without_repeats, world
from vaecli.utils.types import Values


def build_vae(options: OptionFactory, latent_dim: int, x_shape: tuple[int, ...]) -> VAE:
    """The model that a configuration's options describe, for observations of x_shape, with fresh weights.

    UserError if they would not fit into memory; on the meta device no memory is used.
    """
    on_meta = torch.empty(0).is_meta  # torch.get_default_device does not see `with torch.device` in torch 2.6
    known = None if on_meta else check_model_fits(options, latent_dim, x_shape)
    architecture = options.make("architecture")
    posterior = options.make("posterior", latent_dim=latent_dim)
    decoder = options.make("decoder", x_shape=x_shape)
    prior = options.make("prior", latent_dim=latent_dim, x_shape=x_shape)
    vae = VAE(
        encoder_network=encoder_network(architecture, decoder, posterior.n_features),
        posterior=posterior,
        decoder_network=architecture.decoder(latent_dim, decoder.n_params, decoder.param_shape),
        decoder=decoder,
        prior=prior,
        latent_dim=latent_dim,
        x_shape=x_shape,
    )
    vae.sizes = known
    return wrap_for_data(vae, options.options.get("dataset", {}))


def encoder_network(architecture: Architecture, decoder: Decoder, n_features: int) -> nn.Module:
    """The architecture's encoder, after the conversion of observations that the decoder asks for."""
    transform = decoder.encoder_transform()
    if transform is None:
        return architecture.encoder(decoder.x_shape, n_features)
    return nn.Sequential(transform, architecture.encoder(transform.shape, n_features))


def wrap_for_data(model: VAE, dataset: Values) -> VAE:
    """The model, wrapped as the data set's configuration says: for standardised data, or for data with gaps."""
    if dataset.get("standardize") and model.decoder.columns is None:
        units = Standardizer(model.x_shape, double=dataset.get("precision") == "double")
        model.encoder_network = nn.Sequential(units, model.encoder_network)
        model.decoder = Standardized(model.decoder, units)
    if has_gaps(dataset) and not model.decoder.takes_gaps:
        if model.decoder.calibrate is not None:
            raise UserError("dataset.missing=mask: this decoder takes its scale from all numbers of a batch, of which "
                            "some are missing: use decoder=gaussian")  # fmt: skip
        if not model.decoder.elementwise:
            raise UserError("dataset.missing=mask: this decoder takes an observation's total, of which some may be "
                            "missing: use decoder.total=learned")  # fmt: skip
        filler = Filler(model.x_shape)
        model.encoder_network = nn.Sequential(filler, model.encoder_network)
        model.decoder = Masked(model.decoder, filler)
    return model


def learn_units(model: VAE, train: Split) -> None:
    """Compute the buffers with the data's units from the training split."""
    parts = [part for part in model.modules() if isinstance(part, Standardizer | Filler)]
    if parts:
        moments = train.moments
        for part in parts:
            part.learn(moments.mean, moments.scale)
    model.decoder.learn(lambda: batches(train))


def check_model_fits(options: OptionFactory, latent_dim: int, x_shape: tuple[int, ...]) -> tuple[Sizes, Sizes] | None:
    """How much memory the model's networks take when they run; UserError if its weights would not fit."""
    model = None
    try:
        with torch.device("meta"):
            model = build_vae(options, latent_dim, x_shape)
        model.measure()
        needed = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    except UserError:
        raise
    except RuntimeError as error:
        if "overflow" not in str(error):  # a class that cannot be built on the meta device
            return None
        needed = 2**63
    check_memory(needed, "the model's weights", "make latent_dim or the architecture smaller")
    return None if model is None else model.sizes


def initialise_output_bias(model: VAE, train: Split) -> None:
    """Set the output bias to the data's mean, if decoder and network support it."""
    mean, network = train.mean(), model.decoder_network
    if isinstance(network, DecoderNetwork) and model.decoder.params_at_mean(mean) is not None:
        network.set_output_bias(mean, cast("Callable[[Tensor], Tensor]", model.decoder.params_at_mean))


def initialise_prior(model: VAE, train: Split) -> None:
    """Initialise the prior from training data, if it uses any: random observations, but always the same ones."""

    def draw(n: int) -> Tensor:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        with seeded(0, train.device):
            x = train.batch(order[torch.arange(n) % len(train)].to(train.device))
        return torch.where(x.isnan(), train.mean().to(x), x)

    model.prior.initialise_from(draw)


def make_dataset(options: OptionFactory) -> Dataset:
    """The data set of a configuration, which finds the kinds of a table's columns if the decoder asks for them."""
    dataset: Dataset = options.make("dataset")
    decoder: Any = options.option_class("decoder")
    dataset.wants_kinds = decoder.wants_kinds
    return dataset


def fill_from_data(config: RunConfig, options: OptionFactory, dataset: Dataset, train: Split) -> RunConfig:
    """The configuration, completed with what depends on the data, so that a model can be rebuilt from it alone.

    These are the names of a table's columns, the decoder's keys that depend on the values, and the number of epochs
    unless it is given.
    """
    decided = {key: value for key, value in dataset.settings_from_data.items() if key in config.dataset}
    config = replace(config, dataset=config.dataset.filled(**decided)) if decided else config
    options = replace(options, options=config.options)
    decoder = filled_decoder(options, train, dataset.recipe, dataset.column_kinds)
    return replace(config, decoder=Choice(decoder)).with_epochs(len(train))


def filled_decoder(
    options: OptionFactory, train: Split, recipe: str | None = None, columns: Sequence[ColumnKind] | None = None
) -> Values:
    """The decoder's option completed with what depends on the data; columns: the kinds of a table's columns."""
    node: Values = options.options["decoder"]
    check_usable(train, gaps=has_gaps(options.options.get("dataset", {})))
    decoder: Any = options.option_class("decoder")
    with value_error_as_user_error(recipe):
        facts = data_facts(train, dataset=options.options.get("dataset", {}))
        filled: Values = decoder.fill_from_data(dict(node), facts._replace(columns=columns))
    return filled


def check_data(decoder: Decoder, train: Split, recipe: str | None = None, dataset: Values | None = None) -> str | None:
    """UserError for data that this decoder cannot score; otherwise its warning about them, or None."""
    check_usable(train, decoder.takes_gaps)
    with value_error_as_user_error(recipe):
        return decoder.check(data_facts(train, decoder.step, dataset))


def check_scale(what: str, x: Split, model: VAE, dataset: Dataset) -> None:
    """UserError for observations of the user's that this model's data could not hold, such as 0 to 255 for 0 to 1."""
    low, high, _ = x.range
    if len(model.x_shape) == 3 and (low < 0 or high > 1) and dataset.display_range == (0.0, 1.0):
        seen = f"[{low:.4g}, {high:.4g}]"
        raise UserError(f"{what}: holds values in {seen}; images go from 0 to 1, or from 0 to 255 as uint8")
    try:
        model.decoder.check(data_facts(x, model.decoder.step))
    except ValueError as error:
        raise UserError(f"{what}: {str(error).split(':')[0]}; scale it as the training data were") from None


@contextmanager
def value_error_as_user_error(recipe: str | None) -> Iterator[None]:
    """Turns a decoder's ValueError about the data into a UserError, which also names a recipe for them."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error) + (f", or experiment={recipe}" if recipe else "")) from None


def has_gaps(dataset: Values) -> bool:
    """Whether NaN stands for a missing number."""
    return bool(dataset.get("missing") == "mask")


def check_usable(train: Split, gaps: bool = False) -> None:
    """UserError for data that are not finite, or the same everywhere; with `gaps` NaN is allowed."""
    check_finite("the training data", train, gaps, remedy=": repair or remove them")
    low, high, _ = train.range
    if low == high:
        raise UserError(f"every value of the training data is {low:g}: there is nothing to learn; check the files")


def data_facts(split: Split, step: float | None = None, dataset: Values | None = None) -> DataFacts:
    """What a decoder needs to know about data; step: of a grid that they may lie on; dataset: their option."""
    low, high, binary = split.range
    if binary or split.levels > 1:
        found: float | None = 1.0 if binary else 1 / split.levels
    else:
        steps = (1.0, 1 / 255) if step is None else (1.0, step, 1 / 255)  # 8-bit images are often kept as real numbers
        found = next((s for s in steps if lies_on(split, s)), None)
    keys, can_binarize = dataset or {}, dataset is None or "binarize" in dataset
    facts = DataFacts(low, high, binary, found, "standardize" in keys, can_binarize=can_binarize)
    return facts._replace(standardized=bool(keys.get("standardize")))


def lies_on(split: Split, step: float, tolerance: float = 1e-3) -> bool:
    """Whether all values that are not missing are multiples of `step`, up to `tolerance` steps."""
    parts = (chunk.to(torch.float32) / step for chunk in split.chunks())
    return not any(bool(((part - part.round()).abs() >= tolerance).any()) for part in parts)


def calibrate(model: VAE, train: Split, seed: int = 0) -> None:
    """Set what the decoder needs from the whole training set for validation and evaluation; most need nothing.

    One pass: the squared error of the mean of p(x|z) for one draw of z from each q(z|x), the same at every call.
    """
    if model.decoder.calibrate is None:
        return
    with evaluating(model, seed):
        parts = ((x, model(x).p_x.mean[0]) for x in shared_batches(train, inference_batch_size(model)))
        errors = [without_repeats(model.decoder.error(mean, x).square().flatten(1).mean(1)) for x, mean in parts]
    of_all = torch.cat(errors).cpu().double()
    model.decoder.calibrate(float(of_all.mean() if world() == 1 else all_reduce_sum(of_all.sum()) / len(train)))
