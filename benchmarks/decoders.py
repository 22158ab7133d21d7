"""Every decoder on MNIST, same network and epochs, in a table: python benchmarks/decoders.py DATA [key=value ...].

DATA is the folder that holds MNIST/raw. Runs one sweep of `vae-train`, then `vae evaluate` on each of its runs, in an
empty folder, and prints what they wrote. Further keys are for the sweep (epochs=1 for a quick look).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from vaecli.config.catalog import groups

SWEEP = (
    "dataset=mnist", "dataset.limit=5000", "architecture.hidden=[100]", "architecture.activation=relu", "epochs=5",
    "batch_size=32", "optimizer=adam", "scheduler=one_cycle", "scheduler.max_lr=2e-3", "images.every_epochs=5",
)  # fmt: skip
EVALUATE = ("k=50", "limit=200")


def vae(*words: str, cwd: str) -> None:
    subprocess.run([sys.executable, "-m", "vaecli", *words], cwd=cwd, check=True, stdout=sys.stderr)


def row(run: Path) -> str:
    """One line of the table."""
    summary = json.loads((run / "summary.json").read_text())
    found = json.loads((run / "evaluation.json").read_text())
    decoder = yaml.safe_load((run / "config.yaml").read_text())["decoder"]["name"]
    bits = "" if found["bits_per_dim"] is None else f"{found['bits_per_dim']:.3f}"
    elbo, nll = summary["test"]["elbo"], found["nll"]
    return f"| `{decoder}` | {elbo:.1f} | {nll:.1f} | {bits} | {found['mse']:.4f} | {summary['seconds']:.0f} |"


def main(data: str, *keys: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        decoders = ",".join(groups()["decoder"])
        vae("train", "-m", f"decoder={decoders}", *SWEEP, f"dataset.root={Path(data).absolute()}", *keys, cwd=place)
        runs = sorted(Path(place).glob("outputs/sweeps/*/*_*"), key=lambda run: int(run.name.partition("_")[0]))
        for run in runs:
            vae("evaluate", f"run={run}", *EVALUATE, cwd=place)
        print("| decoder | test ELBO | NLL, k=50, 200 images | bits/dim | mean squared error | seconds |")
        print("|---|---|---|---|---|---|")
        print("\n".join(map(row, runs)))


if __name__ == "__main__":
    main(*sys.argv[1:])
