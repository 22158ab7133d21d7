"""The base class of data sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.files import read_observations
from vaecli.datasets.reading.gallery import ImageOptions
from vaecli.datasets.reading.pixels import sizes
from vaecli.datasets.reading.report import Labels, Part, Reading, counted
from vaecli.datasets.reading.rewrite import Rewritable
from vaecli.datasets.rows import kept
from vaecli.datasets.split import Split, Splits
from vaecli.utils.columns import ColumnKind
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.option import Option
from vaecli.utils.types import Values


class Dataset(Option, abstract=True):
    """Observations for training, validation and test, and what is known about them.

    grid: (P,), the points of a curve's P values; None: not curves
    label: the name of a curve's values
    names: of a table's columns; None: not a table
    label_names: of the classes, or of the columns of numbers, in y; None: none
    items: the file names of pictures, indexed by a split's `rows`; known after `load`; None: not pictures from files
    display_range: the values to draw black and white
    gaps: whether NaN stands for a missing number
    wants_kinds: whether columns of text are read as categories, and the kinds of all columns determined
    column_kinds: of a table; None until they are determined
    categories: the texts of each column whose values are codes, None for other columns; None: there are none
    resizes: whether images of any size are scaled to x_shape
    recipe: the experiment=NAME that suits the data; None: none
    factors: the arguments of `observation`; (): the data set has no such method
    reading: what was read and how, after `load`; None: nothing was read from the user's files
    rows, without_rows: files of row numbers, to keep only these or to leave them out; keys of every data set
    calibration: after `load`, observations that are in no split, for `vae alarm`; None: there are none
    """

    grid: Tensor | None = None
    label: str = ""
    names: Sequence[str] | None = None
    label_names: Sequence[str] | None = None
    items: Sequence[str] | None = None
    display_range: tuple[float, float] = (0.0, 1.0)
    gaps: bool = False
    wants_kinds: bool = False
    column_kinds: Sequence[ColumnKind] | None = None
    categories: Sequence[Sequence[str] | None] | None = None
    resizes: bool = False
    recipe: ClassVar[str | None] = None
    factors: ClassVar[tuple[str, ...]] = ()
    reading: Reading | None = None
    calibration: Split | None = None
    settable: ClassVar[tuple[str, ...]] = ("rows", "without_rows")
    rows: str | None = None
    without_rows: str | None = None

    @abstractmethod
    def load(self) -> Splits:
        """The three splits; UserError if the data are missing or unusable."""

    def splits(self) -> Splits:
        """The three splits, with only `rows`, or without `without_rows`; UserError as `load`."""
        whole = splits = self.load()
        for key, leave_out in (("rows", False), ("without_rows", True)):
            if (name := getattr(self, key)) is not None:
                if splits is not whole:
                    raise UserError("dataset.rows and dataset.without_rows: give one of them")
                splits = kept(whole, expanded(name), f"dataset.{key}={name}", leave_out)
        return splits

    def observation(self, **factors: float) -> Tensor:
        """The observation (*x_shape) with these `factors`."""
        raise NotImplementedError

    def described(self, name: str, splits: Splits) -> Reading:
        """What was read and how, or, if nothing was read from files, what the splits hold."""
        if self.reading is not None:
            return self.reading
        parts = {key: Part(len(part), "") for key, part in splits._asdict().items() if part is not None}
        n, shape = sum(part.n for part in parts.values()), splits.train.x_shape
        of = f"pictures of {sizes(shape)}" if len(shape) == 3 else f"observations of {shape[0]:,} numbers"
        return Reading(f"{name}: {n:,} {of}", {}, parts, self._labels(splits))

    def _labels(self, splits: Splits) -> Labels | None:
        """A description of the splits' labels."""
        several = [part.y for part in splits if part is not None and part.y is not None]
        if not several or not self.label_names:
            return None
        if several[0].is_floating_point():
            return Labels(", ".join(self.label_names), "", "numbers")
        return Labels("given", "", "classes", counted([int(k) for y in several for k in y.tolist()], self.label_names))

    @property
    def settings_from_data(self) -> Mapping[str, object]:
        """Keys of the option whose values were decided when the data were read; a run stores them."""
        return {"columns": list(self.names)} if self.names else {}

    def read_input(self, what: str, path: Path, x_shape: tuple[int, ...]) -> Content:
        """Observations (N, *x_shape) of a file of the user's, or a folder of pictures, read as the data set's own are.

        what: the beginning of messages. UserError for a file that cannot be read or has another shape.
        """
        size = (x_shape[1], x_shape[2]) if self.resizes and len(x_shape) == 3 else None
        return read_observations(what, path, ReadOptions(), x_shape, ImageOptions(size=size))

    def rewritable(self, what: str, name: str, n: int) -> Rewritable:
        """A table of n rows, read as the data set's own are, to be written again with its gaps filled."""
        raise UserError(
            f"{what}: vae impute fills the gaps of tables (.csv, .tsv, .txt, .dat, .parquet), which this run is not on"
        )

    @classmethod
    def localise(cls, settings: Values, keep: bool) -> dict[str, str]:
        """Paths, by their keys, that replace those of a run's settings when its data are loaded on this machine.

        keep: the user trained the run here, so that its own paths may stay
        """
        return {}
