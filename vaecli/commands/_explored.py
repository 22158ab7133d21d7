"""What the page of `vae explore` needs of a run: observations, their codes, and what can colour them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.analysis.exploration import Coverage, Plane, codes_of, plane_of
from vaecli.analysis.metrics import ACTIVE_VARIANCE, elbo_terms
from vaecli.commands._inputs import load_split
from vaecli.commands._keys import run_view
from vaecli.commands._names import label_columns
from vaecli.commands._outputs import by_title, column_titles
from vaecli.datasets.split import Split
from vaecli.models.inference import batches, evaluating, inference_batch_size
from vaecli.models.load import Run, load_splits
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.text import say
from vaecli.utils.types import Part, Values

if TYPE_CHECKING:
    from vaecli.commands._explore_keys import Config
    from vaecli.plots.view import View

PRIOR_DRAWS = 2000


def explore(config: Config) -> list[Explored]:
    """Load the runs of a command, and what their pages need; says so if there are no data."""
    first, *others = config.load()
    explored = [Explored(first, config.split, config.n, config.seed, config.dataset.given),
                *(Explored(run, config.split, config.n, config.seed) for run in others)]  # fmt: skip
    if explored[0].missing:
        say(f"the data cannot be read ({explored[0].missing}): the map shows draws from the prior")
    return explored


class Colouring(NamedTuple):
    """Something that dots are coloured by."""

    values: np.ndarray  # (N,): numbers, or places in `classes`
    classes: list[str] | None


class Explored:
    """A run, up to `n` observations of a split, and their codes; without data, draws from the prior.

    given: keys of the data set that replaced the run's own
    missing: why the data cannot be read; empty if they can
    """

    def __init__(self, run: Run, part: Part, n: int, seed: int, given: Values | None = None) -> None:
        self.given = given or {}
        self.run, self.part, self.seed, self.missing = run, part, seed, ""
        self.split: Split | None = None
        try:
            whole = load_split(run, part)
            self.split, self.total = whole.head(n), len(whole)
        except UserError as error:
            self.missing = str(error)
        if self.split is None:
            with evaluating(run.model, seed):
                self.codes, self.kl = run.model.sample_latents(PRIOR_DRAWS).cpu().double().numpy(), None
        else:
            self.codes, self.kl = codes_of(run.model, self.split, seed)
        self.information = self.codes.var(0) if self.kl is None else self.kl
        self.written = written(run)

    @cached_property
    def view(self) -> View:
        """The figures for observations; needs matplotlib, which is imported here for the first time."""
        return run_view(self.run)

    @cached_property
    def coverage(self) -> Coverage:
        """Where codes are."""
        return Coverage(self.codes)

    @property
    def changed(self) -> str:
        """What has happened to the run's checkpoint since it was loaded; empty: nothing."""
        now = written(self.run)
        if now is None:
            return f"{self.run.folder.checkpoint(self.run.checkpoint)} is gone: this page keeps the model that it has."
        again = "The run has been written again since: this page shows the earlier model."
        return "" if now == self.written else f"{again} Start vae explore again to see the new one."

    def command(self, name: str, *words: str, data: bool = True, split: bool = True) -> str:
        """The command line `vae NAME` on this run; data: with the keys of its data, split: with the split shown."""
        known = [setting("run", self.run.folder.path)]
        known += [] if self.run.checkpoint == "best" else [f"checkpoint={self.run.checkpoint}"]
        known += [setting(f"dataset.{key}", str(value)) for key, value in self.given.items() if data]
        known += [f"split={self.part}"] if data and split else []
        return command(["vae", name, *known, *words])

    @cached_property
    def heights(self) -> np.ndarray:
        """How high dots are drawn over a single latent (N,): the KL of each; without data log p(z); nats."""
        if self.codes.shape[1] > 1:
            return np.zeros(1)
        if self.split is not None:
            return self.terms["kl"]
        with evaluating(self.run.model, self.seed):
            z = torch.as_tensor(self.codes, dtype=next(self.run.model.parameters()).dtype, device=self.run.device)
            return self.run.model.prior(self.run.model.encode).log_prob(z).double().cpu().numpy()

    @cached_property
    def order(self) -> list[int]:
        """The latents, the most active first."""
        return [int(i) for i in np.argsort(-self.information, kind="stable")]

    @cached_property
    def active(self) -> int:
        """How many latents are in use."""
        return max(1, int((self.codes.var(0) > ACTIVE_VARIANCE).sum()))

    @cached_property
    def axes(self) -> list[str]:
        """What the map can be drawn over: the latents, the most active first, and the principal components."""
        d = self.codes.shape[1]
        return [f"z_{i + 1}" for i in self.order] + (["PC 1", "PC 2"] if d > 2 and len(self.codes) > 2 else [])

    def plane(self, across: str, up: str) -> Plane:
        return plane_of(self.codes, across, up)

    @cached_property
    def prior(self) -> np.ndarray:
        """Draws from the prior (M, D)."""
        with evaluating(self.run.model, self.seed):
            return self.run.model.sample_latents(10_000).cpu().double().numpy()

    @property
    def rows(self) -> list[int]:
        """The row number of each dot."""
        if self.split is None or self.split.rows is None:
            return list(range(len(self.codes)))
        return [int(i) for i in self.split.rows.tolist()]

    def observation(self, i: int) -> Tensor:
        """Observation i (*x_shape) as the model takes it; UserError beyond the data."""
        if self.split is None or not 0 <= i < len(self.split):
            have = 0 if self.split is None else len(self.split)
            raise UserError(f"index {i}: beyond the data; there are {have:,} observations here, from 0 on")
        with evaluating(self.run.model, self.seed):
            return self.split.batch(torch.tensor([i], device=self.split.device))[0]

    @cached_property
    def sample(self) -> np.ndarray:
        """Some observations (M, *x_shape), or without data some decodings: which determine the figures' ranges."""
        if self.split is not None:
            x: np.ndarray = self.split.batch(slice(0, 500)).cpu().numpy()
            return x
        with evaluating(self.run.model, self.seed):
            return self.run.model.sample(200).mean.cpu().numpy()

    @cached_property
    def observations(self) -> np.ndarray:
        """All observations of the map (N, *x_shape)."""
        assert self.split is not None
        return torch.cat([x.cpu() for x in batches(self.split)]).numpy()

    @property
    def binary(self) -> bool:
        """Whether the data are black and white alone."""
        return self.split is not None and self.split.head(500).range.binary

    @property
    def dataset_name(self) -> str:
        return str(self.run.config["dataset"]["name"])

    @cached_property
    def checksum(self) -> str:
        """The checksum of the whole data set, before rows are left out."""
        return load_splits(self.run, whole=True).sha256()

    def cells(self, x: np.ndarray) -> list[str]:
        """A table's row (d,) as texts in the data's units."""
        titles = self.titles
        found = by_title(self.run, titles, torch.as_tensor(x)[None])
        return [v[0] if isinstance(v, list) else f"{float(v[0]):.4g}" for v in found.values()]

    @property
    def titles(self) -> list[str]:
        """The names of an observation's numbers; clashing ones are numbered."""
        found = column_titles(self.run)
        return [name if found.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(found)]

    @cached_property
    def colourings(self) -> dict[str, Callable[[], Colouring]]:
        """What dots can be coloured by: labels, a table's columns, the ELBO and the KL."""
        if self.split is None:
            return {}
        found: dict[str, Callable[[], Colouring]] = {}
        if self.split.y is not None:
            y, names = self.split.y.cpu(), self.run.dataset.label_names
            for name, column in zip(label_columns(y, names), y.reshape(len(y), -1).unbind(1), strict=True):
                found[name] = lambda column=column: labels_of(column, names)  # type: ignore[misc]
        if len(self.run.model.x_shape) == 1 and self.run.dataset.grid is None:
            for j, name in enumerate(self.titles[:200]):
                found[name if name not in found else f"{name} (column)"] = lambda j=j: self.column(j)  # type: ignore[misc]
        for name in ("ELBO", "KL"):
            found[name] = lambda name=name: Colouring(self.terms[name.lower()], None)  # type: ignore[misc]
        return found

    def column(self, j: int) -> Colouring:
        """Column j of a table."""
        texts = (self.run.dataset.categories or {j: None})[j]
        return Colouring(self.observations[:, j].astype(float), None if texts is None else list(texts))

    @cached_property
    def terms(self) -> dict[str, np.ndarray]:
        """The ELBO and the KL of each observation, nats, from one draw of z."""
        assert self.split is not None
        with evaluating(self.run.model, self.seed):
            size = inference_batch_size(self.run.model)
            parts = [elbo_terms(self.run.model, x, 1) for x in batches(self.split, size)]
        return {key: torch.cat([part[key] for part in parts]).double().numpy() for key in ("elbo", "kl")}

    @cached_property
    def labels(self) -> tuple[np.ndarray, list[str] | None]:
        """A label for each dot: a place in the names of classes, or without names a number."""
        if self.split is None or self.split.y is None:
            return np.full(len(self.codes), np.nan), []
        return next(iter(self.colourings.values()))()


def written(run: Run) -> tuple[int, int] | None:
    """When a run's checkpoint was written, and its size; None: it is gone."""
    try:
        found = run.folder.checkpoint(run.checkpoint).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def labels_of(y: Tensor, names: object) -> Colouring:
    """Labels (N,) with the names of their classes."""
    values = y.double().numpy()
    if y.is_floating_point():
        return Colouring(values, None)
    n = int(values.max()) + 1 if len(values) else 0
    given = list(names) if isinstance(names, list | tuple) else []
    if values.min() < 0:
        kinds, values = np.unique(values, return_inverse=True)
        return Colouring(values.astype(float), [str(int(k)) for k in kinds])
    return Colouring(values, [str(given[k]) if k < len(given) else str(k) for k in range(n)])
