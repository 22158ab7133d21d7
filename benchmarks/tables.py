"""How well tables are modelled: gaps filled and rows sampled, on breast cancer as scikit-learn ships it.

python benchmarks/tables.py [SEED ...]      medians over the seeds (default: 0); about three minutes each
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

MODEL = ("dataset=arrays", "latent_dim=10", "images.every_epochs=100000", "device=cpu")


def vae(*words: str) -> None:
    """A command, silently."""
    subprocess.run([sys.executable, "-m", "vaecli", *words], check=True, stdout=subprocess.DEVNULL)


def gaps(seed: int, folder: Path) -> dict[str, float]:
    """A fifth of the rows is held out, and a tenth of their cells blanked; errors in standard deviations."""
    table = load_breast_cancer(as_frame=True).data
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    test, train = (table.iloc[part].reset_index(drop=True) for part in (order[:114], order[114:]))
    gone = rng.random(test.shape) < 0.1
    train.to_csv(folder / "train.csv", index=False)
    test.mask(gone).to_csv(folder / "gaps.csv", index=False)
    run = folder / f"gaps{seed}"
    vae(
        "train",
        *MODEL,
        f"dataset.path={folder}/train.csv",
        "dataset.test_fraction=0.02",
        f"seed={seed}",
        f"output={run}",
    )
    vae("impute", f"run={run}", f"input={folder}/gaps.csv", f"output={folder}/filled.csv")
    spread = train.std()

    def error(filled: pd.DataFrame) -> float:
        return float((((filled - test) / spread).to_numpy()[gone] ** 2).mean() ** 0.5)

    def by(imputer: Any) -> float:
        return error(pd.DataFrame(imputer.fit(train).transform(test.mask(gone)), columns=table.columns))

    found = pd.read_csv(folder / "filled.intervals.csv")
    truth = np.array([test.loc[row, name] for row, name in zip(found["row"], found["column"], strict=True)])
    inside = (found["low"] <= truth) & (truth <= found["high"])
    return {
        "error of vae impute": error(pd.read_csv(folder / "filled.csv")),
        "error of IterativeImputer": by(IterativeImputer(max_iter=20, random_state=0)),
        "error of kNN, standardized": error(knn(train, test.mask(gone))),
        "coverage of the 90 % intervals": float(inside.mean()),
    }


def knn(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    mean, spread = train.mean(), train.std()
    imputer = KNNImputer().fit((train - mean) / spread)
    return pd.DataFrame(imputer.transform((test - mean) / spread), columns=train.columns) * spread + mean


def samples(seed: int, folder: Path, prior: str) -> dict[str, float]:
    """10,000 samples against the data: spread, correlations, impossible values."""
    table = load_breast_cancer(as_frame=True).data
    table.to_csv(folder / "all.csv", index=False)
    run = folder / f"{prior}{seed}"
    vae("train", *MODEL, f"dataset.path={folder}/all.csv", f"prior={prior}", f"seed={seed}", f"output={run}")
    vae("sample", f"run={run}", "n=10000", "format=csv", f"output={folder}/samples.csv")
    drawn = pd.read_csv(folder / "samples.csv")
    apart = np.abs(drawn.corr().to_numpy() - table.corr().to_numpy())[np.triu_indices(table.shape[1], 1)]
    return {
        f"relative error of the spread, median over columns, {prior}": float(
            (drawn.std() / table.std() - 1).abs().median()
        ),
        f"difference of correlations, mean, {prior}": float(apart.mean()),
        f"impossible values, {prior}": float((drawn < 0).to_numpy().sum()),
    }


def run_all(seeds: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found = [gaps(seed, folder) | samples(seed, folder, "standard_normal") | samples(seed, folder, "flow")
                 for seed in seeds]  # fmt: skip
    for name in found[0]:
        print(f"| {name} | {median(one[name] for one in found):.3f} |")


if __name__ == "__main__":
    run_all([int(word) for word in sys.argv[1:]] or [0])
