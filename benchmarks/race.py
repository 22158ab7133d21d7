"""The race: how soon, from nothing, does training reach a test NLL? python benchmarks/race.py DATA RECIPE [--seed N].

DATA holds MNIST/raw. The recipe is trained in a process of its own, whose seconds are the clock: imports, reading and
compiling are in it, evaluation is not. One epoch of the matrix products alone (the floor), with the recipe's widths and
batch size, is timed directly before and after. Then the test images are evaluated, once, and the record is kept in
docs/results/race/RECIPE_seedN; from all records the table of docs/race.md is made. If it was stopped in the evaluation,
the same command evaluates and does not train again. Without arguments only the table is made. Run it on a machine that
does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

from records import EVALUATE, ROOT, Record, Where, begun_by, curves, keep, table, write_page

PAGE = ROOT / "docs/race.md"
PICTURE = ROOT / "docs/pictures/race.png"
RECORDS = ROOT / "docs/results/race"
TIMING = "race.json"  # in a run's folder and its record: the seconds, and those of the floor
OBSERVATIONS = 60_000
TARGETS = (88, 86.76, 84.78)


class Recipe(NamedTuple):
    """What is trained, and the widths of its networks."""

    train: str  # words of vae-train
    widths: tuple[int, ...]
    batch: int
    changed: str  # since the row above
    draws: int = 1


IWAE = (784, 200, 200, 50)
FLAT = "architecture.hidden=[200,200] architecture.activation=tanh latent_dim=50"
MNIST = "dataset=mnist dataset.binarize=dynamic dataset.val_size=0 decoder=bernoulli"
FALLS = "scheduler=step scheduler.milestones=[1,4,13,40,121,364,1093] scheduler.gamma=0.71969"
RECIPES = {
    "plain": Recipe(
        f"{MNIST} {FLAT} optimizer=adam optimizer.lr=0.001 scheduler=constant batch_size=100 epochs=36", IWAE, 100,
        "the plain recipe: MLP 200-200 tanh, z = 50, Adam at a constant .001"),
    "paper": Recipe(
        f"{MNIST} {FLAT} optimizer=adam optimizer.lr=0.001 optimizer.eps=1e-4 {FALLS} batch_size=20 epochs=40", IWAE,
        20,
        "the first 40 of 3,280 passes of the schedule of Burda et al. (2016): batches of 20, the rate falls after "
        "1, 4, 13 and 40 passes"),
    "race_88": Recipe(
        "experiment=race_88", (784, 400, 40), 256,
        "one layer of 400 SiLU, z = 40, a mixture of 200 Gaussians as prior, sticking the landing, batches of 256 in "
        "bf16, AdamW at a rate that rises to .005 and falls linearly to nothing"),
    "race_84": Recipe(  # chosen by the trials of 43 and 264 passes over 50,000 images in docs/results.md
        "experiment=race_88 epochs=300", (784, 400, 40), 256, "the same, 300 passes: for the target of 84.78"),
}  # fmt: skip


def run_recipe(name: str, seed: int, where: Where) -> None:
    """Train against the clock, evaluate once, and keep the record."""
    recipe, run = RECIPES[name], f"{name}_seed{seed}"
    words = [*recipe.train.split(), f"seed={seed}"]
    if (where.runs / run / TIMING).is_file():  # all but the evaluation is done
        begun_by(where.runs / run, words)
    elif (where.runs / run).exists():
        sys.exit(f"error: {where.runs / run} is there already; a race begins from nothing, move it away")
    else:
        train(recipe, run, words, where)
    where.evaluate(run, EVALUATE)
    keep(where.runs / run, where.records / run, words, list(EVALUATE), (TIMING,))


def train(recipe: Recipe, run: str, words: list[str], where: Where) -> None:
    """Train against the clock, and write the seconds into the run's folder."""
    before = floor_seconds(recipe)
    started = time.perf_counter()
    where.vae("train", *words, f"output={run}")
    seconds = time.perf_counter() - started
    after = floor_seconds(recipe)
    print(f"{seconds:.1f} s; an epoch of the floor: {before:.2f} s before, {after:.2f} s after", flush=True)
    timing = {"seconds": round(seconds, 2), "floor_before": round(before, 3), "floor_after": round(after, 3)}
    (where.runs / run / TIMING).write_text(json.dumps(timing) + "\n")


def floor_seconds(recipe: Recipe) -> float:
    """An epoch of matrix products with the recipe's shapes, after a tenth of one to warm up."""
    import torch
    from speed_rows import Case, Floor

    case = Case(recipe.widths, recipe.batch, samples=recipe.draws)
    Floor(case, torch.empty(OBSERVATIONS // 10, 0)).epoch()
    return Floor(case, torch.empty(OBSERVATIONS, 0)).timed(time.perf_counter)


HEAD = [
    "run",
    "date",
    "commit",
    "seconds",
    "floor's epochs",
    "passes",
    "weights",
    "NLL",
    "± data ± draws",
    "what changed",
]


def line(name: str, record: Record, timing: dict[str, float]) -> list[str]:
    """A record's row of the table."""
    floor = (timing["floor_before"] + timing["floor_after"]) / 2
    summary, run = record.summary, record.folder.name
    return [
        f"[{run}](results/race/{run}/record.json)", record.notes["date"], (summary.git_commit or "")[:10],
        f"{timing['seconds']:,.0f}", f"{timing['seconds'] / floor:,.0f} of {floor:.2f} s", str(summary.epochs),
        f"{summary.parameters:,}", f"**{record.evaluation.nll:.2f}**", record.error, RECIPES[name].changed,
    ]  # fmt: skip


def records_of(records: Path) -> list[tuple[str, Record]]:
    """All records, each with its recipe's name, in the order of RECIPES and of the seeds."""
    folders = [(name, folder) for name in RECIPES for folder in sorted(records.glob(f"{name}_seed*"))]
    return [(name, record) for name, folder in folders if (record := Record.read(folder))]


def tables(records: Path = RECORDS) -> str:
    """The table of records, that of their commands, and that of their curves; a remark where there are none."""
    found = records_of(records)
    if not found:
        return "No record yet."
    rows = [line(name, record, json.loads((record.folder / TIMING).read_text())) for name, record in found]
    commands = [[f"`{r.notes['train']}`", f"`{r.notes['evaluate']}`", r.notes["machine"]] for _, r in found]
    return "\n\n".join([
        table(HEAD, rows),
        table(["trained by", "evaluated by", "machine"], commands),
        "Mean training ELBO of a pass, and the seconds of training until its end:",
        curves([record for _, record in found]),
        "![Negative training ELBO, and test NLL, against the seconds of training](pictures/race.png)",
    ])  # fmt: skip


def draw(found: list[tuple[str, Record]], path: Path) -> None:
    """Left the negative training ELBO of each recipe's first record while it trained, right the NLL of all records."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(9, 4), layout="constrained")
    curve, ends = figure.subplots(1, 2)
    for axes, label in ((curve, "negative training ELBO (nats)"), (ends, "test NLL (nats)")):
        axes.set(xscale="log", xlabel="seconds of training", ylabel=label)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    for name, record in dict(reversed(found)).items():
        seconds, elbo = [p.seconds for p in record.curve], [-p.elbo for p in record.curve]
        (drawn,) = curve.plot(seconds, elbo, label=name, linewidth=1)
        of_name = [record for other, record in found if other == name]
        clocks = [json.loads((record.folder / TIMING).read_text())["seconds"] for record in of_name]
        ends.plot(clocks, [record.evaluation.nll for record in of_name], "o", color=drawn.get_color())
    for target in TARGETS:
        ends.axhline(target, color="0.6", linewidth=0.8, linestyle="--")
    curve.set_ylim(bottom=88, top=125)
    ends.set_xlim(20, 2000)
    curve.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("recipe", nargs="?", choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "outputs/race", help="where the runs' folders are made")
    args = parser.parse_args()
    if args.data and not args.recipe:
        parser.error(f"give DATA and a recipe, {' or '.join(RECIPES)}; or nothing, to make the table again")
    if args.recipe:
        run_recipe(args.recipe, args.seed, Where(args.data, args.runs, RECORDS))
    write_page(PAGE, "race", tables())
    if found := records_of(RECORDS):
        draw(found, PICTURE)


if __name__ == "__main__":
    main()
