"""Scores observations: what evaluate and compare share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vaecli.analysis.importance_sampling import (
    Scores,
    default_widening,
    importance_weighted,
    prior_estimate,
    widened_estimate,
)
from vaecli.commands._inputs import observed
from vaecli.commands._keys import ObservedKeys
from vaecli.commands._names import Names
from vaecli.datasets.split import Split
from vaecli.models.inference import fix_binarisation
from vaecli.models.load import Run
from vaecli.models.vae import VAE
from vaecli.utils.progress import Countdown
from vaecli.utils.types import PositiveFloat, PositiveInt

ELBO_DRAWS = 100  # draws from q(z|x) for the ELBO's terms if log p(x) uses another proposal


@dataclass(kw_only=True)
class ScoreKeys(ObservedKeys):
    """The keys that evaluate and compare share: what is scored, and how."""

    limit: PositiveInt | None
    k: PositiveInt
    estimator: Literal["posterior", "prior"]
    widen: PositiveFloat | None

    def to_score(self, run: Run) -> tuple[Split, Split, Names]:
        """All observations; those that are scored, dynamic binarisation drawn once; and their names."""
        whole, called = observed(run, self.split, self.input)
        return whole, fix_binarisation(whole.head(self.limit), self.seed), called

    def widen_for(self, model: VAE) -> float:
        """The factor on the scale of q(z|x)."""
        return self.widen or default_widening(model)


def estimate(model: VAE, split: Split, config: ScoreKeys) -> Scores:
    """Each observation's scores, log p(x) by the estimator that the user chose."""
    args = model, split, config.k
    with Countdown("log p(x)", len(split) * config.k) as tick:
        widen = config.widen_for(model)
        if config.estimator == "prior":
            other = prior_estimate(*args, seed=config.seed, tick=tick)
        elif widen != 1:
            other = widened_estimate(*args, widen=widen, seed=config.seed, tick=tick)
        else:
            return importance_weighted(*args, seed=config.seed, tick=tick)
    terms = importance_weighted(model, split, min(config.k, ELBO_DRAWS), seed=config.seed)
    return terms._replace(**other._asdict())


def stderr_of_mean(values: Tensor) -> Tensor:
    """The standard error over observations of the mean of values (N,); NaN for a single one."""
    return values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(torch.nan)
