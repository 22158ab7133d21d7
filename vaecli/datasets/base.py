"""What every data set provides."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from vaecli.datasets.split import Splits
from vaecli.utils.option import Option
from vaecli.utils.types import Values


class Dataset(Option, abstract=True):
    """Observations in parts to train on, to validate and to test, and what there is to say of them.

    grid: (P,), where the P numbers of a curve lie; None: no curves
    label: what a curve's numbers are
    names: of a table's columns; None: no table
    label_names: of the classes, or of the columns of numbers, in y; None: none
    shown: the values to draw black and white
    gaps: whether NaN stands for what is missing
    resizes: whether images of any size are scaled to x_shape
    recipe: the experiment=NAME that suits the data; None: none
    factors: the names of the numbers that `observation` makes an observation from; (): there are none
    """

    grid: Tensor | None = None
    label: str = ""
    names: Sequence[str] | None = None
    label_names: Sequence[str] | None = None
    shown: tuple[float, float] = (0.0, 1.0)
    gaps: bool = False
    resizes: bool = False
    recipe: ClassVar[str | None] = None
    factors: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def load(self) -> Splits:
        """The three parts; UserError where the data cannot be had."""

    def observation(self, **factors: float) -> Tensor:
        """The observation (*x_shape) that has these `factors`."""
        raise NotImplementedError

    @classmethod
    def localise(cls, settings: Values, keep: bool) -> dict[str, str]:
        """Paths, by their keys, to put in the place of a run's settings where its data are looked for on this machine.

        keep: the user trained the run here, so that its own paths may stay
        """
        return {}
