"""How closely a decoder of Beta curves can be fitted: the residual norms of random test curves, by both methods.

    vae train experiment=beta_curves output=outputs/beta/good
    python benchmarks/fit_curves.py outputs/beta/good

Prints the median, the quartiles and the worst over 100 curves drawn from the test split with seed 0, and on how many
the two methods agree to three digits. Without an argument it takes the newest run under outputs.
"""

from __future__ import annotations

import sys
import time
from typing import get_args

import torch
from torch import Tensor

from vaecli.analysis.latent_search import Method, fit
from vaecli.models.load import load_run

CURVES = 100


def norms(run: str, method: Method) -> Tensor:
    """Residual norms (CURVES,) of the same random test curves."""
    loaded = load_run(run, device="cpu")
    test = loaded.dataset.load().test
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:CURVES]
    return torch.tensor([fit(loaded.model, x, method).norm for x in test.batch(chosen)], dtype=torch.float64)


def main(run: str = "latest") -> None:
    found = {}
    for method in get_args(Method):
        started = time.perf_counter()
        found[method] = norms(run, method)
        low, median, high = found[method].quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
        print(f"{method:12} median {median:.4f}  quartiles {low:.4f} {high:.4f}  worst {found[method].max():.4f}"
              f"  ({(time.perf_counter() - started) / CURVES:.2f} s a curve)")  # fmt: skip
    simplex, adam = found.values()
    print(f"agree to three digits: {int(((simplex - adam).abs() < 5e-4 * adam).sum())} of {CURVES} curves")


if __name__ == "__main__":
    main(*sys.argv[1:2])
