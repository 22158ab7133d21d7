"""`vae alarm`: the odd rows of a file, with a bound on false alarms, and the columns that made them odd."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vaecli.analysis.importance_sampling import Estimated, proposed_estimate
from vaecli.analysis.odd_rows import (
    USUAL,
    benjamini_hochberg,
    excess_surprisal,
    least_rate,
    min_references,
    p_values,
    significant,
    unlike_gaps,
)
from vaecli.analysis.pareto import threshold
from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import Observations, load_split, read_input
from vaecli.commands._keys import InputKeys, source
from vaecli.commands._outputs import column_titles, rename_clashing_columns, write_table
from vaecli.commands._run import Written
from vaecli.datasets.split import Split
from vaecli.models import load
from vaecli.models.inference import fix_binarisation
from vaecli.models.load import Run
from vaecli.plots.odd_rows import ExcessSurprisal, show_odd_rows
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.progress import Countdown
from vaecli.utils.text import figure, say
from vaecli.utils.types import Part, PositiveInt, Probability, Seed

FOR_GAPS = 10_000  # reference rows whose gaps are counted
EXPLAINED = 1000  # flagged rows whose columns are scored, the oddest first


@dataclass(kw_only=True)
class Config(InputKeys):
    FILE = "alarm.csv"
    INPUT_CONTENT = "the rows to look at"
    rate: Probability
    control: Literal["rate", "fdr"]
    k: PositiveInt
    seed: Seed

    @property
    def targets(self) -> list[Path]:
        return [self.target, self.target.with_suffix(".png")]


class Flags(NamedTuple):
    """The rows of a file compared with reference rows; scores are log p(x) in nats."""

    ordinary: Tensor  # (n,): scores
    scores: Tensor  # (N,)
    p: Tensor  # (N,)
    flagged: Tensor  # (N,), bool
    pareto_k: Tensor  # (N,): how heavy the tail of the draws' weights is


def main(config: Config, run: Run) -> Iterator[Path | Written]:
    """Write the table of rows, and a picture; say how many are flagged."""
    seen = read_input(run, config.input or "")
    own = is_training_file(config.input or "", run)
    rest = fix_binarisation(ordinary_rows(run, load.load_split if own else load_split), config.seed)
    check_enough(len(rest), config.rate)
    flags = flag_rows(config, run, rest, seen)
    explained = flags.flagged.nonzero()[:, 0]
    explained = explained[flags.scores[explained].argsort()][:EXPLAINED]
    excess = surprisal_by_column(config, run, rest, seen.x[explained.to(seen.x.device)]) if len(explained) else None
    n = int(flags.flagged.sum())
    write_table(config.target, table(run, seen, flags, explained, excess))
    yield Written(config.target, f": {n:,} of {len(seen.x):,} rows flagged")
    for line in (*remarks(config, flags), *remark_on_gaps(rest, seen)):
        say(line)
    if own:
        say(f"note: the run was trained on most rows of {config.input}: they look less odd to it than new rows would")
    names = [str(row) for row in rows_of(seen)[explained].tolist()]
    title = f"odd rows of {figure(Path(config.input or '').name)}\n{source(run)}"
    picture = config.target.with_suffix(".png")
    by_column = None if excess is None else ExcessSurprisal(column_titles(run), names, excess.numpy())
    flagged = flags.flagged.numpy()
    write_figure(picture, show_odd_rows(flags.ordinary.numpy(), flags.scores.numpy(), flagged, by_column, title))
    yield picture


def is_training_file(name: str, run: Run) -> bool:
    own = run.config["dataset"].get("path")
    paths = expanded(name), expanded(own if isinstance(own, str) else "")
    return all(path.is_file() for path in paths) and paths[0].samefile(paths[1])


def rows_of(seen: Observations) -> Tensor:
    """Each observation's row in its file, from 0 (N,)."""
    return torch.arange(len(seen.x)) if seen.rows is None else seen.rows


def ordinary_rows(run: Run, read: Callable[[Run, Part], Split]) -> Split:
    """The reference rows: those that training set aside for this, else those of the test split."""
    test = read(run, "test")
    aside = run.dataset.calibration
    return test if aside is None else aside.to(test.device)


def check_enough(n: int, rate: float) -> None:
    """UserError if n reference rows cannot give a p-value as small as the rate."""
    if n < min_references(rate):
        raise UserError(
            f"rate={rate:g}: needs {min_references(rate):,} rows that were not trained on, but there are {n:,}: give "
            f"rate={rounded_up(least_rate(n)):g} or more, or train with a larger dataset.calibration_fraction"
        )


def rounded_up(value: float) -> float:
    """To two significant digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step


def flag_rows(config: Config, run: Run, rest: Split, seen: Observations) -> Flags:
    """Score the reference rows and the file's rows in the same way, and compare."""
    rows = (rest, "rows to compare with"), (seen.split, "rows")
    ordinary, found = (score(config, run, split, what) for split, what in rows)
    p = p_values(-ordinary.nll, -found.nll)
    flagged = benjamini_hochberg(p, config.rate) if config.control == "fdr" else significant(p, config.rate)
    return Flags(-ordinary.nll, -found.nll, p, flagged, found.pareto_k)


def score(config: Config, run: Run, split: Split, what: str) -> Estimated:
    """log p(x) from weighted draws."""
    with Countdown(what, len(split) * config.k) as tick:
        return proposed_estimate(run.model, split, config.k, config.seed, tick)


def surprisal_by_column(config: Config, run: Run, rest: Split, x: Tensor) -> Tensor | None:
    """How much less likely than usual each column of rows x (M, d) is, in nats; None if they are not of a table."""
    if len(run.model.x_shape) != 1 or run.dataset.names is None:
        return None
    usual = rest.head(USUAL).batch(slice(None)).to(x)
    with Countdown("columns", len(usual) + len(x)) as tick:
        return excess_surprisal(run.model, usual, x, config.k, config.seed, tick)


Columns = dict[str, Tensor | list[str] | None]


def table(run: Run, seen: Observations, flags: Flags, explained: Tensor, excess: Tensor | None) -> Columns:
    """The columns of the table; only flagged rows have figures for the columns of their file."""
    found: Columns = {
        "row": rows_of(seen), "p_value": flags.p, "flagged": flags.flagged.long(), "log_px": flags.scores,
    }  # fmt: skip
    found |= {name: values for name, values in seen.called.columns(seen.split).items() if name != "row"}
    if excess is None:
        return found
    filled = torch.full((len(seen.x), excess.shape[1]), torch.nan, dtype=torch.float64)
    filled[explained] = excess
    columns: Columns = dict(zip(column_titles(run), filled.unbind(1), strict=True))
    return rename_clashing_columns(list(columns), found) | columns


def remarks(config: Config, flags: Flags) -> Iterator[str]:
    """Lines on what the flags mean, and on their limits."""
    n, rows, flagged = len(flags.ordinary), len(flags.p), int(flags.flagged.sum())
    compared = f"compared with {n:,} rows that were not trained on"
    if config.control == "rate":
        most = f"{config.rate * rows:,.1f}"
        all_rows = "the row" if rows == 1 else f"all {rows:,} rows"
        were = "was" if rows == 1 else "were"
        yield f"{compared}; if {all_rows} {were} ordinary, about {most} of them would be flagged, or fewer"
    else:
        yield f"{compared}; on average at most {100 * config.rate:g} % of the flagged rows are ordinary"
        least = math.ceil(rows * least_rate(n) / config.rate - 1e-9)
        if not flagged and least > 1:
            yield (f"with so few to compare with, control=fdr flags nothing unless {least:,} rows are odder than all "
                   "of them; control=rate judges each row by itself")  # fmt: skip
    limit = threshold(config.k)
    if limit is not None and (rough := int((flags.pareto_k > limit).sum())):
        yield (f"{rough:,} of {rows:,} rows have a Pareto k above {limit:.2g}: their log p(x) is less accurate, and "
               "usually too low; raise k. The bound on false alarms holds nevertheless")  # fmt: skip
    if flagged > EXPLAINED:
        yield f"only the {EXPLAINED:,} oddest of the flagged rows have figures for each column"


def remark_on_gaps(rest: Split, seen: Observations) -> Iterator[str]:
    """A line if the rows have clearly more or fewer gaps than those that they are compared with."""
    if not seen.x.is_floating_point():
        return
    shares = unlike_gaps(rest.head(FOR_GAPS).batch(slice(None)), seen.x)
    if shares is not None:
        usual, new = (f"{100 * share:.2g} %" for share in shares)
        yield (f"note: {new} of the cells are missing, but {usual} in the rows compared with: the bound holds for rows "
               "from the same source")  # fmt: skip
