"""The Optuna study of a search: its storage, the values that it searches, and the reports of its runs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig

from vaecli.utils.errors import UserError, nearest
from vaecli.utils.types import Values

if TYPE_CHECKING:
    import optuna

PRUNED = "pruned"  # the attribute of a trial whose run was stopped
STUDY_FILE = "study.log"


def open_study(settings: DictConfig, folder: Path) -> optuna.Study:
    """The study that a sweeper's settings name, created if there is none; folder: the sweep's."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if settings.storage is None:
            from optuna.storages.journal import JournalFileBackend

            storage: Any = optuna.storages.JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
        else:
            storage = settings.storage
        study = optuna.create_study(
            study_name=settings.study, storage=storage, direction="maximize", load_if_exists=True,
            pruner=made(optuna.pruners, "pruner", settings.pruner, settings.pruner_settings),
        )  # fmt: skip
        # with the same seed a continued search would draw its first points again
        seed = settings.seed + len(study.get_trials(deepcopy=False))
        study.sampler = made(optuna.samplers, "sampler", settings.sampler, settings.sampler_settings, seed)
    return study


def made(module: Any, kind: str, name: str, settings: DictConfig, seed: int | None = None) -> Any:
    """A sampler or a pruner of Optuna; UserError for an unknown name or argument. seed: given where it takes one."""
    known = [one for one in dir(module) if one.endswith(kind.title()) and not one.startswith("Base")]
    if name not in known:
        raise UserError(f"hydra.sweeper.{kind}={name}: no such {kind}{nearest(name, known)}; known: {', '.join(known)}")
    make = getattr(module, name)
    arguments: Values = {str(key): value for key, value in settings.items()}
    if seed is not None and "seed" in inspect.signature(make).parameters:
        arguments = {"seed": seed, **arguments}
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.{kind}_settings: {error}") from None


def distribution(override: Override) -> optuna.distributions.BaseDistribution:
    """The values among which a key is searched: interval(a,b), int(...), tag(log,...), range(a,b,step) or a,b,c."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    log = isinstance(value, IntervalSweep | RangeSweep) and "log" in value.tags
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(low, high, log=log)  # type: ignore[arg-type]
        if isinstance(value, RangeSweep):
            numbers: list[Any] = list(override.sweep_iterator())
            if all(isinstance(number, int) for number in numbers):
                return IntDistribution(min(numbers), max(numbers), step=int(abs(value.step)))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise UserError(f"{override.input_line}: {error}") from None


def requeue_killed(study: optuna.Study) -> int:
    """Queue the settings of trials that a kill has left unfinished again; returns how many there are."""
    import optuna

    killed = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    for trial in killed:
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return len(killed)


def reporter(settings: DictConfig, folder: Path, number: int) -> Callable[[int, float], bool]:
    """The function that a run calls with an epoch and its validation bound; it returns whether the run should stop.

    number: of the trial. The study is opened again, because the run may be in another process than the sweeper.
    """
    import optuna

    study = open_study(settings, folder)
    found = study.get_trials(deepcopy=False)[number]
    trial = optuna.trial.Trial(study, found._trial_id)

    def report(epoch: int, bound: float) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a resumed run reports an epoch again
            trial.report(bound, epoch)
        hopeless = trial.should_prune()
        if hopeless:
            trial.set_user_attr(PRUNED, True)
        return hopeless

    return report


def settings_of(params: Values, fixed: Iterable[str]) -> list[str]:
    """The overrides of one trial."""
    return [*fixed, *(f"{key}={value}" for key, value in params.items())]
