"""What a training step costs with each decoder, posterior, prior, objective and architecture, one changed at a time.

    python benchmarks/speed_options.py DATA [ROUNDS] [STEPS] [WORDS ...]

DATA is the folder that holds MNIST/raw. Everything else is the MNIST MLP of benchmarks/speed.py (784-400-20, batches
of 128, L=1). Processor time on one thread, medians over rounds of STEPS steps in which all options take turns; each
step is recorded, as in a run of its usual length, and eager beside it. Options that refuse grey values train on binary
ones. WORDS, joined by + if there are several, are measured in place of every option: precision=bf16+samples=5. With
OMP_NUM_THREADS above 1, that many threads are timed by the clock.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch

from vaecli import UserError
from vaecli.config.catalog import groups
from vaecli.config.compose import Invocation
from vaecli.training import execution, lifecycle
from vaecli.training.api import composed
from vaecli.training.together import Member

GROUPS = ("decoder", "posterior", "prior", "objective", "architecture")
NOT_HERE = ("auto", "columns")  # columns: for tables
WIDTHS = ("architecture.hidden=[400]", "architecture.activation=relu")
WORDS = ("dataset=mnist", "dataset.val_size=0", "dataset.limit=2560", "optimizer=adam", "batch_size=128", "device=cpu",
         "epochs=10", "images.every_epochs=10")  # fmt: skip


def trainer(words: tuple[str, ...]) -> Any:
    """A run whose first pass is due; UserError if it is refused."""
    folder = tempfile.mkdtemp(dir=".")
    invocation = Invocation("vae-train", [], None, quiet=True)
    member = Member(lifecycle.start_run(composed(*words, f"output={folder}/run"), invocation))
    member.start()
    if member.error is not None:
        raise member.error
    return member.trainer


def pair(data: str, option: str) -> tuple[Any, Any]:
    """The trainers of an option, recorded and eager."""
    decoder = () if option.startswith("decoder=") else ("decoder=bernoulli",)
    widths = () if option.startswith("architecture=") and option != "architecture=mlp" else WIDTHS
    given = (*WORDS, *widths, f"dataset.root={data}", *decoder, *option.split("+"))
    for binarize in ("none", "threshold"):
        all_words = (f"dataset.binarize={binarize}", *given)
        try:
            return trainer(("compile=auto", *all_words)), trainer((*all_words, "compile=false"))
        except UserError as error:
            reason = error
    raise reason


def seconds(one: Any, steps: int) -> float:
    """Processor time (of several threads, time) of so many steps on batches of the training data."""
    split = one.splits.train
    order = torch.randperm(len(split))
    batches = [split.observations(rows) for rows in split.gathered(order, 128) if len(rows) == 128][:steps]
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    for i in range(steps):
        one.train_step(batches[i % len(batches)])
    return clock() - started


def main(data: str, rounds: str = "5", steps: str = "10", *chosen: str) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    execution.RECORD_FROM = 1
    names = [f"{group}={name}" for group in GROUPS for name in groups()[group] if name not in NOT_HERE]
    names = list(chosen) or names
    with tempfile.TemporaryDirectory() as place, chdir(place):
        pairs = {}
        for name in ["objective=elbo", *(name for name in names if name != "objective=elbo")]:
            try:
                pairs[name] = pair(str(Path(data)), name)
            except UserError as error:
                print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
        for _ in range(int(rounds) + 1):
            for name, (recorded, eager) in pairs.items():
                found[name].append((seconds(recorded, int(steps)), seconds(eager, int(steps))))
    plain = statistics.median(ours for ours, _ in found["objective=elbo"][1:])
    print("| option | relative to elbo | recorded relative to eager |\n|---|---|---|")
    for name, times in found.items():
        ours = statistics.median(ours for ours, _ in times[1:])
        eager = statistics.median(ours / eager for ours, eager in times[1:])
        print(f"| {name} | {ours / plain:.2f} | {eager:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
