"""How well tables are modelled: gaps filled, rows sampled, odd rows found, counts. Through the command line.

python benchmarks/tables.py PART [SEED ...] [WORD ...]      medians over the seeds (default: 0 1 2 3 4)

PART: breast_cancer | wine | diabetes | mixed       gaps filled and rows sampled
      breast_cancer_gaps | wine_gaps | ...          the gaps alone
      synthesizers      CTGAN and TVAE on breast cancer; installs the package ctgan (Business Source License) in a
                        temporary folder
      alarms | counts
      scvi              the model of scvi-tools on the counts; needs a Python that has scvi-tools too

WORD: typed to each training too, as in objective=iwae
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import table_parts
from table_parts import alarms, counts, rows, scvi, synthesizers

TABLES = ("breast_cancer", "wine", "diabetes", "mixed")
PARTS: dict[str, Callable[[int, Path], dict[str, float]]] = {
    **{name: partial(rows, name) for name in TABLES},
    **{f"{name}_gaps": partial(rows, name, priors=()) for name in TABLES},
    "synthesizers": synthesizers, "alarms": alarms, "counts": counts, "scvi": scvi,
}  # fmt: skip


def main(part: str, seeds: list[int]) -> None:
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(PARTS[part](seed, Path(folder)))
        print(f"seed {seed}:", "  ".join(f"{name} {value:.4g}" for name, value in found[-1].items()), flush=True)
    for name in found[0]:
        print(f"| {part}: {name} | {median(one[name] for one in found):.4g} |")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        sys.exit(__doc__)
    table_parts.WORDS.extend(word for word in sys.argv[2:] if "=" in word)
    main(sys.argv[1], [int(word) for word in sys.argv[2:] if "=" not in word] or [0, 1, 2, 3, 4])
