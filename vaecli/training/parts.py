"""A pass over the training data, a batch at a time; this process takes its share of each batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from vaecli.datasets.split import Split
from vaecli.utils.ranks import Share, share_of, world


@dataclass(frozen=True)
class Part:
    """This process's share of a batch, not yet converted; share None: the whole batch."""

    split: Split
    rows: Tensor
    share: Share | None = None

    @property
    def total(self) -> int:
        """The observations of the batch."""
        return len(self.rows) if self.share is None else self.share.total

    def observations(self) -> Tensor:
        """Converted observations (B, *x_shape); pixels are redrawn for the whole batch, whatever the shares."""
        x = self.split.observations(self.rows)
        return x if self.share is None or len(x) == self.share.stop - self.share.start else x[self.share.rows]


def parts(split: Split, order: Tensor, size: int) -> Iterator[Part]:
    """The batches of `size` observations in the given order."""
    if world() == 1:
        yield from (Part(split, rows) for rows in split.gathered(order, size))
        return
    for index in order.split(size):
        share = share_of(len(index))
        yield Part(split, split.raw(index if split.redraw else index[share.rows]), share)
