"""The defaults beside a plain recipe, a constant rate of .001: python benchmarks/defaults.py DATA.

DATA holds MNIST/raw and FashionMNIST/raw; a set that is not there is left out. Each set is trained as `vae-train` does
it with no other key than those that the data need, once with the defaults and once with PLAIN. Printed are the best
validation bound and that checkpoint's test bound, in nats: with seed 0, for scikit-learn's tables the means over the
seeds 0 to 4.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import mean

from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

import vaecli

PLAIN = ("architecture.hidden=[400]", "architecture.activation=relu", "optimizer=adam", "optimizer.lr=0.001",
         "scheduler=constant")  # fmt: skip
TABLES = {"breast cancer": load_breast_cancer, "diabetes": load_diabetes, "wine": load_wine}
TABLE_SEEDS = 5
Bounds = tuple[float, float]  # of validation and test


def problems(data: Path, tables: Path) -> dict[str, list[str]]:
    """What is typed to train on each data set."""
    found: dict[str, list[str]] = {
        "mnist_small": [],
        "digits": ["dataset=digits"],
        "Beta curves": ["dataset=beta", "decoder=gaussian"],
    }
    for name, folder, option in (("MNIST", "MNIST", "mnist"), ("Fashion-MNIST", "FashionMNIST", "fashion_mnist")):
        if (data / folder / "raw").is_dir():
            found[name] = [f"dataset={option}", f"dataset.root={data.absolute()}"]
    for name, load in TABLES.items():
        path = tables / f"{name.replace(' ', '_')}.csv"
        load(as_frame=True).data.to_csv(path, index=False)
        found[name] = ["dataset=arrays", f"dataset.path={path}", "dataset.standardize=true", "decoder=gaussian"]
    return found


def trained(keys: list[str], seeds: int, folder: Path) -> Bounds:
    """The mean bounds of runs with these keys and different seeds."""
    summaries = []
    for seed in range(seeds):
        vaecli.train(*keys, f"seed={seed}", f"output={folder / str(seed)}")
        summaries.append(json.loads((folder / str(seed) / "summary.json").read_text()))
    return mean(s["best"]["bound"] for s in summaries), mean(s["test"]["bound"] for s in summaries)


def main(data: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        rows = []
        for name, keys in problems(Path(data), Path(place)).items():
            seeds = TABLE_SEEDS if name in TABLES else 1
            each = [
                trained([*keys, *more], seeds, Path(place, name.replace(" ", "_"), kind))
                for kind, more in (("plain", PLAIN), ("default", ()))
            ]
            rows.append("| " + " | ".join([name, *(f"{value:.2f}" for pair in each for value in pair)]) + " |")
        print("| data | plain: validation | test | default: validation | test |\n|---|---|---|---|---|")
        print("\n".join(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
