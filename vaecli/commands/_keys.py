"""The keys that commands on a trained run share, as conf/run.yaml and conf/run_data.yaml have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from vaecli.commands._run import Keys
from vaecli.datasets.reading.choice import Channels, Decimal, Encoding, Pages, Separator, Texts, White
from vaecli.utils.errors import UserError
from vaecli.utils.files import check_output, check_unread, expanded
from vaecli.utils.schema import check_value
from vaecli.utils.text import figure
from vaecli.utils.types import NonNegativeInt, Part, Seed, Values

if TYPE_CHECKING:  # keys are checked before torch is imported
    from vaecli.models.load import Run
    from vaecli.plots.columns import Reference
    from vaecli.plots.view import View

Checkpoint = Literal["best", "last", "ema"]
Mode = Literal["mean", "draw"]
MODES: Mapping[Mode, str] = {"mean": "means of p(x|z)", "draw": "draws from p(x|z)"}
INPUTS = ("input", "rows", "z")  # keys of commands that name a file to read
DATA_FILES = ("path", "val_path", "test_path", "rows", "without_rows")  # keys of a data set that do
Steps = Annotated[int, Field(strict=True, ge=2, le=100)]  # 100: more than a picture shows


@dataclass(kw_only=True)
class RunKeys(Keys):
    """The keys of conf/run.yaml; a command adds its own."""

    FILE: ClassVar[str] = ""  # the file's name in the run's folder, with keys in braces; `output` can name another
    ALSO: ClassVar[tuple[str, ...]] = ()  # suffixes of further files of that name
    run: str
    checkpoint: Checkpoint
    output: str | None
    trust: list[str] = field(default_factory=list)
    target: Path = field(init=False)  # the file to write

    @property
    def file_name(self) -> str:
        """The name of the file to write; `output` must have the same suffix."""
        return self.FILE.format_map(vars(self))

    def load(self) -> list[Run]:
        """The run asked for, or the runs of a command that takes several."""
        from vaecli.models.load import load_run

        return [load_run(self.run, self.checkpoint, "cpu", self.trust)]

    def home(self, runs: list[Run]) -> Path:
        """The folder to write in, unless `output` is given."""
        return runs[0].folder.path

    def prepare(self) -> list[Run]:
        """Load the runs and find out which file to write; UserError if either is impossible."""
        runs = self.load()
        if not self.file_name:
            if self.output is not None:
                raise UserError(f"output={self.output}: this command writes no file; leave output out")
            return runs
        default = self.home(runs) / self.file_name
        remedy = "change name or format" if hasattr(self, "format") else "change the name"
        named = expanded(self.output) if self.output else default
        self.target = check_output(named, default.suffix.removeprefix("."), remedy)
        for target in self.targets:
            check_unread(target, self.sources(runs))
        return runs

    @property
    def targets(self) -> list[Path]:
        """All files that the command may write under names of its own choice."""
        return [self.target, *map(self.target.with_suffix, self.ALSO)]

    def sources(self, runs: list[Run]) -> Iterator[str]:
        """The files that the command may read: those that its keys name, and the runs' data."""
        named = [getattr(self, key, None) for key in INPUTS]
        own = [run.config["dataset"].get(key) for run in runs for key in DATA_FILES]
        return (name for name in (*named, *own) if isinstance(name, str))


@dataclass
class DataPaths:
    """Where a run's data are and how they are read; None: as the run's configuration says."""

    path: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    root: str | None = None
    rows: str | None = None
    without_rows: str | None = None
    header: bool | None = None
    separator: Separator | None = None
    decimal: Decimal | None = None
    encoding: Encoding | None = None
    missing_values: Texts | None = None
    channels: Channels | None = None
    pages: Pages | None = None
    white: White | None = None

    @property
    def given(self) -> Values:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(kw_only=True)
class DataKeys(RunKeys):
    """The keys of conf/run.yaml and conf/run_data.yaml."""

    device: str
    dataset: DataPaths = field(default_factory=DataPaths)

    def load(self) -> list[Run]:
        return [self.load_one(self.run, self.dataset.given)]

    def load_one(self, run: str, data: Values) -> Run:
        """A run on the device asked for; data: the keys of its data set that replace the run's own."""
        from vaecli.models.load import load_run

        return load_run(run, self.checkpoint, self.device, self.trust, data)


@dataclass
class ObservedKeys(DataKeys):
    """The keys of commands on observations of a split or of a file of the user's."""

    split: Part
    input: str | None
    seed: Seed


@dataclass(kw_only=True)
class InputKeys(DataKeys):
    """The keys of commands that require a file of the user's."""

    INPUT_CONTENT: ClassVar[str]  # what the file holds
    input: str | None

    def load(self) -> list[Run]:
        if self.input is None:
            raise UserError(f"input has no value: give input=FILE, {self.INPUT_CONTENT}")
        return super().load()


@dataclass
class Images:
    """How images are drawn."""

    channels: list[NonNegativeInt] | None = None

    def of(self, run: Run) -> list[int] | None:
        """The channels asked for, or those that the run was trained with."""
        if self.channels is not None:
            return self.channels
        images = run.config.get("images")
        channels = images.get("channels") if isinstance(images, Mapping) else None
        return None if channels is None else check_value("images.channels", channels, list[NonNegativeInt])


@dataclass(kw_only=True)
class DrawKeys(DataKeys):
    """The keys of commands that draw: conf/run.yaml, conf/run_data.yaml and conf/pictures.yaml."""

    images: Images = field(default_factory=Images)

    def view(self, run: Run) -> View:
        """The figures for a run's observations."""
        return run_view(run, self.images)

    def heading(self, run: Run, what: str) -> str:
        """A figure's title: what it shows, and of which run."""
        return f"{what}\n{source(run)}"


def source(run: Run) -> str:
    """A run's name and epoch, for a figure."""
    return f"{figure(run.folder.title)}, epoch {run.epoch} ({run.checkpoint} checkpoint)"


def reference(run: Run) -> Reference | None:
    """The units of a table's figures: those of the training data if these may be read, else the model's."""
    from vaecli.models.inference import find_standardizer
    from vaecli.models.load import load_split
    from vaecli.plots.columns import Reference

    try:
        return Reference.of(load_split(run, "train"))
    except UserError:
        standardizer = find_standardizer(run.model)
        return None if standardizer is None else Reference(standardizer.mean, standardizer.scale)


def run_view(run: Run, images: Images | None = None) -> View:
    """The figures for a run's observations; without `images`, with the channels that it was trained with."""
    from vaecli.plots.view import view_of

    return view_of(run.dataset, run.model.x_shape, (images or Images()).of(run), partial(reference, run))
