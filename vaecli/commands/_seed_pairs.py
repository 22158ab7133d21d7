"""Compares two settings by runs with equal seeds: `vae compare` of two folders of several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from vaecli.analysis.pairs import Paired, paired
from vaecli.commands._outputs import write_table
from vaecli.commands._scores import ScoreKeys, estimate
from vaecli.datasets.split import Split
from vaecli.models.load import Run
from vaecli.runs.records import Compared, Comparison, Difference, OverSeeds
from vaecli.runs.seeds import Spread, seed_runs, spread
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, replace_text
from vaecli.utils.text import plural, say


class SeedPair(NamedTuple):
    """Both runs of one seed, and how much better the second one is."""

    seed: int
    runs: tuple[Run, Run]
    nll: tuple[float, float]
    difference: Paired


def equal_seeds(folders: Sequence[str]) -> list[int]:
    """The seeds that two folders of several seeds have in common; none if neither is such a folder."""
    found = [seed_runs(expanded(folder)) for folder in folders]
    if not any(found):
        return []
    if len(found) != 2 or not all(found):
        raise UserError(f"run=[{', '.join(folders)}]: expected two folders of several seeds, or single runs only")
    common = [seed for seed in found[0] if seed in found[1]]
    if len(common) < 2:
        raise UserError(f"run=[{', '.join(folders)}]: they have fewer than two seeds in common")
    return common


def compare_seeds(config: ScoreKeys, seeds: Sequence[int], runs: Sequence[Run], split: Split) -> Iterator[Path]:
    """Print the table, write comparison.json and .csv; runs: the first folder's, then the second one's."""
    half = len(seeds)
    pairs = [pair(config, seed, (runs[i], runs[half + i]), split) for i, seed in enumerate(seeds)]
    over = spread([one.difference.mean for one in pairs])
    report(pairs, over, len(split), config.k)
    write_table(config.target.with_suffix(".csv"), {
        "seed": torch.tensor(seeds),
        **{f"nll_{i + 1}": torch.tensor([one.nll[i] for one in pairs], dtype=torch.float64) for i in range(2)},
        "difference": torch.tensor([one.difference.mean for one in pairs], dtype=torch.float64),
    })  # fmt: skip
    yield config.target.with_suffix(".csv")
    replace_text(config.target, record(config, pairs, over, len(split)).text())
    yield config.target


def pair(config: ScoreKeys, seed: int, runs: tuple[Run, Run], split: Split) -> SeedPair:
    """Both runs' scores of the same observations."""
    one, other = (estimate(run.model, split, config) for run in runs)
    better = paired(-other.nll, -one.nll, other.nll_mc_stderr, one.nll_mc_stderr)
    return SeedPair(seed, runs, (float(one.nll.mean()), float(other.nll.mean())), better)


def report(pairs: Sequence[SeedPair], over: Spread, n: int, k: int) -> None:
    """A line for each seed, and the mean over all."""
    console = Console(highlight=False)
    first, second = (run.folder.path.parent for run in pairs[0].runs)
    say(f"{first} (1) and {second} (2): {plural(n, 'observation')}, k = {k:,}", console, "bold")
    table = Table()
    for title in ("seed", "-log p(x), 1", "-log p(x), 2", "2 is better by"):
        table.add_column(title, justify="right")
    for one in pairs:
        nll = [f"{value:.3f}" for value in one.nll]
        table.add_row(str(one.seed), *nll, f"{one.difference.mean:+.3f} ± {one.difference.stderr:.2g}")
    console.print(table)
    how = f"{over.mean:+.2f} ± {over.stderr:.2g} nats over {over.n} seeds"
    say(f"{second} is {verdict(over)} than {first}: {how}", console)


def verdict(over: Spread) -> str:
    """Better or worse by Student's t test of the mean at a level of 5 %."""
    if abs(over.mean) <= over.stderr * stdtrit(over.n - 1, 0.975):
        return "not clearly better or worse"
    return "better" if over.mean > 0 else "worse"


def difference(run: Run, pair: Paired) -> Difference:
    """The entry of comparison.json about a run and how it differs from another."""
    return Difference(run=str(run.folder), mean=pair.mean, stderr=pair.stderr, mc_stderr=pair.mc_stderr, wins=pair.wins)


def record(config: ScoreKeys, pairs: Sequence[SeedPair], over: Spread, n: int) -> Comparison:
    """The content of comparison.json."""
    runs = [
        Compared(run=str(run.folder), label=f"seed {one.seed}", epoch=run.epoch, nll=nll, nll_stderr=None)
        for one in pairs for run, nll in zip(one.runs, one.nll, strict=True)
    ]  # fmt: skip
    differences = [difference(one.runs[1], one.difference) for one in pairs]
    return Comparison(
        runs=runs, differences=differences, split=None if config.input else config.split, input=config.input,
        observations=n, k=config.k, estimator=config.estimator, checkpoint=config.checkpoint, seed=config.seed,
        over_seeds=OverSeeds(seeds=[one.seed for one in pairs], mean=over.mean, stderr=over.stderr, std=over.std),
    )  # fmt: skip
