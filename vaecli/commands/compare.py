"""`vae compare`: trained models on the same observations, by paired differences of log p(x)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vaecli.analysis.importance_sampling import Scores
from vaecli.analysis.metrics import has_mass
from vaecli.analysis.pairs import Paired, paired
from vaecli.commands._keys import run_view, source
from vaecli.commands._names import Names
from vaecli.commands._outputs import write_table
from vaecli.commands._scores import ScoreKeys, estimate, stderr_of_mean
from vaecli.commands._seed_pairs import compare_seeds, difference, equal_seeds
from vaecli.datasets.split import Split
from vaecli.models.build import check_data
from vaecli.models.inference import decode_all, evaluating
from vaecli.models.load import Run
from vaecli.plots.differences import differences
from vaecli.plots.view import figure_array, png
from vaecli.runs.diff import titles
from vaecli.runs.records import Compared, Comparison
from vaecli.runs.seeds import seed_folder
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, replace_bytes, replace_text
from vaecli.utils.text import figure as as_label
from vaecli.utils.text import plural, say, shorten

DRAWN_OBSERVATIONS = 10  # observations in the picture


@dataclass(kw_only=True)
class Config(ScoreKeys):
    FILE = "comparison.json"
    ALSO = (".csv", ".png")
    run: list[str]  # type: ignore[assignment]
    seeds: list[int] = field(init=False, default_factory=list)  # in both folders of several seeds; []: single runs

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        if isinstance(values["run"], str):
            raise UserError(f"run={values['run']}: expected two runs or more, as in run=[A,B]")
        return super().checked(values)

    def load(self) -> list[Run]:
        """Different runs on the same data, of which the first one's are scored.

        Of equal seeds below two folders the first folder's runs, then the second one's.
        """
        if len(self.run) < 2:
            raise UserError(f"run=[{', '.join(self.run)}]: expected two runs or more, as in run=[A,B]")
        self.seeds = equal_seeds(self.run)
        below = [str(seed_folder(expanded(folder), seed)) for folder in self.run for seed in self.seeds]
        names = below or self.run
        runs = [self.load_one(name, {} if i else self.dataset.given) for i, name in enumerate(names)]
        check_different(runs)
        for run in runs[1:]:
            check_same_data(runs[0], run)
        return runs

    def home(self, runs: list[Run]) -> Path:
        return runs[0].folder.path.parent if self.seeds else super().home(runs)


class ScoredRun(NamedTuple):
    """One run's scores, and how it differs from the first one."""

    label: str
    run: Run
    scores: Scores
    against_first: Paired


def check_different(runs: Sequence[Run]) -> None:
    """UserError if two names lead to the same run, which would differ from itself by nothing."""
    seen = set()
    for run in runs:
        if (place := run.folder.path.resolve()) in seen:
            raise UserError(f"run=[...]: {run.folder} is named twice; give different runs, as in run=[A,B]")
        seen.add(place)


def check_same_data(first: Run, other: Run) -> None:
    """UserError for runs that were trained on different data."""
    for key in ("binarize", "binarize_seed"):
        one, two = (run.config["dataset"].get(key) for run in (first, other))
        if one is not None and two is not None and one != two:
            raise UserError(
                f"dataset.{key} is {one} in {first.folder}, {two} in {other.folder}: their log p(x) are not comparable"
            )
    ours, theirs = (run.folder.known_summary().data for run in (first, other))
    if first.model.x_shape != other.model.x_shape or (ours and theirs and ours.sha256 != theirs.sha256):
        raise UserError(
            f"{other.folder} was trained on other data than {first.folder}: their log p(x) are not comparable"
        )


def check_comparable(first: Run, other: Run, split: Split) -> None:
    """UserError if one log p(x) is a probability and the other a density or an expectation over binary images."""
    one, two = (kind(run, split) for run in (first, other))
    if one != two:
        raise UserError(
            f"log p(x) of {first.folder} is {one}, that of {other.folder} is {two}: they are not comparable"
        )


def kind(run: Run, split: Split) -> str:
    if has_mass(run.model, split):
        return "a probability"
    return "a density" if check_data(run.model.decoder, split) is None else "an expectation over binary images"


def main(config: Config, *runs: Run) -> Iterator[Path]:
    """Print the table, write comparison.json, .csv and .png."""
    _, split, called = config.to_score(runs[0])
    for run in runs[1:]:
        check_comparable(runs[0], run, split)
    if config.seeds:
        yield from compare_seeds(config, config.seeds, runs, split)
        return
    started = time.perf_counter()
    scores = [estimate(run.model, split, config) for run in runs]
    labels = titles([run.config for run in runs], [run.folder.name for run in runs])
    pairs = [paired(-one.nll, -scores[0].nll, one.nll_mc_stderr, scores[0].nll_mc_stderr) for one in scores]
    scored = [ScoredRun(*one) for one in zip(labels, runs, scores, pairs, strict=True)]
    where = as_label(Path(config.input).name) if config.input else f"the {config.split} split"
    report(scored, config, len(split), time.perf_counter() - started)
    write_table(config.target.with_suffix(".csv"), columns(scored, split, called))
    yield config.target.with_suffix(".csv")
    replace_bytes(config.target.with_suffix(".png"), picture(scored, split, where))
    yield config.target.with_suffix(".png")
    replace_text(config.target, record(scored, config, len(split)).text())
    yield config.target


def report(scored: Sequence[ScoredRun], config: Config, n: int, seconds: float) -> None:
    """Each run's NLL, and its difference from the first run's."""
    console, data = Console(highlight=False), scored[0].run.config["dataset"]["name"]
    what = f"{data} {config.input or config.split}"
    say(f"{what}, {plural(n, 'observation')}, k = {config.k:,}", console, "bold")
    table = Table()
    words = " ".join(as_label(one.label) for one in scored).split()
    table.add_column("run", overflow="fold", min_width=min(30, max(map(len, words))))  # whole: it tells the runs apart
    for title in ("-log p(x)", "better than the first by", "better on"):
        table.add_column(title, justify="right")
    for i, one in enumerate(scored):
        nll, error = float(one.scores.nll.mean()), float(stderr_of_mean(one.scores.nll))
        pair = one.against_first
        better = f"{pair.mean:+.3f} ± {pair.stderr:.2g}" if i else ""
        table.add_row(as_label(one.label), f"{nll:.3f} ± {error:.2g}", better, f"{100 * pair.wins:.1f} %" if i else "")
    console.print(table)
    say("± of a difference: the standard error of paired differences, as all runs score the same observations", console)
    for one in scored[1:]:
        if one.against_first.mc_stderr > abs(one.against_first.mean) / 2:
            say(
                f"{one.label}: the Monte Carlo error of the difference is ±{one.against_first.mc_stderr:.2g}: raise k",
                console,
                "yellow",
            )
    console.print(f"{seconds:.1f} s")


def columns(scored: Sequence[ScoredRun], split: Split, called: Names) -> dict[str, Tensor | list[str] | None]:
    """A row for each observation: every run's -log p(x), and its difference from the first."""
    table: dict[str, Tensor | list[str] | None] = {"index": torch.arange(len(split)), **called.columns(split)}
    for i, one in enumerate(scored):
        table[f"nll_{i + 1}"] = one.scores.nll
        if i:
            table[f"difference_{i + 1}"] = one.against_first.difference
    return table


def picture(scored: Sequence[ScoredRun], split: Split, where: str) -> bytes:
    """Histograms of the differences; below them the observations that differ most and their reconstructions."""
    first, other = scored[0], max(scored[1:], key=lambda one: abs(one.against_first.mean))
    index = other.against_first.order[:DRAWN_OBSERVATIONS]
    x = split.batch(index.to(split.device))
    rows = [(as_label(one.label), reconstruction(one.run, x)) for one in (first, other)]
    notes = [
        f"{value:+.1f}{' nats' * (i == 0)}".replace("-", "\N{MINUS SIGN}")
        for i, value in enumerate(other.against_first.difference[index].tolist())
    ]
    below = figure_array(run_view(first.run).reconstructions(x.cpu(), rows, notes))
    values = [one.against_first.difference.numpy() for one in scored[1:]]
    labels = [f"{as_label(one.label)}\nagainst\n{as_label(first.label)}" for one in scored[1:]]
    named = shorten("; ".join(source(one.run) for one in scored), 250)
    title = f"log p(x) of {len(split):,} observations of {where}, and the {len(index)} that differ most\n{named}"
    above = figure_array(differences(values, labels, title, max(7.2, below.shape[1] / 100)))
    return png(stack(above, below))


def reconstruction(run: Run, x: Tensor) -> Tensor:
    with evaluating(run.model):
        return decode_all(run.model, run.model.encode(x).mean)


def stack(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Two pictures (H, W, 3) in one, on white."""
    width = max(above.shape[1], below.shape[1])
    sides = [(width - part.shape[1]) // 2 for part in (above, below)]
    return np.vstack([
        np.pad(part, ((0, 0), (side, width - part.shape[1] - side), (0, 0)), constant_values=255)
        for part, side in zip((above, below), sides, strict=True)
    ])  # fmt: skip


def record(scored: Sequence[ScoredRun], config: Config, n: int) -> Comparison:
    """The content of comparison.json."""
    runs = [
        Compared(
            run=str(one.run.folder), label=one.label, epoch=one.run.epoch, nll=float(one.scores.nll.mean()),
            nll_stderr=float(stderr_of_mean(one.scores.nll)),
        )
        for one in scored
    ]  # fmt: skip
    pairs = [difference(one.run, one.against_first) for one in scored[1:]]
    return Comparison(
        runs=runs, differences=pairs, split=None if config.input else config.split, input=config.input, observations=n,
        k=config.k, estimator=config.estimator, checkpoint=config.checkpoint, seed=config.seed,
    )  # fmt: skip
