"""Tables in .parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import AS_NEEDED, PER_CELL, PER_COLUMN, Content
from vaecli.datasets.reading.names import list_columns
from vaecli.datasets.reading.table import Table
from vaecli.datasets.reading.tables import table_content
from vaecli.utils.command_line import word
from vaecli.utils.errors import UserError
from vaecli.utils.memory import check_memory
from vaecli.utils.text import distinct


def read_parquet(what: str, path: Path, choice: ReadOptions) -> Content:
    """A table in a .parquet file. Lists are not read and texts stay coded: a few bytes can stand for any number."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
        flat = flat_columns(what, schema, choice)
        coded = [schema.names[i] for i in flat if not is_fixed(schema.types[i])]
        with parquet.ParquetFile(path, read_dictionary=coded) as file:
            check_memory(parquet_bytes(file.metadata, schema, flat), what, AS_NEEDED)
            table = file.read([schema.names[i] for i in flat] if len(flat) < len(schema.names) else None)
            names = distinct([str(name).strip() for name in table.column_names])
            there = choice._replace(leave_out=[name for name in choice.leave_out if name in names])
            return table_content(what, path, Table(names, table.columns, ".", typed=True), there)
    except (pa.ArrowException, OSError):
        damaged = "it is damaged, cut short or of another format; write it again"
        raise UserError(f"{what}: cannot be read as .parquet: {damaged}") from None


def flat_columns(what: str, schema: Any, choice: ReadOptions) -> list[int]:
    """The indices of a parquet file's columns of single values; UserError if lists and the like are asked for.

    Lists are not read: a few bytes can stand for any number of them.
    """
    nested = [i for i, kind in enumerate(schema.types) if is_nested(kind)]
    chosen = [*(choice.columns or ()), *([choice.labels] if isinstance(choice.labels, str) else ())]
    wanted = [schema.names[i] for i in nested if (choice.columns is None or schema.names[i].strip() in chosen)
              and schema.names[i].strip() not in choice.leave_out]  # fmt: skip
    flat = [i for i in range(len(schema.names)) if i not in nested]
    if wanted:
        remedy = f"leave them out ({word('dataset.leave_out', [*choice.leave_out, *wanted])})"
        remedy = remedy if flat else "write each number into a column of its own"
        raise UserError(f"{what}: {list_columns(wanted)}: not numbers, but lists or the like; {remedy}")
    return flat


def is_nested(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(getattr(kind, "storage_type", kind)))


def parquet_bytes(metadata: Any, schema: Any, places: Sequence[int]) -> int:
    """The bytes that these columns take while they are read, converted and split."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    kinds = [schema.types[i] for i in places]
    row = sum(PER_CELL + (kind.bit_width // 8 if is_fixed(kind) else 0) for kind in kinds)
    contents = sum(int(group.num_rows) * row + 2 * int(group.total_byte_size) for group in groups)
    return int(contents) + PER_COLUMN * len(places)


def is_fixed(kind: Any) -> bool:
    """Whether all values of an arrow type have the same size."""
    try:
        return bool(kind.bit_width)
    except ValueError:
        return False
