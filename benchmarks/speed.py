"""How long a training step takes, beside its matrix products and other ways to write it: a table of every case.

    python benchmarks/speed.py DATA [--cases mnist,beta] [--rounds 7] [--steps 50] [--threads 1] [--clock cpu]
                               [--words precision=bf16] [--jax PYTHON] [--pythae PYTHON] [--write docs/performance.md]

DATA is the folder that holds MNIST/raw; every row of a case with pictures trains on its first images. vaecli's rows
are epochs of a real `vae-train` in an empty folder; between two of them every other row of the case takes as many
steps, so that all see the same machine. Printed are medians over the rounds and their ratios to the floor. --clock
cpu counts processor time instead of time, for a machine that others use. --words are typed to vae-train too, as in
compile=true. --jax names a Python that has jax (extra `bench`), --pythae one that has pythae; without them those rows
are not measured. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from speed_data import images
from speed_rows import Case, Dataloader, Eager, Floor

import vaecli
from vaecli.training import execution, trainer

MNIST = ("dataset=mnist", "dataset.val_size=0")
CASES = {
    "mnist": Case((784, 400, 20), 128, words=MNIST),
    "mnist_L5": Case((784, 400, 20), 128, samples=5, words=MNIST),
    "iwae": Case((784, 200, 200, 50), 100, k=5, dynamic=True, words=MNIST),
    "beta": Case(
        (100, 32, 32, 32, 2), 256, bernoulli=False, activation="tanh", words=("dataset=beta", "dataset.val_size=0")
    ),
    "table": Case((30, 64, 4), 32, bernoulli=False, words=()),
    "conv": Case((), 128, words=(*MNIST, "architecture=conv")),
}
FIRST = 2  # epochs in which everything is made and warmed, which no figure has


class Timed(NamedTuple):
    """What a round of a case took, in seconds, by row."""

    rows: dict[str, list[float]]
    between: list[float]  # from the end of vaecli's steps to the next epoch


def words_of(case: Case, data: str, steps: int, rounds: int) -> list[str]:
    """What is typed for a case, so that an epoch has so many steps."""
    words = [
        *case.words,
        f"batch_size={case.batch}",
        f"samples={case.samples}",
        f"epochs={rounds + FIRST}",
        "device=cpu",
        "optimizer=adam",
    ]
    if case.widths:
        hidden = ",".join(map(str, case.widths[1:-1]))
        words += [f"architecture.hidden=[{hidden}]", f"latent_dim={case.widths[-1]}"]
        words += [f"architecture.activation={case.activation}"]
    if "dataset=mnist" in words:
        words += [f"dataset.root={data}", f"dataset.limit={steps * case.batch}"]
    if "dataset=beta" in words:
        words.append(f"dataset.size={steps * case.batch}")
    if not case.bernoulli:
        words.append("decoder=gaussian_identity")
    if case.dynamic:
        words.append("dataset.binarize=dynamic")
    if case.k > 1:
        words += ["objective=iwae", f"objective.k={case.k}"]
    return words


@contextmanager
def interleaved(others: dict[str, Callable[[], float]], clock: Callable[[], float], found: Timed) -> Iterator[None]:
    """Each epoch of training is timed, (a) its steps and (b) all until the next one, a round of the others between."""
    take, state = trainer.Trainer.train_epoch, {"left": None}

    def train_epoch(self: trainer.Trainer, epoch: int) -> Any:
        if state["left"] is not None:
            found.between.append(clock() - state["left"])
        for name, row in others.items():
            found.rows[name].append(row())
        started = clock()
        means = take(self, epoch)
        state["left"] = clock()
        found.rows["vaecli (a)"].append(state["left"] - started)
        return means

    with patch.object(trainer.Trainer, "train_epoch", train_epoch):
        yield


class Waiting:
    """A row in a process of its own, which waits between its rounds: JAX's one jitted scan per epoch, or pythae."""

    def __init__(self, python: str, script: str, case: Case, args: argparse.Namespace) -> None:
        flags = (
            f"--xla_cpu_multi_thread_eigen={str(args.threads > 1).lower()} intra_op_parallelism_threads={args.threads}"
        )
        words = [python, str(Path(__file__).with_name(script)), case.text(), str(args.steps), args.clock, args.data]
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __call__(self) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def measure(case: Case, args: argparse.Namespace) -> Timed:
    """The medians' raw material: every row of a case, round by round."""
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    x = (
        torch.from_numpy(images(args.data, args.steps * case.batch)).view(-1, 1, 28, 28)
        if case.pictures
        else torch.rand(args.steps * case.batch, case.widths[0])
    )
    others: dict[str, Callable[[], float]] = {}
    for row in (Floor, Eager, Dataloader):
        if row is Floor and not case.widths:
            continue
        one = row(case, x)
        others[row.__name__.lower()] = lambda one=one: one.timed(clock)
    if args.jax and case.widths:
        others["jax"] = Waiting(args.jax, "speed_jax.py", case, args)
    if args.pythae and case == CASES["mnist"]:
        others["pythae"] = Waiting(args.pythae, "speed_pythae.py", case, args)
    found = Timed({name: [] for name in [*others, "vaecli (a)"]}, [])
    words = words_of(case, args.data, args.steps, args.rounds) + args.words.split()
    with tempfile.TemporaryDirectory() as place, chdir(place), interleaved(others, clock, found):
        if not case.words:
            words[:0] = table(round(args.steps * case.batch / 0.9), case.widths[0])  # a tenth is for testing
        print("vae-train", shlex.join(words), file=sys.stderr, flush=True)
        vaecli.train(*words, "output=run")
    return found


def table(rows: int, columns: int) -> list[str]:
    """A file of so many numbers, and the words that train on it."""
    numbers = torch.randn(rows, columns).tolist()
    lines = [",".join(f"c{i}" for i in range(columns)), *(",".join(f"{v:.6g}" for v in row) for row in numbers)]
    Path("table.csv").write_text("\n".join(lines) + "\n")
    return ["dataset=arrays", "dataset.path=table.csv", "dataset.val_fraction=0", "dataset.test_fraction=0.1"]


def rows(name: str, case: Case, found: Timed, steps: int) -> list[str]:
    """The lines of a case: microseconds a step, and the ratio to the floor, or to eager where there is none."""
    times = {row: statistics.median(values[FIRST:]) for row, values in found.rows.items() if len(values) > FIRST}
    times["vaecli (b)"] = times["vaecli (a)"] + statistics.median(found.between[FIRST:])
    base = times.get("floor", times["eager"])
    return [
        f"| {name} | {row} | {1e6 * seconds / steps:,.0f} | {seconds / base:.2f} |" for row, seconds in times.items()
    ]


def machine(args: argparse.Namespace) -> str:
    """Where and how it was measured."""
    model = next((line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    kind = "processor time of one process" if args.clock == "cpu" else "time"
    return (
        f"{model}, {os.cpu_count()} cores, {args.threads} thread(s); Python {platform.python_version()}, torch "
        f"{torch.__version__}; {kind}, medians of {args.rounds} interleaved rounds of {args.steps} steps."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--words", default="")
    parser.add_argument("--jax")
    parser.add_argument("--pythae")
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    args.data = str(Path(args.data).absolute())
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # vaecli leaves the number alone then
    torch.set_num_threads(args.threads)
    execution.RECORD_FROM = 1  # as in a run of its usual length
    lines = ["| case | row | µs a step | ratio |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for name in args.cases.split(","):
        lines += rows(name, CASES[name], measure(CASES[name], args), args.steps)
        print("\n".join(lines[-len(lines) :]), flush=True)
        if args.write:
            put(args.write, "\n".join([machine(args), "", f"    {command_line(args)}", "", *lines]))
    print(machine(args))


def command_line(args: argparse.Namespace) -> str:
    """What was typed, without this machine's own paths."""
    words = f" --words {shlex.quote(args.words)}" if args.words else ""
    more = words + " --jax PYTHON" * bool(args.jax) + " --pythae PYTHON" * bool(args.pythae)
    return (
        f"python benchmarks/speed.py DATA --cases {args.cases} --rounds {args.rounds} --steps {args.steps} "
        f"--threads {args.threads} --clock {args.clock}{more}"
    )


def put(page: Path, text: str) -> None:
    """Replace what stands between the page's two marks."""
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end -->")
    page.write_text(f"{before}<!-- table -->\n\n{text}\n\n<!-- end -->{after}")


if __name__ == "__main__":
    main()
