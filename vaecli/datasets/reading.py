"""Files of numbers: arrays (.npy, .npz) and tables (.csv, .tsv, .txt, .parquet)."""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaecli.datasets.checks import check_numbers, existing
from vaecli.datasets.layout import MISSING, Layout, sniff
from vaecli.datasets.split import CHUNK
from vaecli.datasets.tables import Choice, Picked, flat_columns, pick_columns, refuse_long, table_names
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory

LARGE = 2**30  # bytes: a .npy file beyond is not read, but mapped into memory
MAPPED = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")  # types that torch can index
PER_CELL = 16  # bytes: float64, float32, and float32 again in a part of the data
PER_COLUMN = 10_000  # bytes
AS_NEEDED = "save it as float32 .npy, which is read as needed"
DATA_KEYS = ("x", "X", "data", "images")  # of an .npz file
LABEL_KEYS = ("y", "Y", "label", "labels", "target", "targets", "class", "classes")
UNREADABLE = (  # what NumPy raises for damaged files of one kind or another
    ValueError, TypeError, LookupError, OSError, EOFError, MemoryError, OverflowError, SyntaxError, RuntimeError,
    TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Content(NamedTuple):
    """What a file holds."""

    x: Tensor  # (N, *x_shape), uint8 or float32; where mapped of any type of MAPPED
    labels: np.ndarray | None  # (N,) or (N, d), text or numbers
    names: tuple[str, ...] | None = None  # of the columns of a table
    mapped: bool = False  # x stays in the file


def read(what: str, path: Path, choice: Choice) -> Content:
    """The observations of a file and their labels; UserError, beginning with `what`, for what cannot be used."""
    return READERS[existing(what, path, list(READERS)).suffix.lower()](what, path, choice)


def column_names(path: Path, choice: Choice) -> tuple[str, ...] | None:
    """The names of a table's columns that `read` takes, those chosen where it cannot be read; None for other files."""
    if path.suffix.lower() not in TABLES:
        return None
    try:
        return read(str(path), path, choice).names
    except UserError:
        return None if choice.columns is None else tuple(choice.columns)


def load_npy(what: str, path: Path) -> np.ndarray:
    """An array of real numbers, mapped into memory where it is large."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise UserError(f"{what}: cannot be read as .npy: {reason(error)}") from None
    if not isinstance(values, np.ndarray):
        values.close()
        raise UserError(f"{what}: is an .npz archive; name it so")
    check_numbers(what, values)
    if path.stat().st_size > LARGE:
        return values
    check_memory(needed(values), what, AS_NEEDED)
    return np.array(values)


def needed(values: np.ndarray) -> int:
    """Bytes for an array, what it is held as, and once more for the parts that it is split into."""
    return values.nbytes + 2 * values.size * (1 if values.dtype.kind == "b" or values.dtype == np.uint8 else 4)


def load_npz(what: str, path: Path, labels: str | bool | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The observations of an archive and their labels, both as they are."""
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{what}: is no .npz archive, or is cut short")
        with np.load(path, allow_pickle=False) as archive:
            check_memory(sum(member.file_size for member in archive.zip.infolist()), what, AS_NEEDED)
            data, label = npz_keys(what, archive.files, labels)
            x, y = archive[data], None if label is None else archive[label]
            check_memory(needed(x) - x.nbytes, what, AS_NEEDED)
            return x, y if y is None or y.dtype.kind != "U" else texts(what, y)
    except UNREADABLE as error:
        raise UserError(f"{what}: cannot be read as .npz: {reason(error)}") from None


def texts(what: str, labels: np.ndarray) -> np.ndarray:
    """NumPy's texts, each as long as the longest, as objects."""
    refuse_long(f"{what}: its labels", labels.dtype.itemsize // 4, "leave them out (dataset.labels=false)")
    return labels.astype(object)


def npz_keys(what: str, there: Sequence[str], labels: str | bool | None) -> tuple[str, str | None]:
    """Which arrays of an archive are the data and, if any, the labels."""
    if isinstance(labels, str) and labels not in there:
        raise UserError(f"{what}: holds no labels {labels}; there are {', '.join(there)}")
    others = [key for key in there if key != labels]
    data = next((key for key in DATA_KEYS if key in others), None)
    if labels is None:
        labels = next((key for key in LABEL_KEYS if key in others and key != data), None)
    label = labels if isinstance(labels, str) else None
    rest = [key for key in others if key != label]
    if data is None and len(rest) != 1:
        raise UserError(f"{what}: holds {', '.join(there) or 'nothing'}; save the observations under the name x")
    return data or rest[0], label


def reason(error: BaseException) -> str:
    """The first line of an error of a library's, without advice that is meant for programmers."""
    text = str(error).strip().splitlines()[0][:150] if str(error).strip() else "it is cut short"
    return (
        "it holds Python objects, or something else than an array" if re.search("pickle|Python objects", text) else text
    )


def observations(what: str, values: np.ndarray) -> np.ndarray:
    """The array as (N, d) or (N, C, H, W): a channel axis for (N, H, W), channels first for (N, H, W, C).

    Of the second and the last axis the channels are the one of length 1 or 3, else the shorter one.
    """
    shape = values.shape
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4:
        first, last = ((length not in (1, 3), length) for length in (shape[1], shape[3]))
        return values.transpose(0, 3, 1, 2) if last < first else values
    if values.ndim == 2:
        return values
    expected = "(N, d), (N, H, W) or (N, C, H, W)"
    advice = "; reshape it to (N, 1)" if values.ndim == 1 else ""
    raise UserError(f"{what}: has shape {shape}; expected {expected}{advice}")


def held(what: str, values: np.ndarray) -> Tensor:
    """An array in memory as it is held: bytes stay bytes, everything else becomes float32."""
    check_numbers(what, values)
    if values.dtype.kind == "b" or values.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(values).view(np.uint8))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused for it
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def zeros_and_ones(x: Tensor) -> bool:
    """Whether bytes are truth values, not grey levels of 255."""
    return all(int(chunk.max()) <= 1 for chunk in x.split(CHUNK))


def read_npy(what: str, path: Path, choice: Choice) -> Content:
    values = load_npy(what, path)
    x = observations(what, values)
    if not isinstance(values, np.memmap):
        return Content(held(what, x), None)
    if values.dtype.name not in MAPPED or not values.dtype.isnative:
        raise UserError(f"{what}: {values.dtype} cannot be read from the file as needed; save it as float32")
    with warnings.catch_warnings(action="ignore"):  # that the tensor must not be written to
        return Content(torch.from_numpy(x), None, mapped=True)


def read_npz(what: str, path: Path, choice: Choice) -> Content:
    values, labels = load_npz(what, path, choice.labels)
    check_numbers(what, values)
    if labels is not None and (labels.ndim not in (1, 2) or labels.dtype.kind not in "buifO"):
        raise UserError(f"{what}: its labels have shape {labels.shape} and type {labels.dtype}; "
                        "expected one number or text for each observation (dataset.labels=false: none)")  # fmt: skip
    if labels is not None and len(labels) != len(values):
        raise UserError(f"{what}: has {len(values):,} observations and {len(labels):,} labels")
    return Content(held(what, observations(what, values)), labels)


def read_csv(what: str, path: Path, choice: Choice) -> Content:
    """Text with a separator; the first line is a header where it is text above numbers."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    layout = sniff(what, path, choice.columns)
    try:
        check_memory(csv_bytes(path, layout), what, AS_NEEDED)
        table = arrow.read_csv(
            path,
            arrow.ReadOptions(column_names=None if layout.header else layout.names),
            arrow.ParseOptions(delimiter=layout.separator, newlines_in_values=True),
            arrow.ConvertOptions(null_values=MISSING, strings_can_be_null=True),
        )
        return from_table(pick_columns(what, table, layout.names, choice))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{what}: cannot be read as a table: {reason(error)}") from None


def csv_bytes(path: Path, layout: Layout) -> int:
    """Bytes that a table takes while it is read: its text, and each cell as float64, float32 and in a part.

    A cell may be a single character of the file.
    """
    size, small = path.stat().st_size, PER_CELL * path.stat().st_size < 2**28
    cells, ends = size if small else 0, [layout.separator.encode(), b"\n", b"\r"]
    with path.open("rb") as file:
        while not small and (part := file.read(2**24)):
            cells += sum(map(part.count, ends))
    return 2 * size + PER_CELL * cells + PER_COLUMN * len(layout.names)


def read_parquet(what: str, path: Path, choice: Choice) -> Content:
    """Lists are not read, and texts stay coded: a few bytes can stand for any number of either."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
        flat = flat_columns(what, schema, choice)
        coded = [name for name in flat if not is_fixed(schema.field(name).type)]
        with parquet.ParquetFile(path, read_dictionary=coded) as file:
            check_memory(parquet_bytes(file.metadata, schema, flat), what, AS_NEEDED)
            table = file.read(flat)
            return from_table(pick_columns(what, table, table_names(table), choice))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{what}: cannot be read as .parquet: {reason(error)}") from None


def parquet_bytes(metadata: Any, schema: Any, names: Sequence[str]) -> int:
    """Bytes that the columns of these names take while they are read, as float32 too, and in a part."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    kinds = [schema.field(name).type for name in names]
    row = sum(PER_CELL + (kind.bit_width // 8 if is_fixed(kind) else 0) for kind in kinds)
    return sum(group.num_rows * row + 2 * group.total_byte_size for group in groups) + PER_COLUMN * len(names)


def is_fixed(kind: Any) -> bool:
    """Whether all values of an arrow type have the same size."""
    try:
        return bool(kind.bit_width)
    except ValueError:
        return False


def from_table(picked: Picked) -> Content:
    return Content(torch.from_numpy(picked.x), picked.labels, picked.names)


READERS: Mapping[str, Any] = {
    ".npy": read_npy, ".npz": read_npz, ".csv": read_csv, ".tsv": read_csv, ".txt": read_csv, ".parquet": read_parquet,
}  # fmt: skip
TABLES = (".csv", ".tsv", ".txt", ".parquet")
