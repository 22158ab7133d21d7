"""Writes a .parquet file again with some of its gaps filled."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.datasets.reading.columns import is_coded, is_text
from vaecli.utils.errors import UserError
from vaecli.utils.text import distinct


class ParquetTable(NamedTuple):
    """A .parquet file's table, its columns' types and other metadata as they are."""

    names: Sequence[str]  # as they are read
    table: Any  # pyarrow's

    def with_cells(self, cells: Mapping[tuple[int, str], str]) -> bytes:
        """The file with these cells written into gaps."""
        import pyarrow as pa
        from pyarrow import parquet

        filled: dict[str, dict[int, str]] = {}
        for (row, name), text in cells.items():
            filled.setdefault(name, {})[row] = text
        table = self.table
        for name, texts in filled.items():
            i = list(self.names).index(name)
            table = table.set_column(i, table.schema.field(i), with_texts(table.column(i), texts))
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def as_text(self, cells: Mapping[tuple[int, str], str]) -> bytes:
        """The same as comma-separated text; gaps that are not filled are empty."""
        columns = {name: cells_of(column) for name, column in zip(self.names, self.table.columns, strict=True)}
        for (row, name), text in cells.items():
            columns[name][row] = text
        file = io.StringIO(newline="")
        csv.writer(file, lineterminator="\n").writerows([columns, *zip(*columns.values(), strict=True)])
        return file.getvalue().encode()


def cells_of(column: Any) -> list[str]:
    """A column's cells as texts: numbers with all their digits, whole ones without a fraction."""
    import pyarrow as pa

    plain = column.cast(column.type.value_type) if is_coded(column) else column
    if pa.types.is_floating(plain.type):
        return ["" if value != value else str(value).removesuffix(".0") for value in plain.to_numpy()]
    values = plain.to_pylist()
    if pa.types.is_boolean(plain.type):
        return ["" if value is None else str(value).lower() for value in values]
    return ["" if value is None else str(value) for value in values]


def read_parquet_table(what: str, path: Path, n: int) -> ParquetTable:
    """The file of a table of n rows, to be written again."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    if len(table) != n:
        raise UserError(f"{what}: has {len(table):,} rows, of which {n:,} were read; save it as .csv")
    return ParquetTable(distinct([str(name).strip() for name in table.column_names]), table)


def with_texts(column: Any, texts: Mapping[int, str]) -> Any:
    """A column with values, given as texts by row, in the place of nulls and NaN."""
    import pyarrow as pa
    from pyarrow import compute

    kind = column.type
    plain = column.cast(kind.value_type) if is_coded(column) else column
    values = plain.to_pylist()
    for row, text in texts.items():
        values[row] = typed(text, column)
    whole = pa.array(values, plain.type)
    if not is_coded(column):
        return whole
    known = column.unify_dictionaries().chunk(0).dictionary if column.num_chunks else pa.array([], kind.value_type)
    every = pa.array(dict.fromkeys([*known.to_pylist(), *plain.to_pylist(), *texts.values()]), kind.value_type)
    every = every.filter(every.is_valid())
    codes = compute.index_in(whole, every).cast("int32")
    return pa.DictionaryArray.from_arrays(codes, every, ordered=kind.ordered).cast(kind)


def typed(text: str, column: Any) -> Any:
    """A cell as a value of its column's type, rounded if the type has only whole numbers."""
    import pyarrow as pa

    if is_text(column):
        return text
    if pa.types.is_boolean(column.type):
        return text == "true" or (text != "false" and float(text) >= 0.5)
    if pa.types.is_decimal(column.type):
        from decimal import Decimal

        return round(Decimal(text), column.type.scale)
    return round(float(text)) if pa.types.is_integer(column.type) else float(text)
