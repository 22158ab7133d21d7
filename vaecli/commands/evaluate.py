"""`vae evaluate`: scores a trained model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vaecli.analysis.importance_sampling import Scores
from vaecli.analysis.metrics import active_units, has_mass, kl_per_dim, mean_squared_error
from vaecli.analysis.pareto import MIN_DRAWS, threshold
from vaecli.analysis.quadrature import Quadrature, in_double, quadrature
from vaecli.commands._inputs import observed
from vaecli.commands._names import Names
from vaecli.commands._outputs import write_arrays, write_table
from vaecli.commands._scores import ScoreKeys, estimate, stderr_of_mean
from vaecli.datasets.split import Split
from vaecli.models.build import check_data
from vaecli.models.inference import fix_binarisation
from vaecli.models.load import Run
from vaecli.models.vae import VAE
from vaecli.runs.folder import RunFolder
from vaecli.runs.names import EVALUATION
from vaecli.runs.read import Damaged
from vaecli.runs.records import Evaluation, EvaluationSettings, Figures, problems_named
from vaecli.utils.errors import UserError
from vaecli.utils.files import replace_text
from vaecli.utils.memory import peak_memory
from vaecli.utils.progress import Countdown, duration
from vaecli.utils.text import plural, say
from vaecli.utils.version import __version__

TRIED = 4  # observations timed to predict how long quadrature will take
DEFAULT_K = 5000  # draws; another number is part of the file's name


@dataclass(kw_only=True)
class Config(ScoreKeys):
    FILE = EVALUATION
    exact: bool
    scores: bool | Literal["csv"]
    rows: str | None

    def to_score(self, run: Run) -> tuple[Split, Split, Names]:
        """As ScoreKeys, or those of a file of row numbers."""
        whole, called = observed(run, self.split, self.input, self.rows)
        return whole, fix_binarisation(whole.head(self.limit), self.seed), called

    @property
    def file_name(self) -> str:
        """evaluation.json for the figures that runs are ranked by; other names say what was evaluated."""
        standard = self.split == "test" and self.estimator == "posterior" and self.checkpoint == "best"
        return EVALUATION if standard and not (self.input or self.rows or self.limit) else self.other_name

    @property
    def other_name(self) -> str:
        what = self.split if (file := self.input or self.rows) is None else Path(file).stem
        parts = {
            what: True, f"limit{self.limit}": self.limit, f"k{self.k}": self.k != DEFAULT_K,
            self.checkpoint: self.checkpoint != "best", "prior": self.estimator == "prior",
        }  # fmt: skip
        return "_".join(["evaluation", *(part for part, said in parts.items() if said)]) + ".json"

    @property
    def scores_target(self) -> Path:
        return self.target.with_name(f"{self.target.stem}.scores.{'csv' if self.scores == 'csv' else 'npz'}")

    @property
    def targets(self) -> list[Path]:
        return [self.target, self.scores_target]

    def prepare(self) -> list[Run]:
        """Load the run; a smaller k never replaces an evaluation.json with a larger one."""
        runs = super().prepare()
        if self.output is None and self.target.name == EVALUATION and evaluated_k(runs[0].folder) > self.k:
            self.target = runs[0].folder / self.other_name
        return runs


def evaluated_k(folder: RunFolder) -> int:
    """The number of draws behind a run's evaluation.json; 0 where there is none."""
    try:
        return folder.read_evaluation().protocol.k
    except Damaged:
        return 0


class Evaluated(NamedTuple):
    """The result: for each observation, by quadrature if asked for, and over all observations."""

    scores: Scores
    exact: Quadrature | None
    refused: Tensor | None  # (N,): which integrals must not be called exact
    figures: Figures


def main(config: Config, run: Run) -> Iterator[Path]:
    """Write evaluation.json, with scores=true also evaluation.scores.npz (or .csv), and print a table."""
    check_exact(run, config.exact)
    whole, split, called = config.to_score(run)
    if config.exact:
        say_cost(run.model, split)
    started = time.perf_counter()
    result = evaluate(run, split, config)
    seconds = time.perf_counter() - started
    protocol = describe(run, config, len(split), len(whole), whole.redraw, seconds)
    report(result, protocol, check_data(run.model.decoder, split))
    if config.scores:
        write_scores(config.scores_target, result, split, called)
        yield config.scores_target
    file = Evaluation(**result.figures.model_dump(exclude_unset=True), protocol=protocol)
    replace_text(config.target, file.text())
    yield config.target


def check_exact(run: Run, exact: bool) -> None:
    if exact and run.model.latent_dim > 2:
        raise UserError(
            f"exact=true: quadrature needs one or two latents, this run has {run.model.latent_dim}; "
            "leave it out: the importance-weighted estimate (k=...) takes any number"
        )


def say_cost(model: VAE, split: Split) -> None:
    """Print how long quadrature will take, by how long it took for the first observations."""
    started = time.perf_counter()
    quadrature(model, split.head(TRIED))
    each = (time.perf_counter() - started) / min(TRIED, len(split))
    latents = "one latent" if model.latent_dim == 1 else "two latents"
    what = f"quadrature over {latents} for {plural(len(split), 'observation')}"
    say(f"{what} will take about {duration(each * len(split))} in addition to the draws "
        f"(estimated from the first {min(TRIED, len(split))}); limit=N scores fewer")  # fmt: skip


def evaluate(run: Run, split: Split, config: Config) -> Evaluated:
    """Compute everything; UserError for a mean that is not finite."""
    model = run.model
    scores = estimate(in_double(model) if config.exact else model, split, config)
    exact = refused = None
    if config.exact:
        with Countdown("quadrature", len(split)) as tick:
            exact = quadrature(model, split, tick=tick)
        refused = exact.refused(scores)
    figures = means(run, split, scores, config.k)
    if exact is not None and refused is not None:
        figures = figures.with_exact(
            None if refused.any() else -float(exact.log_px.mean()), float(exact.error.mean()), int(refused.sum())
        )
    return Evaluated(scores, exact, refused, figures)


def means(run: Run, split: Split, scores: Scores, k: int) -> Figures:
    """The figures over all observations; UserError for one that is not finite: the weights are unusable."""
    model, mixed = run.model, run.dataset.column_kinds is not None
    nll, n_dims = float(scores.nll.mean()), math.prod(model.x_shape)
    try:
        with problems_named():
            return Figures(
                elbo=float(scores.elbo.mean()),
                log_px=float(scores.log_px.mean()),
                kl=float(scores.kl.mean()),
                nll=nll,
                nll_stderr=float(stderr_of_mean(scores.nll)),
                nll_mc_stderr=float(scores.nll_mc_stderr.square().sum().sqrt() / len(split)),
                ess=float(scores.ess.mean()),
                pareto_k=float(scores.pareto_k.mean()),
                pareto_k_high=float(share_above(scores.pareto_k, k)),
                active_units=int(active_units(model, split).sum()),
                latent_dim=model.latent_dim,
                kl_per_dim=None if (kl := kl_per_dim(model, split)) is None else kl.tolist(),
                mse=None if mixed else mean_squared_error(model, split),
                bits_per_dim=nll / (n_dims * math.log(2)) if has_mass(model, split) else None,
            )
    except ValueError as error:
        raise UserError(f"the weights of this checkpoint are unusable; try checkpoint=last ({error})") from None


def share_above(pareto_k: Tensor, k: int) -> Tensor:
    """The share of the observations whose weights have too heavy a tail for k draws; NaN for too few draws."""
    limit = threshold(k)
    return torch.tensor(torch.nan) if limit is None else (pareto_k > limit).double().mean()


def describe(run: Run, config: Config, n: int, of: int, redrawn: bool, seconds: float) -> EvaluationSettings:
    """The protocol: what has to be known to compare the figures with others."""
    data = run.config["dataset"]
    return EvaluationSettings(
        dataset=data["name"],
        split=None if (file := config.input or config.rows) else config.split,
        input=file,
        observations=n,
        of=of,
        binarize=data.get("binarize"),
        binarize_seed=config.seed if redrawn else data.get("binarize_seed"),
        estimator=config.estimator,
        k=config.k,
        widen=config.widen_for(run.model) if config.estimator == "posterior" else None,
        checkpoint=config.checkpoint,
        epoch=run.epoch,
        seed=config.seed,
        device=str(run.device),
        version=__version__,
        seconds=round(seconds, 2),
        peak_memory_bytes=peak_memory(run.device),
    )


def write_scores(path: Path, result: Evaluated, split: Split, called: Names) -> None:
    """A row for each observation."""
    scores = dict(result.scores._asdict())
    if result.exact is not None and result.refused is not None:
        scores["exact_nll"] = torch.where(result.refused, torch.nan, -result.exact.log_px)
        scores["exact_error"] = result.exact.error
    index = torch.arange(len(split))
    if path.suffix == ".csv":
        write_table(path, {"index": index, **scores, **called.columns(split)})
    else:
        write_arrays(path, **scores, index=index, **called.arrays(split))


def headline(p: EvaluationSettings) -> tuple[str, str]:
    """The protocol, in two lines for the user."""
    binarize = f", binarize={p.binarize} (seed {p.binarize_seed})" if p.binarize not in (None, "none") else ""
    grey = ", not binarised" if p.binarize == "none" else ""
    widened = f" with {p.widen:g} times its scale" if p.widen not in (None, 1) else ""
    whence = "the prior" if p.estimator == "prior" else f"q(z|x){widened}"
    return (
        f"{p.dataset} {p.input or p.split}, {p.observations:,} of {p.of:,} observations{binarize}{grey}",
        f"k = {p.k:,} draws from {whence}, {p.checkpoint} checkpoint, epoch {p.epoch}",
    )


def report(result: Evaluated, protocol: EvaluationSettings, warning: str | None) -> None:
    """The table for the user."""
    figures, console = result.figures, Console(highlight=False)
    for line in headline(protocol):
        say(line, console, "bold")
    table = Table("quantity")
    for title in ("value", "± over data", "± over draws"):
        table.add_column(title, justify="right")
    name = "-log p(x), prior" if protocol.estimator == "prior" else "-log p(x)"
    for title, key in (("ELBO", "elbo"), ("log p(x|z)", "log_px"), ("KL", "kl")):
        table.add_row(title, f"{getattr(figures, key):.3f}", error(stderr_of_mean(getattr(result.scores, key))), "")
    least = "at least " if figures.pareto_k_high else ""
    table.add_row(name, f"{figures.nll:.3f}", error(figures.nll_stderr), least + error(figures.nll_mc_stderr))
    if result.exact is not None and figures.exact_nll is not None:
        table.add_row("-log p(x), exact", f"{figures.exact_nll:.3f}", error(stderr_of_mean(result.exact.log_px)), "")
    table.add_row("effective sample size", f"{figures.ess:,.1f}", "", "")
    if figures.pareto_k_high is not None:
        table.add_row("Pareto k too high", f"{100 * figures.pareto_k_high:.3g} %", "", "")
    table.add_row("active units", f"{figures.active_units} of {figures.latent_dim}", "", "")
    if figures.mse is not None:
        table.add_row("mean squared error", f"{figures.mse:.5f}", "", "")
    if figures.bits_per_dim is not None:
        table.add_row("bits/dim", f"{figures.bits_per_dim:.4f}", "", "")
    console.print(table)
    if figures.kl_per_dim is not None:
        console.print("KL per latent: " + " ".join(f"{kl:.2f}" for kl in figures.kl_per_dim), soft_wrap=True)
    for line, style in remarks(result, protocol.k):
        console.print(line, style=style, soft_wrap=True)
    memory = protocol.peak_memory_bytes
    console.print(f"{protocol.seconds:.1f} s" + (f", peak memory {memory / 1e9:.2f} GB" if memory else ""))
    if warning:
        first, _, _ = warning.partition(". ")  # training has said the rest
        say(f"warning: {first}", console, "yellow")


def remarks(result: Evaluated, k: int) -> Iterator[tuple[str, str | None]]:
    """Remarks on the figures for log p(x), each with its style."""
    figures, limit, n = result.figures, threshold(k), len(result.scores.nll)
    if figures.exact_nll is not None:
        yield f"quadrature: estimated error {figures.exact_error:.0e} nats", None
    if figures.exact_refused:
        refused = f"quadrature: {figures.exact_refused:,} of {n:,} integrals did not converge or are below the estimate"
        yield f"{refused} from the draws: no exact figure is given; scores=true lists them", "yellow"
    if limit is None:
        yield f"k={k}: with fewer than {MIN_DRAWS} draws the accuracy of log p(x) cannot be judged", None
    elif figures.pareto_k_high:
        high = f"{round(figures.pareto_k_high * n):,} of {n:,} observations have a Pareto k above {limit:.2g}"
        yield f"{high}: their log p(x) is less accurate than its error says, and usually too low; raise k", "yellow"


def error(value: Tensor | float | None) -> str:
    """A standard error for the table; nothing where there is none."""
    return "" if value is None or not math.isfinite(value) else f"{float(value):.3g}"
