"""Files of row numbers: which observations of a data set's split to keep, to leave out, or to look at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, Self, get_args

import torch
from torch import Tensor

from vaecli.datasets.split import Split, Splits
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_text
from vaecli.utils.types import Part

FIRST = re.compile(r"# vaecli rows: dataset=(\S+) split=(\S+) checksum=([0-9a-f]{64})")


class RowFile(NamedTuple):
    """Row numbers: rows of the data's file, from 0, or for a data set without a file indices in the split."""

    dataset: str
    split: Part
    checksum: str  # of the whole data set, Splits.sha256
    rows: list[int]

    def write(self, path: Path) -> None:
        """One number a line, after a line that names data set, split and checksum."""
        head = f"# vaecli rows: dataset={self.dataset} split={self.split} checksum={self.checksum}"
        replace_text(path, "\n".join([head, *map(str, self.rows)]) + "\n")

    @classmethod
    def read(cls, what: str, path: Path) -> Self:
        """UserError if it is not a file of row numbers; what: the beginning of the message."""
        try:
            first, *lines = path.read_text("utf-8").splitlines() or [""]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{what}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
        head = FIRST.fullmatch(first.strip())
        if head is None or head[2] not in get_args(Part):
            raise UserError(f"{what}: is not a file of row numbers; its first line should be as vae explore writes it, "
                            "# vaecli rows: dataset=NAME split=train checksum=...")  # fmt: skip
        numbers = [(i, line.strip()) for i, line in enumerate(lines, 2) if line.strip()]
        wrong = [(i, text) for i, text in numbers if not re.fullmatch(r"\d{1,15}", text, re.ASCII)]
        if wrong:
            raise UserError(f"{what}: line {wrong[0][0]} is {wrong[0][1][:40]!r}; expected a row number, from 0 on")
        if not numbers:
            raise UserError(f"{what}: holds no row numbers")
        return cls(head[1], head[2], head[3], [int(text) for _, text in numbers])  # type: ignore[arg-type]

    def check(self, what: str, splits: Splits) -> Split:
        """The split that the file names; UserError if the file was made for other data."""
        if self.checksum != splits.sha256():
            raise UserError(f"{what}: was made for other data ({self.dataset}, with another checksum); select again in "
                            "these data")  # fmt: skip
        part: Split | None = getattr(splits, self.split)
        if part is None:
            raise UserError(f"{what}: names the split {self.split}, which these data do not have")
        return part

    def chosen(self, what: str, part: Split) -> Tensor:
        """Which observations of the split the file names, (N,), truth values; UserError for a row that is not there."""
        own = torch.arange(len(part)) if part.rows is None else part.rows.cpu()
        wanted = torch.tensor(self.rows)
        absent = wanted[~torch.isin(wanted, own)]
        if len(absent):
            raise UserError(f"{what}: row {int(absent[0])} is not in the split {self.split}")
        return torch.isin(own, wanted)


def kept(splits: Splits, path: Path, what: str, leave_out: bool) -> Splits:
    """The splits, after keeping or leaving out the rows of a file in the split that it names."""
    file = RowFile.read(what, path)
    part = file.check(what, splits)
    chosen = file.chosen(what, part)
    stay = torch.nonzero(~chosen if leave_out else chosen)[:, 0]
    if not len(stay):
        raise UserError(f"{what}: leaves no observation in the split {file.split}")
    return splits._replace(**{file.split: taken(part, stay)})


def taken(part: Split, index: Tensor) -> Split:
    """The observations of a split at `index` (N,), which lies on the CPU."""
    return part.take(index.to(part.x.device) if part.rows is None else index)
