"""Every key of a training run once: its limits, its rules, and its file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.configurations import composed
from support.making import prepare

from vaecli.config.catalog import conf_folder, default_choices, keys
from vaecli.runs import config as module
from vaecli.runs.choice import Choice
from vaecli.runs.config import RunConfig, is_immutable, read_config, run_keys
from vaecli.runs.folder import RunFolder
from vaecli.runs.read import scalar
from vaecli.utils.errors import UserError
from vaecli.utils.schema import flatten

GROUPS = [name for name in default_choices() if name != "experiment"]


def test_yaml_and_fields_name_the_same_keys() -> None:
    """With the same defaults; and each key of the YAML has a comment for the help."""
    rows = [row for row in keys(conf_folder() / "train.yaml") if "hydra" not in row.name]
    typed = {row.name: [] if row.default == "[]" else scalar(row.default) for row in rows}
    assert [*GROUPS, *typed] == list(run_keys())
    assert typed == flatten(RunConfig(**dict.fromkeys(GROUPS, Choice({}))).values())
    assert all(row.comment for row in rows)


def test_the_rules_of_the_keys() -> None:
    assert set(module.REQUEST_KEYS) == {"resume", "repeat", "trust", "output", "name", "seeds", "sweep.skip_completed"}
    assert set(module.NON_DISTINGUISHING_KEYS) == {
        "output", "name", "seeds", "compile", "images.channels", "device", "images.every_epochs",
        "checkpoint.every_epochs", "checkpoint.every_seconds", "sweep.skip_completed", "accumulate",
    }  # fmt: skip
    assert set(module.IMMUTABLE_KEYS) == {
        "dataset", "architecture", "decoder", "posterior", "prior", "latent_dim", "batch_size", "seed",
        "start_at_mean", "optimizer", "ema.decay", "prior_of",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "expected"),
    [("decoder", True), ("decoder.sigma", True), ("dataset.limit", True), ("dataset.path", False), ("ema.decay", True),
     ("optimizer", True), ("optimizer.lr", False), ("scheduler.gamma", False), ("epochs", False), ("qwerty", False),
     ("early_stopping.patience", False)],
)  # fmt: skip
def test_what_a_run_that_goes_on_may_change(key: str, expected: bool) -> None:
    assert is_immutable(key) is expected


OVERRIDES = [
    (), ("clip_grad_norm=1", "checkpoint.every_seconds=30"), ("optimizer.lr=1e-3", "clip_grad_norm=0.5"),
    ("decoder=categorical", "objective=warm_up", "ema.decay=0.99", "seed=3"), ("dataset=beta", "trust=[mine]"),
]  # fmt: skip


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_a_configuration_is_written_as_typed(overrides: tuple[str, ...], tmp_path: Path) -> None:
    values = composed(*overrides)
    requests = ("resume", "repeat", "trust", "output", "name", "seeds", "sweep")
    config = RunConfig.of(values)
    text = config.write(RunFolder(tmp_path))
    kept = {**{key: value for key, value in values.items() if key not in requests}, "output": None}
    assert text == module.dump_yaml(kept)
    assert read_config(tmp_path) == config.without_requests() == kept
    assert RunConfig.from_stored(read_config(tmp_path), config) == config


def test_a_configuration_cannot_be_altered() -> None:
    config = RunConfig.of(composed())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.decoder["levels"] = 3  # type: ignore[index]


BROKEN: dict[str, tuple[Any, str]] = {
    "epochs": (0, r"epochs=0: should be greater than 0"),
    "ema": ({"decay": 2.0}, r"ema.decay=2.0: should be less than 1"),
    "validate": (3, r"validate=3: has keys of its own, as in validate.every_epochs=\.\.\."),
    "images": ({}, r"images.every_epochs has no value"),
    "seed": ("x", r"seed=x: should be a valid integer"),
    "decoder": (5, r"decoder=5: should be the name of an option"),
    "qwerty": (5, r"unknown key qwerty"),
    "checkpoint": ({"every_epochs": 1, "every_seconds": None, "often": 1}, r"unknown key checkpoint.often"),
}


@pytest.mark.parametrize("key", BROKEN)
def test_a_bad_value_is_refused_by_its_key(key: str) -> None:
    value, message = BROKEN[key]
    with pytest.raises(UserError, match=message):
        RunConfig.of({**composed(), key: value})


@pytest.mark.parametrize("key", ["epochs", "decoder", "ema"])
def test_no_key_may_be_left_out(key: str) -> None:
    values = composed()
    del values[key]
    with pytest.raises(UserError, match=f"{key}.* has no value"):
        RunConfig.of(values)


def test_an_older_file_lacks_what_came_later() -> None:
    given = RunConfig.of(composed("epochs=7", "ema.decay=0.9", "output=mine"))
    stored = RunConfig.of(composed("epochs=3", "latent_dim=5")).without_requests()
    del stored["ema"], stored["checkpoint"]["every_seconds"]
    found = RunConfig.from_stored(stored, given)
    assert (found.epochs, found.latent_dim, found.ema.decay, found.output) == (3, 5, 0.9, "mine")
    assert found.checkpoint == module.CheckpointSchedule(None, None)


@pytest.mark.parametrize(
    ("n_train", "epochs"), [(60_000, 10), (50_000, 10), (49_999, 11), (9000, 56), (1297, 386), (1, 500_000)]
)
def test_epochs_show_500_000_observations(n_train: int, epochs: int) -> None:
    config = RunConfig.of(composed())
    assert config.epochs is None
    with pytest.raises(UserError, match="epochs=null"):
        _ = config.n_epochs
    filled = config.with_epochs(n_train)
    assert filled.epochs == filled.n_epochs == epochs
    assert RunConfig.of(composed("epochs=3")).with_epochs(n_train).epochs == 3


@pytest.mark.parametrize("epochs", [1, 10, 50, 51, 56, 99, 100, 101, 149, 386, 5000])
def test_at_most_50_looks_at_a_run(epochs: int) -> None:
    every = RunConfig.of(composed(f"epochs={epochs}")).every_epochs(None)
    looks = {epoch for epoch in range(1, epochs + 1) if epoch % every == 0} | {epochs}  # the last one always
    assert min(epochs, 26) <= len(looks) <= 50
    assert RunConfig.of(composed(f"epochs={epochs}")).every_epochs(7) == 7


def test_changes_at_the_keys_that_were_typed() -> None:
    stored = RunConfig.of(composed("decoder=gaussian_fixed", "epochs=3"))
    given = RunConfig.of(composed("epochs=9", "objective=iwae", "objective.k=7", "ema.decay=0.5", "batch_size=64"))
    changed = stored.with_changes(given, ["epochs", "objective", "objective.k", "ema.decay"])
    assert (changed.epochs, changed.objective["k"], changed.ema.decay) == (9, 7, 0.5)
    assert (changed.decoder, changed.batch_size) == (stored.decoder, stored.batch_size)
    for key in ("~epochs", "experiment"):
        with pytest.raises(UserError, match=key):
            stored.with_changes(given, [key])


def test_what_the_data_decide_is_filled_in() -> None:
    """The rest is as it was typed, and what is prepared twice is the same."""
    typed = composed(
        "dataset=digits", "decoder=categorical", "dataset.limit=100", "architecture.hidden=[4]", "device=cpu"
    )
    filled = prepare(typed).config
    assert filled.decoder["levels"] == 17
    assert filled.values() == {**typed, "decoder": {**typed["decoder"], "levels": 17}, "epochs": 5000}
    assert prepare(filled.values()).config == filled
    assert filled.flat()["decoder.levels"] == 17
