"""The configuration of a training run: every key once, with its limits and its rules, and its file config.yaml."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, PlainValidator

from vaecli.runs.access import PATHS
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import CONFIG
from vaecli.runs.read import Damaged, dump_yaml, load_yaml, read
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, refuse_no_text, replace_text
from vaecli.utils.schema import check_arguments, flatten, unknown_key
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


IMMUTABLE, REQUEST, SAYS_NOTHING = Rule(immutable=True), Rule(request=True), Rule(distinguishes=False)


class Option(Mapping[str, Any]):
    """The option chosen of a group: its name, the class that it stands for, and that class's arguments."""

    def __init__(self, entries: Values) -> None:
        self._entries = dict(entries)

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Option({self._entries})"

    @property
    def name(self) -> str:
        return str(self.get("name"))

    def filled(self, **arguments: Any) -> Option:
        return Option({**self._entries, **arguments})


def as_option(value: Any) -> Option:
    if not isinstance(value, Mapping):
        raise ValueError("should be the name of an option of this group")
    return Option(value)


Group = Annotated[Option, PlainValidator(as_option)]


@dataclass(frozen=True)
class Validation:
    every_epochs: PositiveInt = 1


@dataclass(frozen=True)
class CheckpointSchedule:
    every_epochs: Annotated[PositiveInt, SAYS_NOTHING] = 1
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
    epochs: PositiveInt = 10
    batch_size: Annotated[PositiveInt, IMMUTABLE] = 128
    seed: Annotated[Seed, IMMUTABLE] = 0
    start_at_mean: Annotated[bool, IMMUTABLE] = True
    clip_grad_norm: PositiveFloat | None = None
    device: Annotated[str, SAYS_NOTHING] = "auto"
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
    def completed(cls, stored: Values, given: RunConfig) -> Self:
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
                changed = _put(changed, given.values(), key.split("."))
        return RunConfig.of(changed)

    def with_paths(self) -> RunConfig:
        """The same with the data's paths as every later command will find them, from whichever folder."""
        return dataclasses.replace(self, dataset=absolute_paths(self.dataset))

    @property
    def folder(self) -> str | None:
        """Where a new run is asked to be; None: in a folder called by the time."""
        return self.output if self.name is None else str(Path("outputs", self.dataset.name, self.name))

    @property
    def options(self) -> Mapping[str, Option]:
        """The option of each group, by the group's name."""
        return {key: value for key, value in vars(self).items() if isinstance(value, Option)}

    def values(self) -> Values:
        """Plain values, as they are typed, in the order of config.yaml."""
        return {key: _plain(value) for key, value in vars(self).items()}

    def stored(self) -> Values:
        """The same without what says how and where to train it, rather than what: config.yaml's content."""
        return {**{key: value for key, value in self.values().items() if key not in REQUEST_KEYS}, "output": None}

    def flat(self) -> Values:
        """What is stored, as one dictionary with dotted keys."""
        return flatten(self.stored())

    def write(self, folder: RunFolder) -> str:
        """Write config.yaml; its text."""
        text = dump_yaml(self.stored())
        replace_text(folder.config, text)
        return text


def _as_typed(checked: Any, value: Any) -> Any:
    """A checked value, but a whole number stays one where any number may be: it is written as it was typed."""
    if dataclasses.is_dataclass(checked) and not isinstance(checked, type):
        return dataclasses.replace(checked, **{k: _as_typed(v, value[k]) for k, v in vars(checked).items()})
    return value if type(value) is int and isinstance(checked, float) else checked


def _plain(value: Any) -> Any:
    if isinstance(value, Option):
        return dict(value)
    return dict(vars(value)) if dataclasses.is_dataclass(value) else value


def _put(config: Any, given: Any, path: Sequence[str]) -> Values:
    """`config` with the value that `given` has at a path of keys."""
    first, *rest = path
    config = config if isinstance(config, Mapping) else {}  # a stranger's; what it lacks is refused later
    return {**config, first: _put(config.get(first, {}), given[first], rest) if rest else given[first]}


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


def absolute_paths(dataset: Values) -> Option:
    """A data set's option with the paths as every later command will find them, from whichever folder."""
    paths = {key: dataset[key] for key in PATHS if isinstance(dataset.get(key), str)}
    paths = {key: str(expanded(path).absolute()) for key, path in paths.items()}
    for key, path in paths.items():
        refuse_no_text(f"dataset.{key}={path}", path)
    return Option({**dataset, **paths})


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
