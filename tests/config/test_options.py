"""Every option of conf: its YAML says what its class takes, and every combination of options trains."""

from __future__ import annotations

import importlib
import inspect
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.making import build_vae, instantiate, options_of, prepare
from support.thinned import every
from torch import nn

from vaecli.commands import export
from vaecli.config.catalog import conf_folder, default_choices, groups, header
from vaecli.config.instantiate import Trust
from vaecli.decoders.location import LocationDecoder
from vaecli.training.setup import TrainingSetup
from vaecli.utils.errors import UserError

GROUPS = {name: options for name, options in groups().items() if name in default_choices().keys() - {"experiment"}}
OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]
SUPPLIED = {  # what the program itself passes
    "decoder": {"x_shape"}, "posterior": {"latent_dim"}, "prior": {"latent_dim", "x_shape"}, "optimizer": {"params"},
    "scheduler": {"optimizer", "total_steps", "steps_per_epoch"}, "objective": {"steps_per_epoch", "n_samples"},
}  # fmt: skip
CURVE_DECODERS = options_of("decoder", LocationDecoder)
MODEL_GROUPS = ("architecture", "decoder", "posterior", "prior", "objective")


def pairwise(choices: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Combinations, one of each of `choices`, among which every pair of options of two groups occurs."""
    pairs = {one: set(itertools.combinations(enumerate(one), 2)) for one in itertools.product(*choices)}
    wanted = set().union(*pairs.values())
    found = []
    while wanted:
        best = max(pairs, key=lambda one: len(wanted & pairs[one]))
        wanted -= pairs[best]
        found.append(best)
    return found


ON_IMAGES = {**GROUPS, "decoder": [name for name in GROUPS["decoder"] if name != "columns"]}
COMBINATIONS = pairwise([ON_IMAGES[group] for group in MODEL_GROUPS])


FEWER = {"vamp": ["prior.components=10"]}  # of 500, which no batch of 32 needs
SMALL = ("dataset=digits", "dataset.limit=32", "batch_size=32", "latent_dim=3", "samples=2", "epochs=2", "device=cpu")


def chosen(names: tuple[str, ...], *overrides: str) -> dict[str, Any]:
    """The configuration with one option of each of the model's groups, put together from ones with each alone."""
    options = {
        group: composed(f"{group}={name}", *SMALL, *FEWER.get(name, []))[group]
        for group, name in zip(MODEL_GROUPS, names, strict=True)
    }
    return {**composed(*SMALL, *overrides), **options}


def step(job: TrainingSetup) -> torch.Tensor:
    """One training step; its loss."""
    x = job.splits.train.batch(slice(0, job.config.batch_size))
    estimate = job.objective(job.model.train(), x, 0)
    job.optimizer.zero_grad()
    estimate.loss.backward()
    job.optimizer.step()
    job.scheduler.step()
    assert all(value.shape == (len(x),) for value in estimate.metrics.values())
    return estimate.loss.detach()


def assert_all_learn(model: nn.Module, names: Sequence[str]) -> None:
    """Every parameter, by name, has a finite gradient that is not zero throughout."""
    free = "free_bits" in names  # a KL term that is still for free does not train the prior
    for name, parameter in model.named_parameters():
        if free and name.startswith("prior."):
            continue
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert bool(parameter.grad.isfinite().all()), f"{name} has a gradient that is not finite"
        assert bool((parameter.grad != 0).any()), f"{name} has a zero gradient"


def remedy(message: str) -> str:
    """The `use group=option` of a refusal, for an option that exists."""
    found = re.search(r"use (\w+)=(\w+)", message)
    assert found, message
    assert found[2] in groups().get(found[1], []), message
    return f"{found[1]}={found[2]}"


def target(group: str, option: str) -> tuple[dict[str, Any], Any]:
    """An option's composed entries and what they are passed to."""
    node = composed(f"{group}={option}")[group]
    module, _, name = node["_target_"].rpartition(".")
    return node, getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("names", every(4, zip(COMBINATIONS)), ids="-".join)
def test_every_combination_trains_on_images(names: tuple[str, ...]) -> None:
    config = chosen(names, "dataset=digits", "dataset.binarize=dynamic")
    if shares_scores(names):
        with pytest.raises(UserError, match="use objective=iwae") as refused:
            prepare(config)
        config["objective"] = composed(remedy(str(refused.value)), *SMALL)["objective"]
    job = prepare(config)
    assert math.isfinite(step(job))
    assert_all_learn(job.model, names)
    assert math.isfinite(step(job))


@pytest.mark.parametrize("names", every(4, zip(COMBINATIONS)), ids="-".join)
def test_combinations_train_on_curves_or_say_why_not(names: tuple[str, ...]) -> None:
    """What is refused trains once the remedies named have been followed."""
    config, job, followed = chosen(names, "dataset=beta", "dataset.size=100", "dataset.val_size=0"), None, set()
    while job is None:
        try:
            job = prepare(config)
        except UserError as error:
            group, _, name = remedy(str(error)).partition("=")
            assert group not in followed
            followed.add(group)
            config[group] = composed(f"{group}={name}")[group]
    assert followed == unsuited(names)
    assert math.isfinite(step(job))
    assert_all_learn(job.model, names)


def unsuited(names: tuple[str, ...]) -> set[str]:
    """The groups whose choice takes no curves, or does not go with another."""
    takes_curves = names[1] in CURVE_DECODERS
    for_images = {"conv", "resnet"}.intersection(names)
    found = (set() if takes_curves else {"decoder"}) | ({"architecture"} if for_images else set())
    return found | ({"objective"} if shares_scores(names) else set())


def shares_scores(names: tuple[str, ...]) -> bool:
    """Whether the objective needs each draw's own log p(x|z), and the decoder scores all of a batch together."""
    return {"gaussian_optimal", "dreg"} <= set(names)


def test_the_default_share_has_every_option_once() -> None:
    share = COMBINATIONS[::4]
    assert [{names[i] for names in share} for i in range(5)] == [set(ON_IMAGES[group]) for group in MODEL_GROUPS]


@pytest.mark.parametrize("decoder", every(3, ON_IMAGES["decoder"]))
def test_a_configuration_rebuilds_a_model_for_export(decoder: str) -> None:
    job = prepare(composed(*SMALL, f"decoder={decoder}", "architecture.hidden=[4]"))
    again = build_vae(job.config.values(), job.splits.train.x_shape, trust=Trust())
    again.load_state_dict(job.model.state_dict())
    z = torch.randn(3, 3)
    torch.testing.assert_close(again.decode(z).mean, job.model.decode(z).mean, rtol=0, atol=0)
    network = export.mean_network(again, "decoder")
    assert export.largest_difference(network, export.export(network, "torch")) < 1e-6


def test_curves_under_the_defaults_name_the_recipe() -> None:
    with pytest.raises(UserError, match="decoder=gaussian_identity") as refused:
        prepare(composed("dataset=beta"))
    assert "experiment=beta_curves" in str(refused.value)


def test_grey_values_under_bernoulli_give_one_warning() -> None:
    warning = prepare(composed(*SMALL, "decoder=bernoulli")).warning
    assert warning is not None
    assert "dataset.binarize=dynamic" in warning
    for binarize in ("dynamic", "static", "threshold"):
        assert prepare(composed(*SMALL, f"dataset.binarize={binarize}")).warning is None


@pytest.mark.parametrize(("optimizer", "scheduler"), list(itertools.product(GROUPS["optimizer"], GROUPS["scheduler"])))
def test_every_optimizer_under_every_schedule(optimizer: str, scheduler: str) -> None:
    job = prepare(composed(f"optimizer={optimizer}", f"scheduler={scheduler}", *SMALL))
    before = [p.detach().clone() for p in job.model.parameters()]
    assert math.isfinite(step(job))
    assert all(bool((p != old).any()) for p, old in zip(job.model.parameters(), before, strict=True))


def rates(
    scheduler: str, total_steps: int = 200, steps_per_epoch: int = 20, overrides: Sequence[str] = ()
) -> list[float]:
    """The learning rate of each step, from 0.01, and the one left after the last."""
    config = composed(f"scheduler={scheduler}", "optimizer.lr=0.01", *overrides)
    optimizer = instantiate(config, "optimizer", params=[nn.Parameter(torch.zeros(1))])
    schedule = instantiate(
        config, "scheduler", optimizer=optimizer, total_steps=total_steps, steps_per_epoch=steps_per_epoch
    )
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(total_steps):
        optimizer.step()
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_constant_rate() -> None:
    assert set(rates("constant")) == {0.01}


def test_exponential_rate_falls_once_per_epoch() -> None:
    found = rates("exponential")
    gamma = composed("scheduler=exponential")["scheduler"]["gamma"]
    assert found == pytest.approx([0.01 * gamma ** (i // 20) for i in range(201)], rel=1e-12)


def test_step_rate_falls_by_epochs_or_at_milestones() -> None:
    found = rates("step", overrides=["scheduler.every=3", "scheduler.gamma=0.5"])
    assert found == pytest.approx([0.01 * 0.5 ** (i // 60) for i in range(201)], rel=1e-12)
    found = rates("step", overrides=["scheduler.milestones=[2,7]", "scheduler.gamma=0.5"])
    assert found == pytest.approx([0.01] * 40 + [0.005] * 100 + [0.0025] * 61, rel=1e-12)


@pytest.mark.parametrize("overrides", [*([f"scheduler={name}"] for name in GROUPS["scheduler"]),
                                       ["scheduler=step", "scheduler.milestones=[1]"]])  # fmt: skip
def test_the_state_of_a_schedule_is_plain(overrides: list[str]) -> None:
    """What a checkpoint may hold: numbers, texts and containers, and nothing derived from them."""
    state = prepare(composed(*SMALL, *overrides)).scheduler.state_dict()
    for value in state.values():
        assert type(value) in (int, float, bool, str, list, dict, type(None)), value


def test_cosine_rate_ends_at_min_lr() -> None:
    found = rates("cosine")
    assert found == pytest.approx([0.005 * (1 + math.cos(math.pi * i / 200)) for i in range(201)], abs=1e-9)
    assert rates("cosine", overrides=["scheduler.min_lr=0.002"])[-1] == pytest.approx(0.002, rel=1e-9)


def test_linear_rate_rises_to_the_optimizer_s_and_falls() -> None:
    found = rates("linear", overrides=["scheduler.warmup=0.1"])
    expected = [0.01 * (i + 1) / 21 for i in range(20)] + [0.01 * (200 - i) / 181 for i in range(20, 201)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert rates("linear", overrides=["scheduler.warmup=0"]) == pytest.approx(
        [0.01 * (200 - i) / 201 for i in range(201)], abs=1e-12
    )


def test_one_cycle_rate_peaks_at_max_lr() -> None:
    found, max_lr = rates("one_cycle"), composed("scheduler=one_cycle")["scheduler"]["max_lr"]
    peak = max(range(201), key=found.__getitem__)
    assert max(found) == pytest.approx(max_lr, rel=1e-3)
    assert 0.25 * 200 < peak < 0.35 * 200
    assert all(a < b for a, b in itertools.pairwise(found[: peak + 1]))
    assert all(a > b for a, b in itertools.pairwise(found[peak:]))
    assert found[-1] < max_lr / 1000


@pytest.mark.parametrize("scheduler", GROUPS["scheduler"])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 7])
def test_schedules_of_short_runs(scheduler: str, total_steps: int) -> None:
    assert all(0 <= rate < 0.1 for rate in rates(scheduler, total_steps, steps_per_epoch=1))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_s_yaml_and_class_agree(group: str, option: str) -> None:
    """Name, place and keys; the file that a class's module is named after shows all of the class's parameters."""
    node, found = target(group, option)
    assert node["name"] == option
    assert node["_target_"].startswith(f"vaecli.{group}s.")
    assert found.__module__ == node["_target_"].rpartition(".")[0]
    keys = node.keys() - {"_target_", "name", *getattr(found, "settable", ())}
    parameters = inspect.signature(found).parameters.keys() - SUPPLIED.get(group, set())
    assert keys <= parameters
    if option == found.__module__.rpartition(".")[2]:
        assert keys == parameters
    path = conf_folder() / group / f"{option}.yaml"
    assert header(path), "the first line should be a comment"
    assert len(header(path)[0]) < 100
    supplied: Any = dict.fromkeys(SUPPLIED.get(group, ()))
    with pytest.raises(UserError, match=f"unknown key {group}.qwerty"):
        instantiate({group: {**node, "qwerty": 1}}, group, **supplied)


def test_yaml_defaults_are_the_constructors() -> None:
    """Where several options share a class, one of them has its default and the others are the variants."""
    values: dict[tuple[Any, str], list[Any]] = defaultdict(list)
    for group, option in OPTIONS:
        node, found = target(group, option)
        for key in node.keys() - {"_target_", "name", *getattr(found, "settable", ())}:
            values[found, key].append(node[key])
    for (found, key), given in values.items():
        default = inspect.signature(found).parameters[key].default
        if default is inspect.Parameter.empty:
            continue
        if default is None and isinstance(given[0], list):  # a mutable default: what the constructor puts in its place
            default = getattr(found(), key)
        if isinstance(default, tuple):
            default = list(default)
        where = f"{found.__module__}.{found.__qualname__}({key}=)"
        assert default in given, f"{where} is {default}, but the YAML says {given}"
