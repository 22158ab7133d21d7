"""`vae report`: one HTML page about a run on a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaecli.analysis.importance_sampling import importance_weighted
from vaecli.analysis.odd_rows import USUAL, excess_surprisal
from vaecli.analysis.table_fit import ColumnFit, correlation_error, spread_error, table_fit
from vaecli.commands._inputs import announce
from vaecli.commands._keys import DataKeys, reference, source
from vaecli.commands._outputs import by_title, cells_of, column_titles
from vaecli.datasets.split import Split
from vaecli.models.inference import INFERENCE_BATCH, decode_all, evaluating
from vaecli.models.load import Run, load_splits, part_of
from vaecli.plots.columns import short_number
from vaecli.plots.histograms import correlations
from vaecli.plots.report import Section, Table, page
from vaecli.plots.training import curves
from vaecli.plots.view import view_of
from vaecli.utils.columns import CODED, ColumnKind
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_text
from vaecli.utils.memory import check_memory
from vaecli.utils.progress import Countdown
from vaecli.utils.text import categories, figure
from vaecli.utils.types import PositiveInt, Seed
from vaecli.utils.version import __version__

REASONS = 3  # columns named for an odd row
ODD = (
    "The test rows with the smallest log p(x). In brackets: by how many nats the value of a column is less likely than "
    "usual, given the row's other columns. vae alarm finds odd rows in new files, with a bound on false alarms."
)
DISTANCE = (
    "Distance: the largest difference between the distribution functions; for categories, half the sum of the "
    "differences between their shares. 0 is perfect."
)


@dataclass(kw_only=True)
class Config(DataKeys):
    FILE = "report.html"
    n: PositiveInt
    odd: PositiveInt
    k: PositiveInt
    seed: Seed


def main(config: Config, run: Run) -> Path:
    """Write the page."""
    if len(run.model.x_shape) != 1 or run.dataset.names is None:
        raise UserError(f"{run.folder}: was trained on no table; vae sample and vae reconstruct draw images and curves")
    splits = load_splits(run)
    reading = run.dataset.described(str(run.config["dataset"]["name"]), splits)
    announce(reading)
    check_memory(16 * config.n * run.model.x_shape[0], f"n={config.n}", "ask for fewer")
    train, test = (part_of(run, splits, part) for part in ("train", "test"))
    data, samples = train.batch(slice(0, config.n)).cpu(), draw_samples(run, config)
    kinds = run.dataset.column_kinds
    fits = table_fit(data.double().numpy(), samples.double().numpy(), kinds)
    view = view_of(run.dataset, run.model.x_shape, reference=lambda: reference(run))
    history = list(run.folder.read_metrics(lambda line: {"epoch", "split"} <= line.keys()))
    drawn = view.samples(samples, f"{len(samples):,} samples beside the training rows")
    sections = [
        Section("What was read", lines=[*reading.lines(), *described(run)]),
        Section("How well samples fit", summary(data, samples, fits, kinds), fit_table(run, fits), drawn),
        Section("Odd rows", [ODD], odd_rows(run, test, config)),
        Section("Training", hidden(run), figure=curves(history)),
    ]
    replace_text(config.target, page(f"Report on {figure(run.folder.title)}", sections, footer(run)))
    return config.target


def hidden(run: Run) -> list[str]:
    """Why the bound of the training rows may lie below that of others."""
    hide = getattr(run.model.decoder, "hide", 0.0)
    if not hide:
        return []
    what = f"In training, {100 * hide:g} % of the cells were hidden from the encoder (decoder.hide={hide:g})"
    return [f"{what}, so that the training curves can lie below those of validation, which hides none."]


def footer(run: Run) -> str:
    command = run.folder.known_summary().command or "vae-train"
    return f"{source(run)}. Trained by: {command}. vaecli {__version__}."


def described(run: Run) -> list[str]:
    names = {key: run.config[key]["name"] for key in ("architecture", "decoder", "posterior", "prior", "objective")}
    return [", ".join(f"{key}={name}" for key, name in names.items()) + f", latent_dim={run.model.latent_dim}"]


def draw_samples(run: Run, config: Config) -> Tensor:
    """Draws of whole rows (n, d)."""
    with evaluating(run.model, config.seed):
        parts = run.model.sample_latents(config.n).split(INFERENCE_BATCH)
        return torch.cat([decode_all(run.model, part, draw=True).cpu() for part in parts])


def summary(data: Tensor, samples: Tensor, fits: list[ColumnFit], kinds: Sequence[ColumnKind] | None) -> list[str]:
    correlation = correlation_error(*(correlations(x.double().numpy()) for x in (data, samples)))
    coded = [kind.kind in CODED for kind in kinds or []] or [False] * len(fits)
    numbers = [fit for fit, is_code in zip(fits, coded, strict=True) if not is_code]
    spread = f"Spread of the columns of numbers: median relative error {spread_error(numbers):.3f}. " if numbers else ""
    return [
        f"{len(samples):,} samples against {len(data):,} training rows.",
        f"{spread}Correlations: mean absolute difference {correlation:.3f}.",
        DISTANCE,
    ]


def fit_table(run: Run, fits: list[ColumnFit]) -> Table:
    """A line for each column."""
    kinds = run.dataset.column_kinds
    lines = []
    for i, (name, fit) in enumerate(zip(run.dataset.names or (), fits, strict=True)):
        texts = (run.dataset.categories or [None] * len(fits))[i]
        spreads = (
            [categories(len(texts))] * 2
            if texts
            else [f"{short_number(m, s)} ± {short_number(s, s)}" for m, s in (fit.data, fit.samples)]
        )
        lines.append([name, kinds[i].kind if kinds else "number", f"{100 * fit.missing:.1f} %", *spreads,
                      f"{fit.distance:.3f}"])  # fmt: skip
    return Table(["column", "kind", "missing", "data (mean ± sd)", "samples", "distance"], lines)


def odd_rows(run: Run, test: Split, config: Config) -> Table:
    """The oddest rows of the test split, oddest first, and the columns that made them odd."""
    with Countdown("odd rows", len(test) * config.k) as tick:
        log_px = -importance_weighted(run.model, test, config.k, seed=config.seed, tick=tick).nll
    at = log_px.argsort()[: config.odd]
    x = test.batch(at.to(test.device))
    excess = excess_surprisal(run.model, test.head(USUAL).batch(slice(None)), x, config.k, config.seed).numpy()
    excess = np.where(np.isnan(excess), 0.0, excess)
    titles = column_titles(run)
    cells = {name: cells_of(values) for name, values in by_title(run, titles, x.cpu()).items()}
    rows = test.rows[at] if test.rows is not None else at
    lines = []
    for i, row in enumerate(rows.tolist()):
        reasons = [f"{titles[j]} = {cells[titles[j]][i]} ({excess[i, j]:.1f})" for j in np.argsort(-excess[i])[:REASONS]
                   if excess[i, j] > 1]  # fmt: skip
        lines.append([str(row), f"{float(log_px[at[i]]):.2f}", "; ".join(reasons)])
    return Table(["row", "log p(x)", "columns that make it odd"], lines)
