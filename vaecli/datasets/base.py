"""What every data set provides."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from vaecli.datasets.reading.choice import Choice
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.files import read_observations
from vaecli.datasets.reading.gallery import Wanted
from vaecli.datasets.reading.pixels import sizes
from vaecli.datasets.reading.report import Labels, Part, Reading, counted
from vaecli.datasets.split import Splits
from vaecli.utils.option import Option
from vaecli.utils.types import Values


class Dataset(Option, abstract=True):
    """Observations in parts to train on, to validate and to test, and what there is to say of them.

    grid: (P,), where the P numbers of a curve lie; None: no curves
    label: what a curve's numbers are
    names: of a table's columns; None: no table
    label_names: of the classes, or of the columns of numbers, in y; None: none
    items: the file of each picture, by a split's `rows`, once they are read; None: they have none
    shown: the values to draw black and white
    gaps: whether NaN stands for what is missing
    resizes: whether images of any size are scaled to x_shape
    recipe: the experiment=NAME that suits the data; None: none
    factors: the names of the numbers that `observation` makes an observation from; (): there are none
    reading: what the data were read from, once they are; None: there is nothing to say but what the splits hold
    """

    grid: Tensor | None = None
    label: str = ""
    names: Sequence[str] | None = None
    label_names: Sequence[str] | None = None
    items: Sequence[str] | None = None
    shown: tuple[float, float] = (0.0, 1.0)
    gaps: bool = False
    resizes: bool = False
    recipe: ClassVar[str | None] = None
    factors: ClassVar[tuple[str, ...]] = ()
    reading: Reading | None = None

    @abstractmethod
    def load(self) -> Splits:
        """The three parts; UserError where the data cannot be had."""

    def observation(self, **factors: float) -> Tensor:
        """The observation (*x_shape) that has these `factors`."""
        raise NotImplementedError

    def described(self, name: str, splits: Splits) -> Reading:
        """What the data were read from, or, where that says nothing, what the parts hold."""
        if self.reading is not None:
            return self.reading
        parts = {key: Part(len(part), "") for key, part in splits._asdict().items() if part is not None}
        n, shape = sum(part.n for part in parts.values()), splits.train.x_shape
        of = f"pictures of {sizes(shape)}" if len(shape) == 3 else f"observations of {shape[0]:,} numbers"
        return Reading(f"{name}: {n:,} {of}", {}, parts, self._labels(splits))

    def _labels(self, splits: Splits) -> Labels | None:
        """What the parts' labels are."""
        several = [part.y for part in splits if part is not None and part.y is not None]
        if not several or not self.label_names:
            return None
        if several[0].is_floating_point():
            return Labels(", ".join(self.label_names), "", "numbers")
        return Labels("given", "", "classes", counted([int(k) for y in several for k in y.tolist()], self.label_names))

    @property
    def settings_from_data(self) -> Mapping[str, object]:
        """Keys of the option that the data have decided, once they are read: a run keeps them."""
        return {"columns": list(self.names)} if self.names else {}

    def read_input(self, what: str, path: Path, x_shape: tuple[int, ...]) -> Content:
        """Observations (N, *x_shape) of a file of the user's, or a folder of pictures, read as the data set's own are.

        what: how a message begins. UserError for what cannot be read, or has another shape.
        """
        size = (x_shape[1], x_shape[2]) if self.resizes and len(x_shape) == 3 else None
        return read_observations(what, path, Choice(), x_shape, Wanted(size=size))

    @classmethod
    def localise(cls, settings: Values, keep: bool) -> dict[str, str]:
        """Paths, by their keys, to put in the place of a run's settings where its data are looked for on this machine.

        keep: the user trained the run here, so that its own paths may stay
        """
        return {}
