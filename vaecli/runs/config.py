"""The configuration of a training run: every key once, with its limits and its rules, and its file config.yaml."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from vaecli.runs.access import PATHS, absolute_paths
from vaecli.runs.choice import Choice, Group
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import CONFIG
from vaecli.runs.read import Damaged, dump_yaml, load_yaml, read
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_text
from vaecli.utils.schema import as_typed, check_arguments, flatten, unknown_key
from vaecli.utils.types import FolderName, NonNegativeInt, PositiveFloat, PositiveInt, Seed, UserPath, Values


@dataclass(frozen=True)
class Rule:
    """The properties of a key besides its limits.

    immutable: cannot change when a run is resumed, since the weights and the figures so far depend on it
    free: keys below an immutable one that can change; `*` is all of them
    request: says what to do and is not stored with the run, such as `resume`
    distinguishes: counts as a difference between runs
    """

    immutable: bool = False
    free: tuple[str, ...] = ()
    request: bool = False
    distinguishes: bool = True


MIN_OBSERVATIONS, MIN_EPOCHS = 500_000, 10  # the least of a run with epochs=null: training observations, epochs
MAX_VALIDATIONS = 50  # validations, or writes of last.safetensors, of a run that does not set the interval

IMMUTABLE, REQUEST, NOT_DISTINGUISHING = Rule(immutable=True), Rule(request=True), Rule(distinguishes=False)


@dataclass(frozen=True)
class Validation:
    every_epochs: PositiveInt | None = None


@dataclass(frozen=True)
class CheckpointSchedule:
    every_epochs: Annotated[PositiveInt | None, NOT_DISTINGUISHING] = None
    every_seconds: Annotated[PositiveFloat | None, NOT_DISTINGUISHING] = None


@dataclass(frozen=True)
class Images:
    every_epochs: Annotated[PositiveInt | None, NOT_DISTINGUISHING] = None
    channels: Annotated[list[NonNegativeInt] | None, NOT_DISTINGUISHING] = None


@dataclass(frozen=True)
class EarlyStopping:
    patience: PositiveInt | None = None


@dataclass(frozen=True)
class Averaging:
    decay: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, IMMUTABLE] = None


@dataclass(frozen=True)
class Sweep:
    skip_completed: Annotated[bool, Rule(request=True, distinguishes=False)] = False


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The keys of conf/train.yaml, in the order of config.yaml. The YAML file explains them; their limits are here.

    The keys of a group are checked by the option's class.
    """

    dataset: Annotated[Group, Rule(immutable=True, free=PATHS)]  # the data's checksum shows that they are the same
    architecture: Annotated[Group, Rule(immutable=True, free=("recompute",))]
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
    accumulate: Annotated[PositiveInt, NOT_DISTINGUISHING] = 1
    seed: Annotated[Seed, IMMUTABLE] = 0
    seeds: Annotated[PositiveInt | None, Rule(request=True, distinguishes=False)] = None
    start_at_mean: Annotated[bool, IMMUTABLE] = True
    clip_grad_norm: PositiveFloat | None = None
    device: Annotated[str, NOT_DISTINGUISHING] = "auto"
    compile: Annotated[Literal["auto", True, False], NOT_DISTINGUISHING] = "auto"
    precision: Literal["float32", "bf16"] = "float32"
    output: Annotated[UserPath | None, Rule(request=True, distinguishes=False)] = None
    name: Annotated[FolderName | None, Rule(request=True, distinguishes=False)] = None
    resume: Annotated[UserPath | None, REQUEST] = None
    repeat: Annotated[UserPath | None, REQUEST] = None
    prior_of: Annotated[UserPath | None, IMMUTABLE] = None
    trust: Annotated[list[str], REQUEST] = field(default_factory=list)
    validate: Validation = Validation()
    checkpoint: CheckpointSchedule = CheckpointSchedule()
    images: Images = Images()
    early_stopping: EarlyStopping = EarlyStopping()
    ema: Averaging = Averaging()
    sweep: Sweep = Sweep()

    @classmethod
    def of(cls, values: Values) -> Self:
        """The configuration of plain values with every key; UserError for an unknown, missing or invalid key."""
        checked = check_arguments(cls, values)
        unknown = [f"{section}.{key}" for section in SECTIONS for key in values.get(section, ())]
        if unknown := [key for key in unknown if key not in run_keys()]:
            raise UserError(unknown_key(unknown[0], run_keys()))
        for key in run_keys():
            section, _, name = key.partition(".")
            if section not in values or (name and name not in values[section]):
                raise UserError(f"{key} has no value: give {key}=...")
        return cls(**{key: _keep_whole_numbers(value, values[key]) for key, value in checked.items()})

    @classmethod
    def from_stored(cls, stored: Values, given: RunConfig) -> Self:
        """The configuration in a run's file or checkpoint; requests, and keys that it lacks, are taken from `given`."""
        ours = given.values()
        requests = {key: ours[key] for key in REQUESTS}
        sections = {key: {**ours[key], **stored[key]} for key in SECTIONS if isinstance(stored.get(key), Mapping)}
        return cls.of({**ours, **stored, **sections, **requests})

    def with_changes(self, given: RunConfig, keys: Sequence[str]) -> RunConfig:
        """This configuration with the values of `given` for some keys."""
        changed: Values = self.values()
        for key in keys:
            if key.startswith("~"):
                raise UserError(f"{key}: a resumed or repeated run keeps its keys; give this one another value instead")
            if key == "experiment":
                raise UserError("experiment= cannot be combined with resume= or repeat=; give its keys one by one")
            if key not in REQUEST_KEYS:
                changed = _set_at_path(changed, given.values(), key.split("."))
        return RunConfig.of(changed)

    def changed_keys(self, given: RunConfig, keys: Sequence[str]) -> list[str]:
        """The typed keys, except requests, options that the run already has, and epochs=null.

        The number of epochs was fixed when the run began.
        """
        same = {key for key, option in given.options.items() if self.options[key].name == option.name}
        same |= {"epochs"} if given.epochs is None else set()
        return [key for key in keys if key not in REQUEST_KEYS and key not in same]

    def changed_values(self, given: RunConfig, keys: Sequence[str]) -> Values:
        """What `given` changes at some keys of a resumed run; UserError for an immutable key."""
        before, below = flatten(self.values()), tuple(f"{key}." for key in keys)
        given_values = {
            key: value for key, value in flatten(given.values()).items() if key in keys or key.startswith(below)
        }
        changes = {key: value for key, value in given_values.items() if value != before.get(key)}
        refused = [key for key in changes if is_immutable(key)]
        if refused:
            was = ", ".join(f"{key}={as_typed(before.get(key))}" for key in refused)
            raise UserError(
                f"resume={given.resume}: {', '.join(refused)} cannot change when a run is resumed (it has {was}); "
                "leave it out, or start a new run"
            )
        return changes

    def with_epochs(self, n_train: int) -> RunConfig:
        """The same with a number of epochs that suits n_train training observations, unless it has one."""
        epochs = self.epochs or max(MIN_EPOCHS, -(-MIN_OBSERVATIONS // n_train))
        return dataclasses.replace(self, epochs=epochs)

    @property
    def n_epochs(self) -> int:
        """The number of epochs; UserError before it is known."""
        if self.epochs is None:
            raise UserError("epochs=null: give a number of epochs")
        return self.epochs

    def every_epochs(self, wanted: int | None) -> int:
        """The interval `wanted`, in epochs; None: each epoch, or an interval that gives at most MAX_VALIDATIONS."""
        return wanted or -(-self.n_epochs // MAX_VALIDATIONS)

    def with_paths(self) -> RunConfig:
        """The same with absolute paths of the data, so that later commands find them from any folder."""
        return dataclasses.replace(self, dataset=Choice(absolute_paths(self.dataset)))

    @property
    def folder(self) -> str | None:
        """The folder that the user asks for; None: one named by the time."""
        return self.output if self.name is None else str(Path("outputs", self.dataset.name, self.name))

    @property
    def options(self) -> Mapping[str, Choice]:
        """The option of each group, by the group's name."""
        return {key: value for key, value in vars(self).items() if isinstance(value, Choice)}

    def values(self) -> Values:
        """Plain values, as they are typed, in the order of config.yaml."""
        return {key: _plain(value) for key, value in vars(self).items()}

    def without_requests(self) -> Values:
        """The same without requests and output: the content of config.yaml."""
        return {**{key: value for key, value in self.values().items() if key not in REQUESTS}, "output": None}

    def flat(self) -> Values:
        """The content of config.yaml as one dictionary with dotted keys."""
        return flatten(self.without_requests())

    def write(self, folder: RunFolder) -> str:
        """Write config.yaml; returns its text."""
        text = dump_yaml(self.without_requests())
        replace_text(folder.config, text)
        return text


def _keep_whole_numbers(checked: Any, value: Any) -> Any:
    """A checked value; a whole number stays one even where a float is expected, so that it is written as typed."""
    if dataclasses.is_dataclass(checked) and not isinstance(checked, type):
        return dataclasses.replace(checked, **{k: _keep_whole_numbers(v, value[k]) for k, v in vars(checked).items()})
    return value if type(value) is int and isinstance(checked, float) else checked


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return dict(value)
    return dict(vars(value)) if dataclasses.is_dataclass(value) else value


def _set_at_path(config: Any, given: Any, path: Sequence[str]) -> Values:
    """`config` with the value that `given` has at a path of keys."""
    first, *rest = path
    config = config if isinstance(config, Mapping) else {}  # from a stranger's file; what it lacks is refused later
    return {**config, first: _set_at_path(config.get(first, {}), given[first], rest) if rest else given[first]}


@cache
def run_keys() -> Mapping[str, Rule]:
    """Every key of a training run as it is typed (ema.decay), and its properties; a group is one key."""
    return dict(_keys_of(RunConfig))


def _keys_of(section: type, prefix: str = "") -> Iterator[tuple[str, Rule]]:
    hints = typing.get_type_hints(section, include_extras=True)
    for one in dataclasses.fields(section):
        hint = hints[one.name]
        if dataclasses.is_dataclass(hint):
            yield from _keys_of(typing.cast(type, hint), f"{one.name}.")
            continue
        rules = [entry for entry in getattr(hint, "__metadata__", ()) if isinstance(entry, Rule)]
        yield prefix + one.name, rules[0] if rules else Rule()


REQUEST_KEYS = tuple(key for key, rule in run_keys().items() if rule.request)
REQUESTS = {key.partition(".")[0] for key in REQUEST_KEYS}  # the same, and the sections that hold nothing else
IMMUTABLE_KEYS = tuple(key for key, rule in run_keys().items() if rule.immutable)
NON_DISTINGUISHING_KEYS = tuple(key for key, rule in run_keys().items() if not rule.distinguishes)
SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in run_keys() if "." in key))


def is_immutable(key: str) -> bool:
    """Whether a key, or a key of a group's option, cannot change when a run is resumed."""
    group, _, name = key.partition(".")
    known = run_keys().get(key) or run_keys().get(group)
    if known is None:
        return False
    return known.immutable and not (name and key != group and {name, "*"} & {*known.free})


def read_config(path: Path) -> Values:
    """A config.yaml, or that of a run's folder, as plain values: nothing is interpolated or executed."""
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
