"""What a search takes from the command line, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from support.command_line import called

from vaecli.config import extras
from vaecli.config.catalog import conf_folder
from vaecli.config.optuna_study import distribution, open_study, reporter, requeue_killed
from vaecli.utils.errors import UserError

optuna = pytest.importorskip("optuna")
PARSER = OverridesParser.create()


def settings(**changes: Any) -> Any:
    return OmegaConf.merge(OmegaConf.load(conf_folder() / "hydra/sweeper/vaecli_optuna.yaml"), changes)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=int(interval(2,8))", optuna.distributions.IntDistribution(2, 8)),
        ("a=int(tag(log,interval(2,64)))", optuna.distributions.IntDistribution(2, 64, log=True)),
        ("a=interval(0,1)", optuna.distributions.FloatDistribution(0, 1)),
        ("a=tag(log,interval(1e-4,1e-2))", optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=range(2,20,3)", optuna.distributions.IntDistribution(2, 17, step=3)),
        ("a=[8],[16,16]", optuna.distributions.CategoricalDistribution(["[8]", "[16,16]"])),
    ],
)
def test_what_is_searched(word: str, expected: Any) -> None:
    assert distribution(PARSER.parse_override(word)) == expected


def test_a_trial_is_pruned_from_its_bounds_and_a_killed_one_is_asked_again(tmp_path: Path) -> None:
    given = settings(pruner="ThresholdPruner", pruner_settings={"lower": -10.0})
    study = open_study(given, tmp_path)
    trial = study.ask({"x": optuna.distributions.IntDistribution(0, 10**6)})
    report = reporter(given, tmp_path, trial.number)  # from the file, as in another process
    assert (report(1, -9.0), report(2, -11.0)) == (False, True)
    again = open_study(given, tmp_path)
    assert again.trials[0].intermediate_values == {1: -9.0, 2: -11.0}
    assert requeue_killed(again) == 1
    assert again.ask({"x": optuna.distributions.IntDistribution(0, 10**6)}).params == trial.params


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "TpeSampler"}, "sampler=TpeSampler: no such sampler; did you mean TPESampler?"),
        ({"pruner": "Nop"}, "no such pruner"),
        ({"sampler_settings": {"qwerty": 1}}, "hydra.sweeper.sampler_settings: "),
    ],
)
def test_settings_that_are_refused(changes: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        open_study(settings(**changes), tmp_path)


def test_engines_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "optuna" else module)
    done = called("train", "-m", "hydra/sweeper=vaecli_optuna", "latent_dim=2,3", cwd=tmp_path)
    assert (
        done.stderr
        == "error: hydra/sweeper=vaecli_optuna: is not installed; install it: pip install 'vaecli[optuna]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_search_of_nothing_is_refused(tmp_path: Path) -> None:
    done = called("train", "-m", "hydra/sweeper=vaecli_optuna", "latent_dim=2", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing to search; give a key several values or an interval" in done.stderr
