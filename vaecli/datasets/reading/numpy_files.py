"""Arrays in .npy and .npz files."""

from __future__ import annotations

import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np

from vaecli.datasets.checks import check_numbers
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.column_checks import check_label_length
from vaecli.datasets.reading.content import AS_NEEDED, Content, as_classes
from vaecli.datasets.reading.pixels import array_content
from vaecli.datasets.reading.report import Labels
from vaecli.datasets.reading.sparse import is_sparse, read_sparse
from vaecli.datasets.reading.table import Table
from vaecli.datasets.reading.tables import table_content, whole_labels
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory

MAP_ABOVE = 2**30  # bytes: larger .npy files are not read, but mapped into memory
MAPPED_TYPES = (
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)  # types that torch can index
DATA_KEYS = ("x", "X", "data", "images")  # of an .npz file
LABEL_KEYS = ("y", "Y", "label", "labels", "target", "targets", "class", "classes")
UNREADABLE = (  # what NumPy raises for damaged files of one kind or another
    ValueError, TypeError, LookupError, OSError, EOFError, MemoryError, OverflowError, SyntaxError, RuntimeError,
    TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_npy(what: str, path: Path) -> np.ndarray:
    """An array of real numbers, or of named fields, mapped into memory if it is large."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE:
        raise UserError(f"{what}: cannot be read as .npy: {fault(path)}") from None
    if not isinstance(values, np.ndarray):
        values.close()
        raise UserError(f"{what}: is an .npz archive; rename it to .npz")
    if values.dtype.names is None:
        check_numbers(what, values)
    if path.stat().st_size > MAP_ABOVE:
        return values
    check_memory(needed(values), what, AS_NEEDED)
    return np.array(values)


def fault(path: Path) -> str:
    """What is wrong with a .npy file, and how to repair it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            promised = file.tell() + math.prod(shape) * dtype.itemsize
    except UNREADABLE:
        return "it is empty" if not path.stat().st_size else (
            "it is damaged, or not an array; save one with numpy.save")  # fmt: skip
    if dtype.hasobject:
        return "it holds Python objects, or is not an array; save numbers (numpy.asarray(x, float))"
    return f"it is cut short: {size:,} bytes of {promised:,}" if size < promised else "it is damaged; save it anew"


def needed(values: np.ndarray) -> int:
    """The bytes of an array, of its conversion, and of the splits made from it."""
    return values.nbytes + 2 * values.size * (1 if values.dtype.kind == "b" or values.dtype == np.uint8 else 4)


def read_npy(what: str, path: Path, choice: ReadOptions) -> Content:
    values = load_npy(what, path)
    if values.dtype.names is not None:
        return named_fields(what, path, values, choice)
    mapped = isinstance(values, np.memmap)
    if mapped and (values.dtype.name not in MAPPED_TYPES or not values.dtype.isnative):
        raise UserError(f"{what}: {values.dtype} cannot be read from the file a batch at a time; save it as float32")
    with warnings.catch_warnings(action="ignore"):  # NumPy's warning that the array is read-only
        return array_content(what, path, values, choice, mapped=mapped)


def named_fields(what: str, path: Path, values: np.ndarray, choice: ReadOptions) -> Content:
    """An array of rows with named fields, as numpy.genfromtxt makes them: a table."""
    import pyarrow as pa

    fields = [(name, values[name]) for name in values.dtype.names or ()]
    if values.ndim != 1 or any(field.ndim != 1 or field.dtype.kind not in "buifUS" for _, field in fields):
        raise UserError(f"{what}: has fields that are not numbers; save it as .csv, or only its numbers")
    plain = [field.astype(str) if field.dtype.kind in "US" else np.ascontiguousarray(field) for _, field in fields]
    columns = [pa.chunked_array([pa.array(field)]) for field in plain]
    table = Table([name.strip() for name, _ in fields], columns, ".", typed=True)
    return table_content(what, path, table, choice)


def read_npz(what: str, path: Path, choice: ReadOptions) -> Content:
    loaded = load_npz(what, path, choice)
    if isinstance(loaded, Content):
        return loaded
    values, labels, name, notes = loaded
    check_numbers(what, values)
    if labels is not None and (labels.ndim not in (1, 2) or labels.dtype.kind not in "buifO"):
        raise UserError(f"{what}: its labels have shape {labels.shape} and type {labels.dtype}; "
                        "expected one number or text for each observation (dataset.labels=false: none)")  # fmt: skip
    if labels is not None and len(labels) != len(values):
        raise UserError(f"{what}: has {len(values):,} observations and {len(labels):,} labels")
    content = array_content(what, path, values, choice)
    reading = content.reading.with_notes(*notes)
    if labels is None:
        return content._replace(reading=reading)
    if labels.dtype.kind == "O" and labels.ndim == 1:
        named = as_classes(labels.astype(str))
        return content._replace(
            labels=named, reading=reading.with_labels(Labels("array", name, "classes", named.counts))
        )
    whole = labels.ndim == 1 and labels.dtype.kind in "bui"
    said = whole_labels(("array", name), labels) if whole else Labels("array", name, "numbers")
    return content._replace(labels=labels, reading=reading.with_labels(said))


def load_npz(
    what: str, path: Path, choice: ReadOptions
) -> Content | tuple[np.ndarray, np.ndarray | None, str, list[str]]:
    """The observations of an archive and their labels, unconverted, the name of the labels, and notes; or a sparse
    matrix as it is."""
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{what}: is not an .npz archive, or is cut short")
        with np.load(path, allow_pickle=False) as archive:
            check_memory(sum(member.file_size for member in archive.zip.infolist()), what, AS_NEEDED)
            if is_sparse(archive.files):
                return read_sparse(what, path, choice)
            data, label = npz_keys(what, archive.files, choice)
            x, y = archive[data], None if label is None else archive[label]
            check_memory(needed(x) - x.nbytes, what, AS_NEEDED)
            labels = y if y is None or y.dtype.kind != "U" else texts(what, y)
            others = [key for key in archive.files if key not in (data, label)]
            notes = [f"the observations are {data}, not {', '.join(others[:5])}"] if others else []
            return x, labels, label or "", notes
    except UNREADABLE:
        raise UserError(f"{what}: cannot be read as .npz: an array in it is damaged, or holds Python objects; save "
                        "numbers with numpy.savez(file, x=...)") from None  # fmt: skip


def texts(what: str, labels: np.ndarray) -> np.ndarray:
    """NumPy's texts as objects: in an array of texts each would take as much memory as the longest."""
    check_label_length(f"{what}: its labels", labels.dtype.itemsize // 4, "leave them out (dataset.labels=false)")
    return labels.astype(object)


def npz_keys(what: str, there: Sequence[str], choice: ReadOptions) -> tuple[str, str | None]:
    """Which arrays of an archive are the data and, if any, the labels."""
    labels = choice.labels
    if isinstance(labels, str) and labels not in there:
        if not choice.known:
            raise UserError(f"{what}: holds no labels {labels}; there are {', '.join(there)}")
        labels = False
    others = [key for key in there if key != labels]
    data = next((key for key in DATA_KEYS if key in others), None)
    if labels is None:
        labels = next((key for key in LABEL_KEYS if key in others and key != data), None)
    label = labels if isinstance(labels, str) else None
    rest = [key for key in others if key != label]
    if data is None and len(rest) != 1:
        raise UserError(f"{what}: holds {', '.join(there) or 'nothing'}; save the observations under the name x")
    return data or rest[0], label
