"""Files of row numbers, which `dataset.rows`, `dataset.without_rows` and `rows=` read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vaecli.datasets.digits import Digits
from vaecli.datasets.rows import RowFile
from vaecli.utils.errors import UserError
from vaecli.utils.types import Part


def row_file(path: Path, rows: list[int], split: Part = "train", checksum: str | None = None) -> str:
    RowFile("digits", split, checksum or Digits().load().sha256(), rows).write(path)
    return str(path)


def test_kept_and_left_out_are_the_whole(tmp_path: Path) -> None:
    """The observations at the rows, and all others, in their order; the other splits stay as they are."""
    rows = [5, 700, 3]
    kept, rest, whole = Digits(), Digits(), Digits().splits()
    kept.rows = rest.without_rows = row_file(tmp_path / "a.rows", rows)
    index = torch.tensor(sorted(rows))
    assert torch.equal(kept.splits().train.x, whole.train.x[index])
    others = torch.ones(len(whole.train), dtype=torch.bool)
    others[index] = False
    left = rest.splits()
    assert torch.equal(left.train.x, whole.train.x[others])
    assert left.train.rows is not None
    assert left.train.rows.tolist() == others.nonzero()[:, 0].tolist()
    assert torch.equal(left.test.x, whole.test.x)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = RowFile("mine", "test", "0" * 64, [3, 1, 4])
    file.write(tmp_path / "a.rows")
    assert RowFile.read("rows=a.rows", tmp_path / "a.rows") == file
    assert (tmp_path / "a.rows").read_text() == f"# vaecli rows: dataset=mine split=test checksum={'0' * 64}\n3\n1\n4\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n2\n", "first line"),
        ("", "first line"),
        ("# vaecli rows: dataset=digits split=train checksum=SUM\n1\nx<script>\n", "line 3"),
        ("# vaecli rows: dataset=digits split=train checksum=SUM\n", "no row numbers"),
        ("# vaecli rows: dataset=digits split=train checksum=SUM\n99999\n", "row 99999 is not in the split train"),
        (f"# vaecli rows: dataset=digits split=train checksum={'0' * 64}\n1\n", "other data"),
    ],
)
def test_refused(text: str, said: str, tmp_path: Path) -> None:
    dataset = Digits()
    path = tmp_path / "a.rows"
    path.write_text(text.replace("SUM", Digits().load().sha256()))
    dataset.without_rows = str(path)
    with pytest.raises(UserError, match=said):
        dataset.splits()


def test_nothing_to_train_on_and_both_keys_are_refused(tmp_path: Path) -> None:
    dataset = Digits()
    dataset.without_rows = row_file(tmp_path / "a.rows", list(range(len(dataset.load().train))))
    with pytest.raises(UserError, match="leaves no observation"):
        dataset.splits()
    dataset.rows, dataset.without_rows = row_file(tmp_path / "b.rows", [1]), row_file(tmp_path / "c.rows", [2])
    with pytest.raises(UserError, match="give one of them"):
        dataset.splits()
    dataset.rows, dataset.without_rows = str(tmp_path / "absent.rows"), None
    with pytest.raises(UserError, match="cannot be read"):
        dataset.splits()
