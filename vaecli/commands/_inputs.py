"""Reads what commands work on: observations of a split or of a file, and latents from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vaecli.commands._names import Names, label_text
from vaecli.commands._outputs import class_names
from vaecli.datasets.checks import check_finite, existing
from vaecli.datasets.own import code_labels
from vaecli.datasets.reading.numpy_files import load_npy
from vaecli.datasets.reading.report import Reading
from vaecli.datasets.rows import RowFile, taken
from vaecli.datasets.split import Split
from vaecli.models.build import check_scale
from vaecli.models.inference import evaluating, observed_dtype
from vaecli.models.load import Run, load_splits, part_of
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.memory import check_memory
from vaecli.utils.text import figure, plural, say, shorten
from vaecli.utils.types import Part

MAX_NAME = 24  # characters of a file's name in a figure


class Observations(NamedTuple):
    """The observations that a command works on."""

    x: Tensor  # (N, *x_shape), on the model's device
    y: Tensor | None  # labels (N,) or (N, d)
    names: list[str]  # how to call each in a table: its index in the split, or its position in the file
    rows: Tensor | None = None  # (N,): which rows of their file they are
    called: Names = Names(None, None)

    @property
    def split(self) -> Split:
        return Split(self.x, self.y, rows=self.rows, double=self.x.dtype == torch.float64)

    def descriptions(self) -> list[list[str]]:
        """Texts on each for a figure: its index, its file, or its row if that is another number, and its label."""
        files, classes = self.called.files(self.split), class_names(self.y, self.called.classes)
        found = []
        for i, name in enumerate(self.names):
            row = "" if self.rows is None or int(self.rows[i]) == int(name) else f"row {int(self.rows[i])}"
            place = shorten(Path(files[i]).name, MAX_NAME) if files else row
            label = "" if self.y is None else f"{'' if classes else 'label '}{label_text(self.y[i], classes)}"
            found.append([name, *(figure(text) for text in (place, label) if text)])
        return found

    def titles(self) -> list[str]:
        """The same in one line: 3 (row 7, lily)."""
        return [f"{name} ({', '.join(texts)})" if texts else name for name, *texts in self.descriptions()]


def load_split(run: Run, part: Part) -> Split:
    """One part of the run's data set, on the model's device; prints what was read."""
    splits = load_splits(run)
    announce(run.dataset.described(str(run.config["dataset"]["name"]), splits))
    return part_of(run, splits, part)


def row_split(run: Run, name: str) -> Split:
    """The observations that a file of row numbers names, on the model's device, in the order of their split."""
    what = f"rows={name}"
    file = RowFile.read(what, expanded(name))
    whole = load_splits(run, whole=True)
    announce(run.dataset.described(str(run.config["dataset"]["name"]), whole))
    part = file.check(what, whole)
    chosen = taken(part, torch.nonzero(file.chosen(what, part))[:, 0])
    say(f"{plural(len(chosen), 'row')} of the split {file.split}")
    return part_of(run, whole._replace(**{file.split: chosen}), file.split)


def observed(run: Run, part: Part, input: str | None, rows: str | None = None) -> tuple[Split, Names]:
    """The observations of a file, or without one of a part of the run's data, and what they are called.

    rows: a file of row numbers, instead of a whole part
    """
    if rows is not None and input is not None:
        raise UserError("input= and rows=: give one of them")
    if input is not None:
        seen = read_input(run, input)
        return seen.split, seen.called
    split = load_split(run, part) if rows is None else row_split(run, rows)
    return split, Names(run.dataset.label_names, run.dataset.items)


def split_observations(
    run: Run, part: Part, n: int | None, indices: Sequence[int] | None, seed: int = 0
) -> Observations:
    """The first n observations of a split (None: all), or those with the given indices."""
    check_some(indices)
    split = load_split(run, part)
    chosen = range(len(split))[:n] if indices is None else indices
    return observations_at(run, split, part, [("indices", i) for i in chosen], seed)


def check_some(indices: Sequence[int] | None) -> None:
    if indices is not None and not indices:
        raise UserError("indices=[]: expected at least one index, as in indices=[3,14]")


def select(seen: Observations, what: str, n: int | None, indices: Sequence[int] | None) -> Observations:
    """The first n of a file's observations (None: all), or those with the given indices; what: the file's key."""
    check_some(indices)
    check_indices([("indices", i) for i in indices or ()], what, len(seen.x))
    chosen = torch.tensor(list(range(len(seen.x))[:n] if indices is None else indices))
    y, rows = (None if part is None else part[chosen.to(part.device)] for part in (seen.y, seen.rows))
    names = [seen.names[i] for i in chosen.tolist()]
    return seen._replace(x=seen.x[chosen.to(seen.x.device)], y=y, rows=rows, names=names)


def check_indices(named: Sequence[tuple[str, int]], what: str, n: int) -> None:
    """UserError for an index that n observations do not have; named: pairs of the command's key and the index."""
    for key, i in named:
        if i >= n:
            raise UserError(f"{key}={i}: beyond the data; {what} has {plural(n, 'observation')}, from 0 on")


def observations_at(
    run: Run, split: Split, part: Part, named: Sequence[tuple[str, int]], seed: int = 0
) -> Observations:
    """The observations of a split at given indices; named: pairs of the command's key and the index."""
    check_indices(named, f"split={part}", len(split))
    index = torch.tensor([i for _, i in named], device=split.device)
    y = None if split.y is None else split.y[index]
    rows = None if split.rows is None else split.rows[index.cpu()]
    with evaluating(run.model, seed):
        called = Names(run.dataset.label_names, run.dataset.items)
        return Observations(split.batch(index), y, [str(i) for _, i in named], rows, called)


def read_input(run: Run, name: str) -> Observations:
    """Observations in the units of the run's data, from an array ((N, *x_shape) or one of them), a table or images.

    They are read as the run's own data were. NaN is allowed if the run reads it as a missing value.
    """
    what, shape = f"input={name}", run.model.x_shape
    content = run.dataset.read_input(what, expanded(name), shape)
    announce(Reading(name, {"input": content.reading}))
    check_memory(12 * content.x.numel(), what, "give fewer observations at a time")
    x = content.x.to(observed_dtype(run.model)) / content.levels
    takes_gaps = run.dataset.gaps or run.model.decoder.takes_gaps
    check_finite(what, Split(x, double=x.dtype == torch.float64), takes_gaps, content.names)
    check_scale(what, Split(x), run.model, run.dataset)
    (y,), classes = code_labels([content.labels])
    rows = torch.arange(len(x)) if content.rows is None else content.rows
    called = Names(classes, content.items)
    return Observations(x.to(run.device), y, [str(i) for i in range(len(x))], rows, called)


def announce(reading: Reading) -> None:
    """Print what was read."""
    for line in reading.lines():
        say(line)


def read_latents(run: Run, name: str) -> Tensor:
    """Latents z (N, D), on the model's device, from a .npy file of that shape or (D,)."""
    if not name.lower().endswith(".npy"):
        raise UserError(f"z={name}: expected a .npy file")
    path = existing(f"z={name}", expanded(name), [".npy"])
    values, d = load_npy(f"z={name}", path), run.model.latent_dim
    if values.shape[-1:] != (d,) or values.ndim > 2 or not len(values):
        have = plural(d, "latent")
        raise UserError(f"z={name}: has shape {values.shape}; expected (N, {d}), as this run has {have}")
    z = torch.from_numpy(values.astype("float32")).reshape(-1, d)
    check_finite(f"z={name}", Split(z))
    return z.to(run.device)
