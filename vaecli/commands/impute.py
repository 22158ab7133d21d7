"""`vae impute`: fills the gaps of a table with what the model expects there, given the rest of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaecli.analysis.imputation import Cells, impute
from vaecli.commands._decimals import rounded
from vaecli.commands._inputs import read_input
from vaecli.commands._keys import InputKeys
from vaecli.commands._outputs import as_in_table, cells_of, write_table
from vaecli.commands._run import Written
from vaecli.datasets.reading.rewrite import PARQUET, as_file
from vaecli.models.load import Run
from vaecli.utils.columns import ColumnKind
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, replace_bytes
from vaecli.utils.memory import check_memory
from vaecli.utils.progress import Countdown
from vaecli.utils.text import plural
from vaecli.utils.types import PositiveInt, Probability, Seed

MIN_DRAWS = 10  # effective draws, below which a row's figures are little better than a single draw


@dataclass(kw_only=True)
class Config(InputKeys):
    FILE = "imputed.csv"
    INPUT_CONTENT = "a table with gaps"
    k: PositiveInt
    complete: PositiveInt | None
    coverage: Probability
    seed: Seed

    @property
    def file_name(self) -> str:
        """The name of the file to write, in the format of `output`, else of `input`."""
        name = self.output if self.output and expanded(self.output).suffix else self.input or ""
        return f"imputed{PARQUET}" if name.lower().endswith(PARQUET) else self.FILE

    @property
    def intervals(self) -> Path:
        return self.target.with_name(f"{self.target.stem}.intervals.csv")

    @property
    def completed(self) -> list[Path]:
        names = (f"{self.target.stem}.{i + 1}{self.target.suffix}" for i in range(self.complete or 0))
        return [self.target.with_name(name) for name in names]

    @property
    def targets(self) -> list[Path]:
        return [self.target, self.intervals, *self.completed]

    def load(self) -> list[Run]:
        """The run; UserError if its model takes no missing values."""
        (run,) = super().load()
        if not (run.dataset.gaps or run.model.decoder.takes_gaps):
            raise UserError(f"{run.folder}: takes no missing values; train it with decoder=columns, or with "
                            "dataset.missing=mask")  # fmt: skip
        return [run]


def main(config: Config, run: Run) -> Iterator[Path | Written]:
    """Write the table with its gaps filled, the intervals, and the completed tables."""
    name = config.input or ""
    seen = read_input(run, name)
    if run.dataset.names is None or len(run.model.x_shape) != 1:
        raise UserError(f"input={name}: is not a table with names; vae impute fills .csv, .tsv, .txt, .dat, .parquet")
    table = run.dataset.rewritable(f"input={name}", name, len(seen.x))
    gaps = seen.x.isnan().cpu().nonzero()
    with_gaps = gaps[:, 0].unique()
    filled = fill(config, run, seen.x[with_gaps.to(seen.x.device)])
    place = torch.zeros(len(seen.x), dtype=torch.int64)
    place[with_gaps] = torch.arange(len(with_gaps))
    at = [(int(row), int(place[row]), int(j)) for row, j in gaps.tolist()]
    replace_bytes(config.target, as_file(table, texts(run, filled.value, at), config.target.suffix))
    cells = plural(len(at), "cell")
    yield Written(config.target, f": {cells} filled in {len(with_gaps):,} of {len(seen.x):,} rows")
    write_table(config.intervals, interval_columns(run, filled, at))
    yield config.intervals
    for path, whole in zip(config.completed, filled.complete, strict=True):
        replace_bytes(path, as_file(table, texts(run, whole, at), path.suffix))
        yield path
    if few := int((filled.ess < MIN_DRAWS).sum()):
        rows = "1 row has" if few == 1 else f"{few:,} rows have"
        print(f"{rows} fewer than {MIN_DRAWS} effective draws: raise k, or train a model that fits them")


def fill(config: Config, run: Run, x: Tensor) -> Cells:
    """The cells of the rows with gaps, x (N, d), as the model expects them."""
    check_memory(16 * config.k * x.shape[1], f"k={config.k}", "ask for fewer draws")
    with Countdown("filling", len(x)) as tick:
        return impute(run.model, x, config.k, run.dataset.column_kinds, config.coverage, config.complete or 0,
                      config.seed, tick)  # fmt: skip


Places = Sequence[tuple[int, int, int]]  # of each gap its row in the file, its row among those with gaps, its column


def texts(run: Run, values: Tensor, at: Places) -> dict[tuple[int, str], str]:
    """The texts of the gaps' cells, by row and column's name."""
    names = run.dataset.names or ()
    shown = {j: column_texts(run, j, values[:, j]) for j in {j for _, _, j in at}}
    return {(row, names[j]): shown[j][i] for row, i, j in at}


def column_texts(run: Run, j: int, x: Tensor) -> list[str]:
    """The cells (N,) of column j as its table has them."""
    kinds, categories = run.dataset.column_kinds, run.dataset.categories
    kind = ColumnKind("real") if kinds is None else kinds[j]
    return list(cells_of(as_in_table(rounded(x, kind), kind, None if categories is None else categories[j])))


def interval_columns(run: Run, filled: Cells, at: Places) -> dict[str, Tensor | list[str]]:
    """The columns of the table of intervals: a line for each cell that was filled."""
    names = run.dataset.names or ()
    row, i, j = (torch.tensor([one[n] for one in at], dtype=torch.int64) for n in range(3))
    shown = {"value": filled.value, "low": filled.low, "high": filled.high}
    cells = {name: list(texts(run, values, at).values()) for name, values in shown.items()}
    return {"row": row, "column": [names[c] for _, _, c in at], **cells, "probability": filled.probability[i, j]}
