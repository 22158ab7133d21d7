"""The contents of summary.json, evaluation.json and comparison.json: a schema for each, to write, read and check it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vaecli.runs.read import Damaged, load_json, mapping
from vaecli.utils.schema import as_typed
from vaecli.utils.text import printable, shorten
from vaecli.utils.types import NonNegativeInt, Seed

EXPECTED = {  # by the first word of pydantic's name for an error
    "int": "a whole number", "float": "a number", "finite": "a finite number", "less": "a number in the usual range",
    "greater": "a number in the usual range", "string": "text", "list": "a list", "dict": "a mapping",
    "model": "a mapping",
}  # fmt: skip
MAX_NAMED = 3


def null_if_not_finite(value: object) -> object:
    """None for NaN and infinities, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float, Field(gt=-1e300, lt=1e300, allow_inf_nan=False)]
FiniteOrNull = Annotated[Number | None, BeforeValidator(null_if_not_finite)]


class Record(BaseModel):
    """A JSON object. Unknown entries, as from another version, are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file; Damaged, with the entries that are missing or of another type, if it is invalid."""
        values = mapping(path, load_json)
        try:
            with problems_named():
                return cls.model_validate(values)
        except ValueError as error:
            raise Damaged(f"{path.name}: {error}") from None

    def with_entries(self, other: Self) -> Self:
        """This record, updated by the entries of `other`."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})

    def text(self) -> str:
        """The record as a JSON text, with the entries that it was given."""
        return json.dumps(self.model_dump(exclude_unset=True), indent=2) + "\n"


@contextmanager
def problems_named() -> Iterator[None]:
    """Within it, missing entries and those of another type become a ValueError of one line."""
    try:
        yield
    except ValidationError as error:
        problems = [problem(one["type"], one["loc"], one["input"], one.get("ctx")) for one in error.errors()]
        more = f" and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        raise ValueError(", ".join(problems[:MAX_NAMED]) + more) from None


def problem(kind: str, place: tuple[int | str, ...], value: object, context: dict[str, Any] | None) -> str:
    """What is wrong with one entry: "best.epoch is many, not a whole number"."""
    key = shorten(printable(".".join(map(str, place))), 60)
    if kind == "missing":
        return f"{key} is missing"
    expected = (context or {}).get("expected") if kind == "literal_error" else EXPECTED.get(kind.partition("_")[0])
    return f"{key} is {shorten(as_typed(value), 40)}, not {expected or 'a valid value'}"


class Best(Record):
    """The best checkpoint's figures on the validation split (the training split without one)."""

    epoch: NonNegativeInt
    elbo: FiniteOrNull = None
    bound: FiniteOrNull = None


class Means(Record):
    """A checkpoint's mean figures on the test split."""

    elbo: FiniteOrNull
    bound: FiniteOrNull = None
    log_px: FiniteOrNull
    kl: FiniteOrNull


class DataSet(Record):
    """The data set's name, the number of observations in each split, and its checksum."""

    name: str
    train: NonNegativeInt | None = None
    val: NonNegativeInt | None = None
    test: NonNegativeInt | None = None
    sha256: str | None = None


class Resumed(Record):
    """The step from which a run was resumed, and what the command line changed."""

    step: int
    changes: dict[str, Any]


class Summary(Record):
    """summary.json, which is written anew at each stage of a run; every entry may still be missing."""

    command: str | None = None
    status: Literal["running", "completed", "pruned", "interrupted", "failed"] | None = None
    id: str | None = None
    host: str | None = None  # the machine that trains it
    resumed: list[Resumed] | None = None
    epochs: NonNegativeInt | None = None  # completed ones
    best: Best | None = None
    test: Means | None = None
    test_ema: Means | None = None
    error: str | None = None
    parameters: NonNegativeInt | None = None
    device: str | None = None
    seed: Seed | None = None
    versions: dict[str, str] | None = None
    git_commit: str | None = None
    data: DataSet | None = None
    reading: dict[str, Any] | None = None  # which files were read, and how
    seconds: FiniteOrNull = None  # of training, without the time between an interruption and its resumption
    observations_per_second: FiniteOrNull = None
    active_units: NonNegativeInt | None = None
    kl_per_dim: list[FiniteOrNull] | None = None  # nats


class EvaluationSettings(Record):
    """The settings that have to be known to compare an evaluation's figures with others."""

    dataset: str
    split: str | None
    input: str | None = None  # a file of the user's
    observations: NonNegativeInt
    of: NonNegativeInt
    binarize: Any  # as the data set takes it
    binarize_seed: Any
    estimator: Literal["posterior", "prior"]
    k: NonNegativeInt
    widen: Number | None
    checkpoint: str
    epoch: int
    seed: Seed
    device: str
    version: str
    seconds: Number
    peak_memory_bytes: int | None


class Figures(Record):
    """An evaluation's means over observations, in nats except `ess`, `mse` and the counts."""

    elbo: Number
    log_px: Number
    kl: Number
    nll: Number
    nll_stderr: FiniteOrNull
    nll_mc_stderr: FiniteOrNull
    ess: Number
    pareto_k: FiniteOrNull = None
    pareto_k_high: FiniteOrNull = None  # the share of observations
    active_units: NonNegativeInt
    latent_dim: NonNegativeInt
    kl_per_dim: list[Number] | None
    mse: Number | None  # None for a table whose columns have units of their own
    bits_per_dim: Number | None
    exact_nll: FiniteOrNull = None
    exact_error: FiniteOrNull = None
    exact_refused: NonNegativeInt | None = None

    def with_exact(self, nll: float | None, error: float, refused: int) -> Self:
        """With those of quadrature; refused: the number of integrals that are not exact."""
        values = {**self.model_dump(), "exact_nll": nll, "exact_error": error, "exact_refused": refused}
        return type(self).model_validate(values)


class Evaluation(Figures):
    """evaluation.json."""

    protocol: EvaluationSettings


class Compared(Record):
    """One of the runs of a comparison."""

    run: str
    label: str
    epoch: int
    nll: FiniteOrNull
    nll_stderr: FiniteOrNull


class Difference(Record):
    """log p(x) of a run minus that of the first one, paired, in nats."""

    run: str
    mean: FiniteOrNull
    stderr: FiniteOrNull  # over observations
    mc_stderr: FiniteOrNull  # over draws
    wins: FiniteOrNull  # share of the observations


class OverSeeds(Record):
    """How much better the runs of a second folder are than those of a first one, by pairs of equal seeds, in nats."""

    seeds: list[Seed]
    mean: FiniteOrNull
    stderr: FiniteOrNull  # of the mean, over seeds
    std: FiniteOrNull


class Comparison(Record):
    """comparison.json."""

    runs: list[Compared]
    differences: list[Difference]  # of each run but the first; of two folders of seeds, of each pair
    over_seeds: OverSeeds | None = None
    split: str | None
    input: str | None = None
    observations: NonNegativeInt
    k: NonNegativeInt
    estimator: Literal["posterior", "prior"]
    checkpoint: str
    seed: Seed
