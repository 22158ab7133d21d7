"""Published results and this repository's, row by row: python benchmarks/published.py DATA ROW [ROW ...].

DATA holds MNIST/raw. A row is trained (resumed, if its training was interrupted, and not trained again, if it was
completed), evaluated, and recorded in docs/results/ROW; then the tables of docs/results.md are made again from the
records. Without arguments only the tables are made. See docs/results.md.
"""

from __future__ import annotations

import argparse
import shlex
import signal
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import NamedTuple

from records import EVALUATE, ROOT, Record, Where, begun_by, curves, keep, table, write_page

PAGE = ROOT / "docs/results.md"
RECORDS = ROOT / "docs/results"
DYN, STATIC = "dataset.binarize=dynamic", "dataset.binarize=static"
IWAE, IWAE_STATIC = "arXiv:1509.00519, table 1", "arXiv:1509.00519, table 3"
AEVB = "one unreviewed reimplementation of arXiv:1312.6114, figure 2"
FLOWS = "arXiv:1606.04934"


class Row(NamedTuple):
    """A published figure, and how it is reproduced."""

    text: str  # the model
    published: str
    source: str
    train: str  # words of vae-train
    evaluate: tuple[str, ...] = EVALUATE  # words of vae evaluate
    figure: str = "nll"  # of evaluation.json; "-elbo": the negative ELBO
    seeds: int = 0  # 0: one run with seed 0; else the mean over this many


def aevb(latents: int, published: str) -> Row:
    """A point of the sweep over latents; its figure is a bound, which k = 100 draws give closely enough."""
    words = f"experiment=aevb_sweep latent_dim={latents}"
    return Row(f"MLP 500 tanh, z = {latents}, static, -ELBO", published, AEVB, words, ("k=100",), "-elbo")


BEST = "experiment=best_mlp"
GATED = "experiment=gated_mlp_300"
RESNET = "experiment=resnet_dynamic"
PLAIN = "architecture.hidden=[400] architecture.activation=relu optimizer=adam optimizer.lr=0.001 scheduler=constant"
ROWS = {
    "iwae_k1": Row("MLP 200-200 tanh, z = 50, k = 1", "86.76", IWAE, "experiment=iwae_1layer objective=stl"),
    "iwae_k5": Row("the same, k = 5", "85.54", IWAE, "experiment=iwae_1layer objective.k=5 epochs=200"),
    "iwae_k50": Row("the same, k = 50", "84.78", IWAE, "experiment=iwae_1layer objective.k=50 epochs=40"),
    "dreg_k5": Row("the same, DReG, k = 5", "", "reach: below the row of IWAE",
                   "experiment=iwae_1layer objective=dreg objective.k=5 epochs=200"),
    "best_k1": Row("any MLP of at most twice that size, k = 1", "", "reach: 86.0", BEST),
    "best_k5": Row("the same, k = 5", "", "reach: 84.8", f"{BEST} objective=dreg objective.k=5 epochs=100"),
    "best_k50": Row("the same, k = 50", "", "reach: 84.3", f"{BEST} objective=dreg objective.k=50 epochs=25"),
    "static_k1": Row("MLP 200-200 tanh, z = 50, k = 1, static: a draw of our own", "88.71 (Larochelle's draw)",
                     IWAE_STATIC, f"experiment=iwae_1layer objective=stl {STATIC} epochs=100"),
    "static_k5": Row("the same, k = 5, static: a draw of our own", "87.63 (Larochelle's draw)",
                     IWAE_STATIC, f"experiment=iwae_1layer {STATIC} objective.k=5 epochs=100"),
    "gated_standard": Row("gated MLP 300-300, z = 40, standard prior", "84.45", "arXiv:2004.04795", GATED),
    "gated_vamp": Row("the same, VampPrior of 500 pseudo-inputs", "82.43 ± 0.06", "arXiv:2004.04795",
                      f"{GATED} prior=vamp"),
    "gated_flow": Row("the same, flow prior", "", "reach: below the VampPrior's row", f"{GATED} prior=flow"),
    "aevb_3": aevb(3, "141.3"),
    "aevb_5": aevb(5, "124.4"),
    "aevb_10": aevb(10, "107.6"),
    "aevb_20": aevb(20, "100.6"),
    "aevb_200": aevb(200, "99.2"),
    "resnet_gaussian": Row("ResNet, z = 32, Gaussian posterior", "81.08", FLOWS, RESNET),
    "resnet_flow_posterior": Row("the same, flow posterior", "79.10", FLOWS, f"{RESNET} posterior=flow"),
    "resnet_flow_prior": Row("ResNet, flow prior", "78.49", "arXiv:1905.13452", f"{RESNET} prior=flow"),
    "defaults": Row("`vae-train dataset=mnist` alone, 10 epochs, grey, test -ELBO", "", "", "dataset=mnist",
                    ("k=100",), "-elbo", 3),
    "plain_loop": Row("the same data, one layer of 400 ReLU, Adam at .001", "", "", f"dataset=mnist {PLAIN}",
                      ("k=100",), "-elbo", 3),
}  # fmt: skip

FIGURES = ["row", "model", "published", "measured", "± data", "± draws", "active", "k > .7", "passes", "seconds"]
COMMANDS = ["row", "published in", "trained by", "evaluated by", "date", "machine"]


def run_row(name: str, where: Where) -> None:
    """Train what is not trained yet, evaluate, and keep the records."""
    row = ROWS[name]
    for run, words in runs_of(name, row):
        train(where, run, words)
        where.evaluate(run, row.evaluate)
        keep(where.runs / run, where.records / run, words, list(row.evaluate))


def runs_of(name: str, row: Row) -> list[tuple[str, list[str]]]:
    """The folder of each run of a row, and the words of vae-train."""
    if not row.seeds:
        return [(name, row.train.split())]
    return [(f"{name}_seed{seed}", [*row.train.split(), f"seed={seed}"]) for seed in range(row.seeds)]


def train(where: Where, run: str, words: list[str]) -> None:
    """Begin a run, resume it, or leave a completed one as it is."""
    folder = where.runs / run
    if not (folder / "summary.json").is_file():
        where.vae("train", *words, f"output={run}")
        return
    if begun_by(folder, words).status != "completed":
        where.vae("train", f"resume={run}")


def figure(row: Row, record: Record) -> float:
    """The measured figure of one run, in nats; smaller is better."""
    return record.evaluation.nll if row.figure == "nll" else -record.evaluation.elbo


def lines(name: str, row: Row, records: Path) -> tuple[list[str], list[str]]:
    """A row's line in the table of figures, and in that of commands; "open" without all of its records."""
    runs = [run for run, _ in runs_of(name, row)]
    found = [record for run in runs if (record := Record.read(records / run))]
    words = f"`vae-train {shlex.join(row.train.split())}`" + (f" `seed=0` to `{row.seeds - 1}`" if row.seeds else "")
    evaluate = f"`vae evaluate {shlex.join(row.evaluate)}`"
    if len(found) < len(runs):
        return [name, row.text, row.published, "open", *[""] * 6], [name, row.source, words, evaluate, "", ""]
    values = [figure(row, record) for record in found]
    evaluation, summary = found[0].evaluation, found[0].summary
    figures = [f"[{name}](results/{runs[0]}/record.json)", row.text, row.published]
    figures.append(f"**{mean(values):.2f}**" + (spread(values) if row.seeds else ""))
    figures += errors(evaluation) if row.figure == "nll" else ["", ""]
    figures.append(f"{evaluation.active_units} of {evaluation.latent_dim}")
    high = evaluation.pareto_k_high if row.figure == "nll" else None
    figures.append("" if high is None else f"{100 * high:.1f} %")
    figures += [str(summary.epochs), f"{summary.seconds:,.0f}"]
    return figures, [name, row.source, words, evaluate, found[0].notes["date"], found[0].notes["machine"]]


def errors(evaluation: SimpleNamespace) -> list[str]:
    """The standard errors of the NLL, over the data and over the draws."""
    return [f"{evaluation.nll_stderr:.2f}", f"{evaluation.nll_mc_stderr:.3f}"]


def spread(values: list[float]) -> str:
    """The single figures of several seeds."""
    return " (" + ", ".join(f"{value:.2f}" for value in values) + ")"


def tables(records: Path = RECORDS) -> str:
    """The tables of figures and of commands, of all rows, and that of the curves of the rows that have a record."""
    pairs = [lines(name, row, records) for name, row in ROWS.items()]
    runs = [run for name, row in ROWS.items() for run, _ in runs_of(name, row)]
    found = [table(FIGURES, [a for a, _ in pairs]), table(COMMANDS, [b for _, b in pairs])]
    if measured := [record for run in runs if (record := Record.read(records / run))]:
        found += ["Mean training ELBO of a pass, and the seconds of training until its end:", curves(measured)]
    return "\n\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--runs", type=Path, default=ROOT / "outputs/results", help="where the runs' folders are made")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the command that runs saves and ends first
    if args.data and not args.rows:
        parser.error(f"give DATA and one row or more, of {', '.join(ROWS)}; or nothing, to make the tables again")
    if unknown := [name for name in args.rows if name not in ROWS]:
        parser.error(f"there is no row {unknown[0]}; expected one of {', '.join(ROWS)}")
    for name in args.rows:
        run_row(name, Where(args.data, args.runs, RECORDS))
        write_page(PAGE, "published", tables())
    write_page(PAGE, "published", tables())


if __name__ == "__main__":
    main()
