"""Data frames as observations: in columns of categories they hold texts, as the run's data do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vaecli.datasets.reading.columns import number_text
from vaecli.datasets.reading.names import check_none_missing
from vaecli.utils.errors import UserError

Categories = Sequence[Sequence[str] | None]  # of each column its texts; None for a column of numbers
MISSING = ("", "None", "nan", "<NA>", "NaT")  # how a missing cell of a data frame prints


def numbers_of(frame: Any, columns: Sequence[str], categories: Categories) -> np.ndarray:
    """The columns of a frame (N, d) as a model takes them: codes of categories, NaN where a cell is missing."""
    missing = [name for name in columns if name not in frame.columns]
    check_none_missing("x", "of the run's data", missing, len(columns), [str(name) for name in frame.columns])
    several = [column(name, frame[name], texts) for name, texts in zip(columns, categories, strict=True)]
    return np.stack(several, axis=1) if several else np.zeros((len(frame), 0))


def column(name: str, values: Any, texts: Sequence[str] | None) -> np.ndarray:
    """A column's numbers, or the codes of its texts (N,)."""
    if texts is not None:
        code = {text: i for i, text in enumerate(texts)}
        return np.array([code_of(name, value, code) for value in values], dtype=float)
    try:
        return np.array([np.nan if str(value) in MISSING else value for value in values], dtype=float)
    except (TypeError, ValueError):
        raise UserError(f"x: column {name} should hold numbers, as in the run's data") from None


def code_of(name: str, value: Any, code: dict[str, int]) -> float:
    """The code of a text, of a truth value in the data's own spelling, or of a number; NaN if it is missing."""
    text = str(value)
    if text in MISSING and text not in code:
        return np.nan
    if isinstance(value, bool | np.bool_):
        text = next((known for known in code if known.lower() == text.lower()), text)
    elif isinstance(value, int | float | np.number) and text not in code:
        text = number_text(float(value))
    if text not in code:
        raise UserError(f"x: column {name}: {text} is not one of the run's categories ({', '.join(list(code)[:10])})")
    return code[text]


def as_frame(given: Any, made: Tensor, names: Sequence[str], categories: Categories | None = None) -> Any:
    """A data frame of the library that `given` comes from, with its index; a series for a vector."""
    values = made.detach().cpu().numpy()
    if values.ndim == 1:
        series = type(given.iloc[:, 0])
        return series(values, index=given.index, name=names[0])
    frame = type(given)(
        values.reshape(len(values), math.prod(values.shape[1:])), index=given.index, columns=list(names)
    )
    for name, texts in zip(names, categories or [None] * len(names), strict=True):
        if texts is not None:
            frame[name] = [None if code != code else texts[round(code)] for code in frame[name].tolist()]
    return frame
