"""Writes a text file again with new contents in some of its cells, and everything else unchanged, byte for byte."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.datasets.checks import one_of
from vaecli.datasets.reading.candidates import PIECE, RULE
from vaecli.datasets.reading.cells import MISSING, normalise, value
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.encodings import encoding_of
from vaecli.datasets.reading.layout import COMMENTS, find_layout
from vaecli.datasets.reading.rewrite_parquet import ParquetTable, read_parquet_table
from vaecli.datasets.reading.text import FOOTER
from vaecli.utils.errors import UserError

NUMBER = re.compile(r"-?\d+\.\d+")
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,15}")
PARQUET = ".parquet"
TEXTS = (".csv", ".tsv", ".txt", ".dat")
Cells = Mapping[tuple[int, str], str]  # the texts of cells, by row, counted from 0, and the column's name


class TextTable(NamedTuple):
    """A text file, cut into its rows."""

    names: Sequence[str]
    head: str  # what comes before the rows
    lines: Sequence[str]  # records with their ends of line
    rows: Sequence[int]  # which of them are the rows of the table
    separator: str
    decimal: str
    encoding: str
    gaps: frozenset[str]

    def with_cells(self, cells: Cells) -> bytes:
        """The file with these cells written into gaps; UserError if one of the cells is not a gap."""
        places: dict[int, dict[int, str]] = {}
        for (row, name), text in cells.items():
            places.setdefault(self.rows[row], {})[self.names.index(name)] = text
        changed = [changed_line(line, places[i], self) if i in places else line for i, line in enumerate(self.lines)]
        return (self.head + "".join(changed)).encode(self.encoding)

    def as_parquet(self, cells: Cells) -> bytes:
        """The same as a .parquet file: columns of numbers if all cells are, else of texts; other gaps are null."""
        import pyarrow as pa
        from pyarrow import parquet

        rows: list[list[str | None]] = []
        for row, i in enumerate(self.rows):
            body = self.lines[i].rstrip("\r\n")
            found = PIECE.findall(body) if self.separator == " " else next(csv.reader([body], delimiter=self.separator))
            rows.append([None if normalise(cell) in self.gaps else cell.strip() for cell in found])
            if len(found) != len(self.names):
                raise UserError(f"row {row:,} has {len(found)} cells, not {len(self.names)}: give an output of the "
                                "same format as the input")  # fmt: skip
        for (row, name), text in cells.items():
            rows[row][self.names.index(name)] = decimals(text, self.decimal)
        columns = [typed_cells(column, self.decimal) for column in zip(*rows, strict=True)]
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table(dict(zip(self.names, columns, strict=True))), sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content


def typed_cells(cells: Sequence[str | None], decimal: str) -> Sequence[float | str | None]:
    """A column's cells as whole numbers or as numbers if all of them are, else as texts; None is missing."""
    numbers = [None if cell is None else value(cell, decimal) for cell in cells]
    if any((number is None) != (cell is None) for number, cell in zip(numbers, cells, strict=True)):
        return cells
    whole = all(cell is None or WHOLE_NUMBER.fullmatch(cell) for cell in cells)
    return [None if number is None else int(number) for number in numbers] if whole else numbers


Rewritable = TextTable | ParquetTable


def as_file(table: Rewritable, cells: Cells, suffix: str) -> bytes:
    """The file with these cells written into gaps; of the other format if `suffix` is of that."""
    if isinstance(table, TextTable):
        return table.as_parquet(cells) if suffix.lower() == PARQUET else table.with_cells(cells)
    return table.with_cells(cells) if suffix.lower() == PARQUET else table.as_text(cells)


def read_rewritable(what: str, path: Path, choice: ReadOptions, n: int) -> Rewritable:
    """The file of a table of n rows, to be written again."""
    if path.suffix.lower() == PARQUET:
        return read_parquet_table(what, path, n)
    return read_text_table(what, path, choice, n)


def read_text_table(what: str, path: Path, choice: ReadOptions, n: int) -> TextTable:
    """The file of a table of n rows, to be written again; UserError if its rows are not distinct from other lines."""
    if path.suffix.lower() not in TEXTS:
        raise UserError(f"{what}: {one_of((*TEXTS, PARQUET))} files are written again; save it as one")
    encoding = encoding_of(what, path, choice.encoding)
    layout = find_layout(what, path, choice, encoding)
    content = path.read_bytes().decode(encoding)
    every = list(records(content))
    head, lines = "".join(every[: layout.skip]), every[layout.skip :]
    rows = [i for i, line in enumerate(lines) if is_row(line)][:n]
    if len(rows) != n or content.encode(encoding) != path.read_bytes():
        raise UserError(f"{what}: its {n:,} rows cannot be distinguished from its other lines; save it as .csv again")
    decimal = layout.decimal or "."
    gaps = frozenset({*MISSING, *choice.missing_values})
    return TextTable(layout.names, head, lines, rows, layout.separator, decimal, encoding, gaps)


def records(content: str) -> Iterator[str]:
    """The lines of a text with their ends; lines within quotes are one."""
    held = ""
    for line in content.splitlines(keepends=True):
        held += line
        if held.count('"') % 2 == 0:
            yield held
            held = ""
    if held:
        yield held


def is_row(line: str) -> bool:
    text = line.strip()
    return bool(text) and not (text.startswith(COMMENTS) or RULE.fullmatch(text) or FOOTER.fullmatch(text))


def spans(line: str, separator: str) -> list[tuple[int, int]]:
    """The position of each cell in a line, with its quotes and blanks."""
    if separator == " ":
        return [match.span() for match in PIECE.finditer(line)]
    found, start, quoted = [], 0, False
    for at, sign in enumerate(line):
        if sign == '"':
            quoted = not quoted
        elif sign == separator and not quoted:
            found.append((start, at))
            start = at + 1
    return [*found, (start, len(line))]


def changed_line(line: str, cells: Mapping[int, str], table: TextTable) -> str:
    """A line in which some gaps are replaced by texts, by index."""
    body = line.rstrip("\r\n")
    places = spans(body, table.separator)
    for i in sorted(cells, reverse=True):
        start, end = places[i]
        there = body[start:end].strip().strip('"')
        if normalise(there) not in table.gaps:
            raise UserError(f"the cell {there[:40]!r} is not a gap, which was expected in column {table.names[i]}; "
                            "save the file as .csv again")  # fmt: skip
        body = body[:start] + as_cell(decimals(cells[i], table.decimal), table.separator) + body[end:]
    return body + line[len(line.rstrip("\r\n")) :]


def decimals(text: str, sign: str) -> str:
    """A number with the table's decimal sign; other texts as they are."""
    return text.replace(".", sign) if sign != "." and NUMBER.fullmatch(text) else text


def as_cell(text: str, separator: str) -> str:
    """A text as a cell, in quotes if it needs them."""
    if separator == " ":
        return f'"{text}"' if " " in text else text
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="").writerow([text])
    return file.getvalue()
