"""`vae reconstruct`: observations through the encoder and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vaecli.analysis.metrics import elbo_terms
from vaecli.commands._decimals import with_data_decimals
from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import Observations, observed, read_input, select, split_observations
from vaecli.commands._keys import MODES, DrawKeys, Mode, ObservedKeys, source
from vaecli.commands._names import label_text
from vaecli.commands._outputs import (
    by_title,
    class_names,
    column_titles,
    rename_clashing_columns,
    write_arrays,
    write_table,
)
from vaecli.models.inference import decode_all, evaluating, inference_batch_size, mean_or_draw
from vaecli.models.load import Run
from vaecli.plots.style import number
from vaecli.plots.view import View
from vaecli.runs.diff import titles
from vaecli.runs.find import runs_of_jobs
from vaecli.runs.folder import RunFolder
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.memory import check_memory
from vaecli.utils.progress import progress_bar
from vaecli.utils.text import figure as as_label
from vaecli.utils.text import rich, shorten
from vaecli.utils.types import NonNegativeInt, PositiveInt, Values

MAX_PRINTED = 50  # observations; the files have more
TERMS_SAMPLES = 500  # draws of z for each observation's ELBO ...
PICTURE_DRAWS, LEAST_SAMPLES = 1000, 20  # ... in a picture fewer if these are so many in total, but at least 20
DEFAULT_DRAWN = 10  # observations in a picture, unless n is given


@dataclass
class Config(ObservedKeys, DrawKeys):
    FILE = "reconstructions.{format}"
    run: str | list[str]  # type: ignore[assignment]
    n: PositiveInt | None
    indices: list[NonNegativeInt] | None
    rows: str | None
    draws: PositiveInt | None
    mode: Mode
    format: Literal["png", "npz", "csv"]

    def load(self) -> list[Run]:
        """All runs asked for; the first one's data are reconstructed."""
        names = [self.run] if isinstance(self.run, str) else self.run
        if not names:
            raise UserError("run=[]: expected a run's folder, latest, or a list of folders")
        first, *others = [inner for name in names for inner in expand(name)]
        runs = [self.load_one(first, self.dataset.given), *(self.load_one(name, {}) for name in others)]
        check_same_shape(runs)
        return runs

    def home(self, runs: list[Run]) -> Path:
        """The sweep's folder if all its runs are asked for, else the first run's."""
        names = [self.run] if isinstance(self.run, str) else self.run
        whole = len(names) == 1 and expand(names[0]) != names
        return expanded(names[0]) if whole else runs[0].folder.path


class Reconstruction(NamedTuple):
    """One run's reconstruction of N observations."""

    x: Tensor  # (N, *x_shape): mean of p(x|z), or a draw, at the posterior's mean
    terms: dict[str, Tensor]  # each (N,), nats: elbo, log_px, kl
    z: Tensor  # (K, N, D): draws from q(z|x)
    draws: Tensor  # (K, N, *x_shape): mean of p(x|z), or a draw, at each of them


def main(config: Config, *runs: Run) -> Path:
    """Write observations and their reconstructions, print each one's ELBO."""
    if config.format == "csv" and (len(runs) > 1 or config.draws):
        raise UserError("format=csv: holds one run and no draws; use format=npz")
    titled = column_titles(runs[0]) if config.format == "csv" else []
    view = config.view(runs[0])
    every = observations(runs[0], config)
    seen = select(every, "", most_drawn(config, view, len(runs)), None)
    several = PICTURE_DRAWS if config.format == "png" else TERMS_SAMPLES * len(seen.x)
    samples = max(LEAST_SAMPLES, min(TERMS_SAMPLES, several // max(len(seen.x), 1)))
    reconstructions = [reconstruct(run, seen.x, config.mode, config.seed, config.draws or 0, samples) for run in runs]
    labels = titles([run.config for run in runs], [run.folder.name for run in runs])
    print_terms(seen, reconstructions, labels, class_names(seen.y, seen.called.classes))
    if bool(seen.x.isnan().any()):
        print("some numbers are missing: vae impute fills them in, given the known ones")
    if config.format == "npz":
        names = seen.called.arrays(seen.split)
        names["y"] = names.pop("labels")
        write_arrays(config.target, x=seen.x.cpu(), **names, **arrays(reconstructions, config.draws))
    elif config.format == "csv":
        write_table(config.target, columns(runs[0], titled, seen, reconstructions[0]))
    else:
        title = heading(config, runs, len(seen.x), len(every.x))
        write_figure(config.target, figure(view, seen, reconstructions, labels, title))
    return config.target


def heading(config: Config, runs: Sequence[Run], drawn: int, n: int) -> str:
    """The picture's title: what it shows, and of which runs; a line is printed if not all are drawn."""
    where = f"{config.split} observations" if config.input is None else f"observations of {Path(config.input).name}"
    if drawn < n:
        print(f"drew the first {drawn} of {n}; format=npz writes them all")
    shown = f"{drawn}" if drawn == n else f"the first {drawn} of {n}"
    names = [source(run) for run in runs]
    what = f"{shown} {as_label(where)} and their reconstructions, {MODES[config.mode]}"
    if n == 1:
        what = what.replace("observations", "observation", 1).replace("their reconstructions", "its reconstruction")
    return f"{what}\n{shorten('; '.join(names), 250)}"


def expand(name: str) -> list[str]:
    """The runs of a name: a run's folder itself, or all runs of a sweep's folder, the first seed of each job."""
    folder = expanded(name)
    if name == "latest" or RunFolder(folder).checkpoints.is_dir():
        return [name]
    return [str(run) for run in runs_of_jobs(folder)] or [name]


def observations(run: Run, config: Config) -> Observations:
    """Those asked for; by default DEFAULT_DRAWN of a split in a picture, else all."""
    if config.rows is not None:
        split, called = observed(run, config.split, config.input, config.rows)
        with evaluating(run.model, config.seed):
            x = split.batch(slice(0, len(split)))
        rows = range(len(split)) if split.rows is None else split.rows.tolist()
        every = Observations(x, split.y, [str(i) for i in rows], split.rows, called)
        return select(every, f"rows={config.rows}", config.n, config.indices)
    if config.input is None:
        n = DEFAULT_DRAWN if config.n is None and config.format == "png" else config.n
        return split_observations(run, config.split, n, config.indices, config.seed)
    return select(read_input(run, config.input), f"input={config.input}", config.n, config.indices)


def most_drawn(config: Config, view: View, runs: int) -> int | None:
    """How many of the observations asked for are drawn; None: all, since a file other than a picture has them all."""
    if config.format != "png":
        return None
    most = view.most_observations(1 + runs * (1 + (config.draws or 0)))
    return min(DEFAULT_DRAWN, most or DEFAULT_DRAWN) if config.n is None and config.indices is None else most


def reconstruct(
    run: Run, x: Tensor, mode: Mode = "mean", seed: int = 0, draws: int = 0, samples: int = TERMS_SAMPLES
) -> Reconstruction:
    """Decode the posterior means of x (N, *x_shape) and `draws` draws of z for each; estimate each ELBO.

    An ELBO is estimated from `samples` draws of its own.
    """
    check_memory(8 * draws * x.numel(), f"draws={draws}", "ask for fewer")
    again, terms = [], []
    n = max(1, min(10, run.model.rows_at_once() // samples))
    x = x.to(next(run.model.parameters()).device)
    with evaluating(run.model, seed):
        parts = x.split(n)
        for part in progress_bar("reconstructing", len(parts))(parts):
            again.append(mean_or_draw(run.model.decode(run.model.encode(part).mean), mode == "draw").cpu())
            terms.append(elbo_terms(run.model, part, samples))
        z = torch.cat(
            [run.model.encode(part).sample((draws,)) for part in x.split(inference_batch_size(run.model))], dim=1
        )
        drawn = [decode_all(run.model, one, mode == "draw") for one in z]
    metrics = {key: torch.cat([term[key] for term in terms]) for key in terms[0]}
    several = torch.stack(drawn) if drawn else torch.empty(0, *x.shape)
    return Reconstruction(torch.cat(again), metrics, z.cpu(), several)


def arrays(reconstructions: Sequence[Reconstruction], draws: int | None) -> dict[str, Tensor]:
    """The runs' arrays of an .npz file."""
    several = {"draws": stacked([one.draws for one in reconstructions])} if draws else {}
    if draws and len(reconstructions) == 1:  # several runs may have different numbers of latents
        several["z"] = reconstructions[0].z
    terms = {term: stacked([one.terms[term] for one in reconstructions]) for term in reconstructions[0].terms}
    again = stacked([one.x for one in reconstructions])
    return {"reconstruction": again, **terms, **several}


def columns(run: Run, names: Sequence[str], seen: Observations, one: Reconstruction) -> Values:
    """One run's columns of a .csv file: observations, reconstructions, terms."""
    places = {"index": torch.tensor([int(name) for name in seen.names]), **seen.called.columns(seen.split)}
    made = {
        f"{name}_reconstruction": values
        for name, values in by_title(run, names, with_data_decimals(run, one.x)).items()
    }
    return {
        **rename_clashing_columns(names, places),
        **by_title(run, names, seen.x.cpu()),
        **rename_clashing_columns(names, {**made, **one.terms}),
    }


def figure(
    view: View, seen: Observations, reconstructions: Sequence[Reconstruction], labels: Sequence[str], title: str
) -> Figure:
    """The observations over each run's reconstructions; above each of a file its row and label, of one run its ELBO."""
    rows = []
    for label, one in zip(labels, reconstructions, strict=True):
        label = as_label(label)
        rows.append((label if len(reconstructions) > 1 else "reconstruction", one.x))
        before = f"{label}, " if len(reconstructions) > 1 else ""
        rows += [(f"{before}draw {k + 1}", x) for k, x in enumerate(one.draws)]
    if len(rows) > (most := view.max_reconstruction_rows):
        print(f"drew the first {most} of {len(rows)} rows of reconstructions; format=npz writes them all")
    notes: list[list[str]] = [[]] * len(seen.x) if seen.rows is None else seen.descriptions()
    if len(reconstructions) == 1:
        elbos = reconstructions[0].terms["elbo"].tolist()
        notes = [[*note, f"ELBO {number(elbo)}"] for note, elbo in zip(notes, elbos, strict=True)]
    texts = ["\n".join(note) for note in notes] if any(notes) else None
    return view.reconstructions(seen.x.cpu(), rows[:most], texts, title)


def stacked(values: Sequence[Tensor]) -> Tensor:
    """One run's values as they are, several runs' with the runs leading."""
    return values[0] if len(values) == 1 else torch.stack(list(values))


def check_same_shape(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        if run.model.x_shape != runs[0].model.x_shape:
            raise UserError(
                f"run={run.folder}: its observations have shape {run.model.x_shape}, "
                f"those of {runs[0].folder} {runs[0].model.x_shape}; give runs on the same data"
            )


def print_terms(
    seen: Observations, reconstructions: Sequence[Reconstruction], labels: Sequence[str], classes: Sequence[str] | None
) -> None:
    """A table with the ELBO's terms of each observation, one for each run; `classes` are the labels' names."""
    for label, one in zip(labels, reconstructions, strict=True):
        table = Table(
            "observation",
            *(["label"] if seen.y is not None else []),
            title=rich(label) if len(reconstructions) > 1 else None,
        )
        for heading in ("ELBO", "log p(x|z)", "KL"):
            table.add_column(heading, justify="right")
        for i, name in enumerate(seen.names[:MAX_PRINTED]):
            y = [rich(label_text(seen.y[i], classes))] if seen.y is not None else []
            table.add_row(name, *y, *(f"{value[i]:.2f}" for value in one.terms.values()))
        Console().print(table)
        if len(seen.names) > MAX_PRINTED:
            print(f"the first {MAX_PRINTED} of {len(seen.names)}; format=csv (or npz) writes them all")
