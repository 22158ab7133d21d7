"""An observation of which some columns are given, and the others are missing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vaecli.datasets.mixed import check_possible
from vaecli.datasets.reading.columns import number_text
from vaecli.models.inference import observed_dtype
from vaecli.models.load import Run
from vaecli.utils.errors import UserError, nearest
from vaecli.utils.schema import as_typed

Given = Mapping[str, object]  # values by the names of columns, categories as texts


def given_row(run: Run, given: Given) -> Tensor:
    """The observation (1, d), NaN where nothing is given; UserError for what the run's columns cannot be."""
    names, kinds = run.dataset.names, run.dataset.column_kinds
    if names is None or not (run.dataset.gaps or run.model.decoder.takes_gaps):
        raise UserError("given=: is for runs on tables that take missing values: train with decoder=columns, or with "
                        "dataset.missing=mask")  # fmt: skip
    x = torch.full((1, len(names)), torch.nan, dtype=observed_dtype(run.model))
    for name, value in given.items():
        if str(name) not in names:
            raise UserError(f"given: there is no column {name}{nearest(str(name), names)}")
        j = list(names).index(str(name))
        x[0, j] = number_of(name, value, (run.dataset.categories or [None] * len(names))[j])
    if kinds is not None:
        check_possible("given", x, names, kinds, rows=False)
    return x.to(run.device)


def number_of(name: str, value: object, categories: object) -> float:
    """A value as the number that a model takes: the code of a category, or a number; UserError if it is neither."""
    if not isinstance(value, str | bool | int | float):
        raise UserError(f"given: column {name}: {as_typed(value)}: expected one value; leave out what is not known")
    if isinstance(categories, list | tuple):
        text = as_typed(value) if isinstance(value, bool | str) else number_text(float(value))
        if isinstance(value, bool):  # a file may have them in capitals
            text = next((one for one in categories if one.lower() == text), text)
        if text not in categories:
            shown = ", ".join(map(str, categories[:10])) + (", ..." if len(categories) > 10 else "")
            raise UserError(f"given: column {name}: {text} is not one of its categories ({shown})")
        return float(categories.index(text))
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"given: column {name}: {value} is not a number")
    return number
