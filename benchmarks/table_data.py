"""The tables of benchmarks/tables.py: scikit-learn's, and two that are drawn, whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

LATENTS = {"breast_cancer": 10, "wine": 5, "diabetes": 5, "mixed": 5}
SHARES = {"plan": (0.45, 0.3, 0.2, 0.05), "sex": (0.55, 0.45)}  # of the mixed table's categories
PLANS = np.array(["basic", "family", "plus", "team"])


def table(name: str) -> pd.DataFrame:
    """The whole table; of the mixed one, 5,000 rows."""
    if name == "mixed":
        return mixed(5000, 0)
    load = {"breast_cancer": load_breast_cancer, "wine": load_wine, "diabetes": load_diabetes}[name]
    return load(as_frame=True, scaled=False).data if name == "diabetes" else load(as_frame=True).data


def mixed(n: int, seed: int) -> pd.DataFrame:
    """n people: two hidden normal numbers and a plan make everything else."""
    rng = np.random.default_rng([seed, 7])
    wealth, youth = rng.normal(size=(2, n))
    plan = rng.choice(4, n, p=SHARES["plan"])
    sex = rng.choice(np.array(["female", "male"]), n, p=SHARES["sex"])
    used = 1 / (1 + np.exp(-(0.8 * youth - 0.5 + 0.5 * rng.normal(size=n))))
    return pd.DataFrame({
        "plan": PLANS[plan],
        "sex": sex,
        "height": np.round(168 + 12 * (sex == "male") + 6 * rng.normal(size=n), 2),
        "balance": np.round(300 * wealth + 100 * rng.normal(size=n), 2),
        "income": np.round(np.exp(10 + 0.5 * wealth + 0.3 * (plan == 3) + 0.2 * rng.normal(size=n)), 2),
        "used": np.round(used, 4),
        "visits": rng.poisson(np.exp(1.5 + 0.6 * youth + 0.3 * plan)),
        "stars": 1 + np.digitize(wealth + 0.7 * rng.normal(size=n), [-1.5, -0.5, 0.5, 1.5]),
    })  # fmt: skip


def cells(seed: int, n: int = 2000, genes: int = 200) -> np.ndarray:
    """Counts (n, genes) of four types of cells with log-normal totals, of mean log 5.5 and spread 0.4."""
    rng = np.random.default_rng([seed, 11])
    profiles = rng.dirichlet(np.full(genes, 0.5), 4)
    totals = np.exp(5.5 + 0.4 * rng.normal(size=n))
    shares = profiles[rng.integers(4, size=n)]
    return rng.poisson(rng.gamma(2.0, totals[:, None] * shares / 2.0))
