"""The configuration of a training run: every key once, with its limits and its rules, and its file config.yaml."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field

from vaecli.runs.access import PATHS, absolute_paths
from vaecli.runs.choice import Choice, Group
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import CONFIG
from vaecli.runs.read import Damaged, dump_yaml, load_yaml, read
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_text
from vaecli.utils.schema import check_arguments, flatten, plain, unknown_key
from vaecli.utils.types import FolderName, NonNegativeInt, PositiveFloat, PositiveInt, Seed, UserPath, Values


@dataclass(frozen=True)
class Rule:
    """What holds for a key besides its limits.

    immutable: the weights and the figures so far came from it, so that it cannot change in a run that goes on
    free: keys below an immutable one that can; `*` is all of them
    request: it says what to do, and is no part of what is trained
    distinguishes: it tells runs apart
    """

    immutable: bool = False
    free: tuple[str, ...] = ()
    request: bool = False
    distinguishes: bool = True


SHOWN, MIN_EPOCHS = 500_000, 10  # training observations, and epochs, that a run shows at least: epochs=null
MOST_LOOKS = 50  # validations, or writes of last.pt, of a run that does not say how often

IMMUTABLE, REQUEST, SAYS_NOTHING = Rule(immutable=True), Rule(request=True), Rule(distinguishes=False)


@dataclass(frozen=True)
class Validation:
    every_epochs: PositiveInt | None = None


@dataclass(frozen=True)
class CheckpointSchedule:
    every_epochs: Annotated[PositiveInt | None, SAYS_NOTHING] = None
    every_seconds: Annotated[PositiveFloat | None, SAYS_NOTHING] = None


@dataclass(frozen=True)
class Images:
    every_epochs: Annotated[PositiveInt | None, SAYS_NOTHING] = None
    channels: Annotated[list[NonNegativeInt] | None, SAYS_NOTHING] = None


@dataclass(frozen=True)
class EarlyStopping:
    patience: PositiveInt | None = None


@dataclass(frozen=True)
class Averaging:
    decay: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, IMMUTABLE] = None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The keys of conf/train.yaml, in the order of config.yaml; what they mean stands there, what may be is here.

    What is in a group is checked by the class that takes it.
    """

    dataset: Annotated[Group, Rule(immutable=True, free=PATHS)]  # the data's checksum says that they are the same
    architecture: Annotated[Group, IMMUTABLE]
    decoder: Annotated[Group, IMMUTABLE]
    posterior: Annotated[Group, IMMUTABLE]
    prior: Annotated[Group, IMMUTABLE]
    objective: Group
    optimizer: Annotated[Group, Rule(immutable=True, free=("*",))]
    scheduler: Group
    latent_dim: Annotated[PositiveInt, IMMUTABLE] = 20
    samples: PositiveInt = 1
    epochs: PositiveInt | None = None
    batch_size: Annotated[PositiveInt, IMMUTABLE] = 128
    seed: Annotated[Seed, IMMUTABLE] = 0
    start_at_mean: Annotated[bool, IMMUTABLE] = True
    clip_grad_norm: PositiveFloat | None = None
    device: Annotated[str, SAYS_NOTHING] = "auto"
    compile: Annotated[Literal["auto"] | bool, SAYS_NOTHING] = "auto"
    output: Annotated[UserPath | None, Rule(request=True, distinguishes=False)] = None
    name: Annotated[FolderName | None, Rule(request=True, distinguishes=False)] = None
    resume: Annotated[UserPath | None, REQUEST] = None
    repeat: Annotated[UserPath | None, REQUEST] = None
    trust: Annotated[list[str], REQUEST] = field(default_factory=list)
    validate: Validation = Validation()
    checkpoint: CheckpointSchedule = CheckpointSchedule()
    images: Images = Images()
    early_stopping: EarlyStopping = EarlyStopping()
    ema: Averaging = Averaging()

    @classmethod
    def of(cls, values: Values) -> Self:
        """From plain values, which must say every key; UserError for what is unknown, missing or out of its limits."""
        checked = check_arguments(cls, values)
        unknown = [f"{section}.{key}" for section in SECTIONS for key in values.get(section, ())]
        if unknown := [key for key in unknown if key not in run_keys()]:
            raise UserError(unknown_key(unknown[0], run_keys()))
        for key in run_keys():
            section, _, name = key.partition(".")
            if section not in values or (name and name not in values[section]):
                raise UserError(f"{key} has no value: give {key}=...")
        return cls(**{key: _as_typed(value, values[key]) for key, value in checked.items()})

    @classmethod
    def from_stored(cls, stored: Values, given: RunConfig) -> Self:
        """What a run's file or checkpoint says, with requests, and keys that it does not know, as `given` has them."""
        ours = given.values()
        requests = {key: ours[key] for key in REQUEST_KEYS}
        sections = {key: {**ours[key], **stored[key]} for key in SECTIONS if isinstance(stored.get(key), Mapping)}
        return cls.of({**ours, **stored, **sections, **requests})

    def with_changes(self, given: RunConfig, keys: Sequence[str]) -> RunConfig:
        """This configuration with the values that `given` has at some keys, as they are typed."""
        changed: Values = self.values()
        for key in keys:
            if key.startswith("~"):
                raise UserError(f"{key}: a run that goes on or is repeated keeps its keys; give this one another value")
            if key == "experiment":
                raise UserError(
                    "experiment= sets too much at once to be combined with resume= or repeat=: give its keys"
                )
            if key not in REQUEST_KEYS:
                changed = _set_at_path(changed, given.values(), key.split("."))
        return RunConfig.of(changed)

    def changed_keys(self, given: RunConfig, keys: Sequence[str]) -> list[str]:
        """The keys typed, but for requests and for what the run has: naming an option again changes nothing.

        Neither does epochs=null, for how many suit the data has been decided.
        """
        same = {key for key, option in given.options.items() if self.options[key].name == option.name}
        same |= {"epochs"} if given.epochs is None else set()
        return [key for key in keys if key not in REQUEST_KEYS and key not in same]

    def changed_values(self, given: RunConfig, keys: Sequence[str]) -> Values:
        """What `given` changes at some keys of a run that goes on; UserError for a change of what has been trained."""
        before, below = flatten(self.values()), tuple(f"{key}." for key in keys)
        typed = {key: value for key, value in flatten(given.values()).items() if key in keys or key.startswith(below)}
        changes = {key: value for key, value in typed.items() if value != before.get(key)}
        refused = [key for key in changes if is_immutable(key)]
        if refused:
            was = ", ".join(f"{key}={plain(before.get(key))}" for key in refused)
            raise UserError(
                f"resume={given.resume}: {', '.join(refused)} cannot change in a run that goes on (it has {was}); "
                "leave it out, or start a new run"
            )
        return changes

    def with_epochs(self, n_train: int) -> RunConfig:
        """The same with as many epochs as suit the number of training observations, unless it says how many."""
        return self if self.epochs else dataclasses.replace(self, epochs=max(MIN_EPOCHS, -(-SHOWN // n_train)))

    @property
    def n_epochs(self) -> int:
        """How many epochs there are; UserError before the data have decided that."""
        if self.epochs is None:
            raise UserError("epochs=null: give a number of epochs")
        return self.epochs

    def every_epochs(self, wanted: int | None) -> int:
        """Epochs between two of what `wanted` says how often to do; None: every one, but at most MOST_LOOKS times."""
        return wanted or -(-self.n_epochs // MOST_LOOKS)

    def with_paths(self) -> RunConfig:
        """The same with the data's paths as every later command will find them, from whichever folder."""
        return dataclasses.replace(self, dataset=Choice(absolute_paths(self.dataset)))

    @property
    def folder(self) -> str | None:
        """Where a new run is asked to be; None: in a folder called by the time."""
        return self.output if self.name is None else str(Path("outputs", self.dataset.name, self.name))

    @property
    def options(self) -> Mapping[str, Choice]:
        """The option of each group, by the group's name."""
        return {key: value for key, value in vars(self).items() if isinstance(value, Choice)}

    def values(self) -> Values:
        """Plain values, as they are typed, in the order of config.yaml."""
        return {key: _plain(value) for key, value in vars(self).items()}

    def without_requests(self) -> Values:
        """The same without what says how and where to train it, rather than what: config.yaml's content."""
        return {**{key: value for key, value in self.values().items() if key not in REQUEST_KEYS}, "output": None}

    def flat(self) -> Values:
        """What is stored, as one dictionary with dotted keys."""
        return flatten(self.without_requests())

    def write(self, folder: RunFolder) -> str:
        """Write config.yaml; its text."""
        text = dump_yaml(self.without_requests())
        replace_text(folder.config, text)
        return text


def _as_typed(checked: Any, value: Any) -> Any:
    """A checked value, but a whole number stays one where any number may be: it is written as it was typed."""
    if dataclasses.is_dataclass(checked) and not isinstance(checked, type):
        return dataclasses.replace(checked, **{k: _as_typed(v, value[k]) for k, v in vars(checked).items()})
    return value if type(value) is int and isinstance(checked, float) else checked


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return dict(value)
    return dict(vars(value)) if dataclasses.is_dataclass(value) else value


def _set_at_path(config: Any, given: Any, path: Sequence[str]) -> Values:
    """`config` with the value that `given` has at a path of keys."""
    first, *rest = path
    config = config if isinstance(config, Mapping) else {}  # a stranger's; what it lacks is refused later
    return {**config, first: _set_at_path(config.get(first, {}), given[first], rest) if rest else given[first]}


class KeyOfRun(NamedTuple):
    """A key as it is typed (ema.decay), and what the fields say of it."""

    default: Any  # None for a group, whose options are files
    rule: Rule


@cache
def run_keys() -> Mapping[str, KeyOfRun]:
    """Every key of a training run, a group's under the group's name."""
    return dict(_keys_of(RunConfig))


def _keys_of(section: type, prefix: str = "") -> Iterator[tuple[str, KeyOfRun]]:
    hints = typing.get_type_hints(section, include_extras=True)
    for one in dataclasses.fields(section):
        hint = hints[one.name]
        if dataclasses.is_dataclass(hint):
            yield from _keys_of(typing.cast(type, hint), f"{one.name}.")
            continue
        rules = [found for found in getattr(hint, "__metadata__", ()) if isinstance(found, Rule)]
        default = one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
        default = None if default is dataclasses.MISSING else default
        yield prefix + one.name, KeyOfRun(default, rules[0] if rules else Rule())


REQUEST_KEYS = tuple(key for key, (_, rule) in run_keys().items() if rule.request)
IMMUTABLE_KEYS = tuple(key for key, (_, rule) in run_keys().items() if rule.immutable)
NON_DISTINGUISHING_KEYS = tuple(key for key, (_, rule) in run_keys().items() if not rule.distinguishes)
SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in run_keys() if "." in key))


def is_immutable(key: str) -> bool:
    """Whether a key, or a key of a group's option, cannot change in a run that goes on."""
    group, _, name = key.partition(".")
    found = run_keys().get(key) or run_keys().get(group)
    if found is None:
        return False
    return found.rule.immutable and not (name and key != group and {name, "*"} & {*found.rule.free})


def read_config(path: Path) -> Values:
    """A run's config.yaml, or that of a run's folder: plain values, in which nothing is interpolated or executed."""
    path = RunFolder(path).config if path.is_dir() else path
    try:
        if not path.exists():
            raise UserError(f"{path}: there is no such file; expected a run's folder or its {CONFIG}")
        config = load_yaml(read(path))
    except (OSError, ValueError, Damaged) as error:
        raise UserError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(config, dict) or not isinstance(config.get("dataset"), dict):
        raise UserError(f"{path}: is not the configuration of a run")
    return config
