"""Counts with the names of their columns in .h5ad files, as anndata writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import Content, as_classes
from vaecli.datasets.reading.names import check_none_missing, column_index
from vaecli.datasets.reading.report import Labels
from vaecli.datasets.reading.sparse import check_batch, sparse_content
from vaecli.datasets.reading.tables import LABELS
from vaecli.utils.errors import UserError
from vaecli.utils.text import distinct


def read_h5ad(what: str, path: Path, choice: ReadOptions) -> Content:
    """The matrix X of a file, a row per observation, and a column of obs as labels; UserError without anndata."""
    try:
        import anndata
    except ImportError:
        raise UserError(f"{what}: .h5ad files need anndata; install it with pip install 'vaecli[h5ad]'") from None
    from scipy import sparse

    try:
        found = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError):
        raise UserError(f"{what}: cannot be read as .h5ad: it is damaged, or not one; write it again") from None
    if found.X is None:
        raise UserError(f"{what}: has no matrix X")
    check_batch(what, found.X.shape)
    rows = sparse.csr_matrix(found.X)
    names = distinct([str(name).strip() for name in found.var_names])
    if choice.columns is not None:
        missing = [name for name in choice.columns if name not in names]
        check_none_missing(what, "dataset.columns", missing, len(choice.columns), names)
        places = [names.index(name) for name in choice.columns]
        rows, names = (rows, names) if list(choice.columns) == names else (rows[:, places], list(choice.columns))
    content = sparse_content(what, path, rows, choice, "csr")._replace(names=tuple(names))
    name = label_name(what, found.obs, choice)
    if name is None:
        return content
    labels = as_classes(found.obs[name].astype(str).to_numpy().astype(str))
    reading = content.reading.with_labels(Labels("column", name, "classes", labels.counts))
    return content._replace(labels=labels, reading=reading)


def label_name(what: str, obs: Any, choice: ReadOptions) -> str | None:
    """The column of obs that is asked for, or one with a usual name."""
    names = list(map(str, obs.columns))
    if isinstance(choice.labels, str):
        if not choice.known:
            column_index(what, "dataset.labels", choice.labels, names)
        return choice.labels if choice.labels in names else None
    return None if choice.labels is False else next((name for name in names if name.lower() in LABELS), None)
