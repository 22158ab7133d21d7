"""Sparse matrices as scipy.sparse.save_npz writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory


def is_sparse(keys: Sequence[str]) -> bool:
    """Whether an archive with these arrays holds such a matrix."""
    return {"format", "shape", "data"} <= set(keys)


def read_sparse(what: str, path: Path) -> tuple[np.ndarray, str]:
    """The whole matrix (N, d), zeros included, and a note about it; UserError if its indices do not fit its shape."""
    from scipy import sparse

    with np.load(path, allow_pickle=False) as archive:
        shape = tuple(int(n) for n in archive["shape"].ravel())
    advice = "give fewer rows or columns, or save x[...].toarray() as .npy"
    check_memory(
        16 * math.prod(shape), f"{what}: a sparse matrix of {' x '.join(map(str, shape))}, made whole,", advice
    )
    try:
        matrix = sparse.load_npz(path)
        matrix.check_format(full_check=True) if hasattr(matrix, "check_format") else None
        whole = matrix.toarray()
    except (ValueError, TypeError, LookupError, NotImplementedError, AttributeError):
        raise UserError(
            f"{what}: is a sparse matrix whose indices do not fit its shape; save it again (scipy.sparse.save_npz)"
        ) from None
    share = matrix.nnz / max(1, math.prod(shape))
    return whole, f"a sparse matrix ({matrix.format}, {share:.1%} of it not zero) is held as a whole, zeros included"
