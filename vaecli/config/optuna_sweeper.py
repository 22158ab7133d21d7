"""`hydra/sweeper=vaecli_optuna`: searches for the settings with the highest validation bound.

The published plugin, hydra-optuna-sweeper, needs an Optuna below 3 with Hydra 1.3. The one for Hydra 1.4 takes a
current Optuna: once Hydra 1.4 is released, this module can be removed.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from vaecli.config.optuna_study import PRUNED, distribution, open_study, requeue_killed, settings_of
from vaecli.utils.errors import UserError
from vaecli.utils.text import say

TARGET = "hydra_plugins.vaecli.OptunaSweeper"  # Hydra accepts only plugins with such names


class OptunaSweeper(Sweeper):
    """Asks an Optuna study for settings, trains them, and tells it the best validation bounds (ask and tell).

    A trial has the number of its job. The settings are described in conf/hydra/sweeper/vaecli_optuna.yaml.
    """

    def __init__(self, n_trials: int, at_once: int, params: DictConfig, **settings: Any) -> None:
        self.n_trials, self.at_once, self.params = n_trials, at_once, {str(key): value for key, value in params.items()}
        self.errors: list[BaseException] = []
        self.exhausted = False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config: DictConfig = config
        self.hydra_context: HydraContext = hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Train until there are n_trials that are completed or pruned."""
        import optuna

        words = [*settings_of(self.params, ()), *arguments]
        overrides = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(words)
        searched = {one.get_key_element(): distribution(one) for one in overrides if one.is_sweep_override()}
        if not searched:
            raise UserError("hydra/sweeper=vaecli_optuna: nothing to search; give a key several values or an interval, "
                            "as in 'optimizer.lr=tag(log,interval(1e-4,1e-2))'")  # fmt: skip
        fixed = [f"{one.get_key_element()}={one.get_value_element_as_str()}"
                 for one in overrides if not one.is_sweep_override() and not one.is_delete()]  # fmt: skip
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study = open_study(self.config.hydra.sweeper, folder)
        if killed := requeue_killed(study):
            say(f"{killed} unfinished trials are resumed")
        done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        study.stop = self.stop  # type: ignore[method-assign]
        while (
            not self.exhausted and (left := self.n_trials - len(study.get_trials(False, done)) - len(self.errors)) > 0
        ):
            trials = [study.ask(searched) for _ in range(min(left, self.at_once))]
            jobs = [settings_of(trial.params, fixed) for trial in trials]
            self.validate_batch_is_legal(jobs)
            results = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
            for trial, result in zip(trials, results, strict=True):
                self.tell(study, trial.number, result)
        self.report(study, searched)

    def stop(self) -> None:
        """Called by a sampler that has tried all values."""
        self.exhausted = True

    def tell(self, study: Any, number: int, result: JobReturn) -> None:
        """Tell the study how a trial has ended."""
        from optuna.trial import TrialState

        failed = result.status != JobStatus.COMPLETED
        if failed:
            self.errors.append(result._return_value)
        if failed or not math.isfinite(result._return_value):
            study.tell(number, state=TrialState.FAIL)
        elif study.get_trials(deepcopy=False)[number].user_attrs.get(PRUNED):
            study.tell(number, state=TrialState.PRUNED)
        else:
            study.tell(number, float(result._return_value))

    def report(self, study: Any, searched: Collection[str]) -> None:
        """Print the best trial; the first error if no trial has been completed."""
        from optuna.trial import TrialState

        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        if TrialState.COMPLETE not in states:
            raise self.errors[0] if self.errors else UserError("no trial was completed: raise hydra.sweeper.n_trials")
        best = study.best_trial
        counts = ", ".join(f"{states.count(state)} {state.name.lower()}" for state in dict.fromkeys(states))
        chosen = " ".join(f"{key}={value}" for key, value in best.params.items() if key in searched)
        say(f"search: {counts}; the best bound {best.value:.2f} in trial {best.number}: {chosen}")


def register() -> None:
    """Make the sweeper known to Hydra."""
    plugins = Plugins.instance()
    plugins.register(OptunaSweeper)
    plugins.class_name_to_class[TARGET] = OptunaSweeper
