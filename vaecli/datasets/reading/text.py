"""Text files: .csv, .tsv, .txt and .dat, with any of the separators."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaecli.datasets.reading.candidates import PIECE, RULE
from vaecli.datasets.reading.cells import MISSING
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import AS_NEEDED, PER_CELL, PER_COLUMN, Content
from vaecli.datasets.reading.encodings import encoding_of, undecodable
from vaecli.datasets.reading.layout import COMMENTS, Layout, find_layout
from vaecli.datasets.reading.table import Table
from vaecli.datasets.reading.tables import table_content
from vaecli.utils.errors import UserError
from vaecli.utils.memory import available, check_memory
from vaecli.utils.text import plural

BLOCK_BYTES, MAX_BLOCK_BYTES = 2**20, 2**31 - 1  # bytes that are parsed at a time
BLOCK_BYTES_PER_COLUMN = 1024  # at least: each block makes an array of each column, which takes some hundred bytes
DECODED_BYTES = 2**22  # bytes that are decoded at a time
WAYS = ((False, False), (False, True), (True, False), (True, True))  # line breaks in quotes; on one thread alone
FOOTER = re.compile(r"\(\d+ rows?\)")  # psql's


def read_text(what: str, path: Path, choice: ReadOptions) -> Content:
    """The table in a text file; UserError, with line and remedy, if there is none."""
    encoding = encoding_of(what, path, choice.encoding)
    layout = find_layout(what, path, choice, encoding)
    check_memory(text_bytes(path, layout), what, AS_NEEDED)
    passed: list[str] = []
    table = parsed(what, path, layout, encoding, choice, passed)
    names, columns, empty = without_empty(layout, table)
    binary = [name for name, column in zip(names, columns, strict=True) if is_binary(column)]
    if binary and (choice.columns is None or choice.labels is not False or set(binary) & set(choice.columns)):
        raise undecodable(what, path, encoding)
    how = [*layout.how, *(["decimal commas"] if layout.decimal == "," else [])]
    how += [encoding] if encoding != "utf-8" else []
    how += [f"{len(passed):,} comment line{'s' * (len(passed) > 1)} skipped"] if passed else []
    how += [f"{empty:,} empty column{'s' * (empty > 1)} left out"] if empty else []
    read_table = Table(names, columns, layout.decimal, tuple(how), layout.notes, {
        "encoding": encoding, "separator": layout.name, "header": layout.header,
        "decimal": "comma" if layout.decimal == "," else "point",
    })  # fmt: skip
    return table_content(what, path, read_table, choice)


def parsed(what: str, path: Path, layout: Layout, encoding: str, choice: ReadOptions, passed: list[str]) -> Any:
    """pyarrow's Table of the rows, its columns named by index; lines that are not rows are added to `passed`."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    wrong: list[Any] = []

    def other_row(row: Any) -> str:
        """What to do with a row that has another number of cells."""
        line = row.text.strip()
        if line.startswith(COMMENTS) or RULE.fullmatch(line) or FOOTER.fullmatch(line):
            passed.append(line)
            return "skip"
        wrong.append(row)
        return "error"

    converting = arrow.ConvertOptions(null_values=[*MISSING, *choice.missing_values], strings_can_be_null=False,
                                      decimal_point=layout.decimal or ".")  # fmt: skip
    if choice.mixed:  # true and false are categories in the file's own spelling
        converting.true_values, converting.false_values = [], []
    places = list(map(str, range(len(layout.names))))
    try:
        source, comments = text_source(path, layout, encoding)

        def read(block: int, newlines: bool, alone: bool) -> Any:
            wrong.clear()
            passed[:] = comments
            skip, sign = (0, "\t") if layout.separator == " " else (layout.skip, layout.separator)
            options = arrow.ReadOptions(skip_rows=skip, column_names=places, block_size=block, use_threads=not alone)
            parsing = arrow.ParseOptions(delimiter=sign, newlines_in_values=newlines,
                                         invalid_row_handler=other_row if alone else None)  # fmt: skip
            return arrow.read_csv(path if source is None else pa.BufferReader(source), options, parsing, converting)

        return in_blocks(read, path.stat().st_size, len(layout.names))
    except UnicodeError:
        raise undecodable(what, path, encoding) from None
    except (pa.ArrowException, OSError) as error:
        raise parse_error(what, path, layout, encoding, wrong, str(error)) from None


def in_blocks(read: Callable[[int, bool, bool], Any], size: int, width: int) -> Any:
    """What `read` returns for a file in blocks of pyarrow's usual size, or larger ones if a line is longer.

    A function of vaecli's handles rows with another number of cells. pyarrow may call it on one thread only: the other
    threads release such a function late, and if that happens while Python ends, the process aborts. Line breaks within
    quotes cost a fifth more time. Therefore the file is first read without either, on all threads, and in the other
    ways only if pyarrow refuses it, as it refuses a block that ends within quotes.
    """
    import pyarrow as pa

    block, ways = max(BLOCK_BYTES, BLOCK_BYTES_PER_COLUMN * width), list(WAYS)
    while True:
        try:
            return read(min(block, MAX_BLOCK_BYTES), *ways[0])
        except pa.ArrowInvalid as error:
            short = re.search("straddl|block size|cannot infer number", str(error))
            if short and block <= min(size, MAX_BLOCK_BYTES):
                block *= 16
            elif len(ways) > 1:
                del ways[0]
            else:
                raise


def text_source(path: Path, layout: Layout, encoding: str) -> tuple[Any, list[str]]:
    """What pyarrow reads in place of a file that is not UTF-8 or is separated by blanks, else None; and the comments
    that were left out.

    It lies in pyarrow's own memory, because pyarrow's threads would need Python to release a Python object. Raises
    UnicodeError.
    """
    import pyarrow as pa

    if layout.separator == " ":
        lines, comments = blanks_to_tabs(path, encoding, layout.skip)
        sink = pa.BufferOutputStream()
        sink.write(lines)
        return sink.getvalue(), comments
    if encoding == "utf-8":
        return None, []
    sink, decoder = pa.BufferOutputStream(), codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        while part := file.read(DECODED_BYTES):
            sink.write(decoder.decode(part).encode())
    sink.write(decoder.decode(b"", final=True).encode())
    return sink.getvalue(), []


def blanks_to_tabs(path: Path, encoding: str, skip: int) -> tuple[bytes, list[str]]:
    """The lines after the first `skip` of a file whose columns are aligned with blanks, as UTF-8 with tabs instead of
    the blanks, and the comments, which are left out."""
    content = path.read_bytes()
    if encoding != "utf-8":
        content = content.decode(encoding).encode()
    start = re.match(rb"(?:[^\r\n]*(?:\r\n|\r|\n)){%d}" % skip, content)
    content = content[start.end() if start else 0 :].removeprefix(b"\xef\xbb\xbf")
    comments = re.findall(rb"(?m)^[ \t]*[#%][^\r\n]*", content)
    if comments:
        content = re.sub(rb"(?m)^[ \t]*[#%][^\r\n]*", b"", content)
    if b'"' in content:
        lines = re.split("\r\n|\r|\n", content.decode(errors="surrogateescape"))
        text = "\n".join("\t".join(PIECE.findall(line)) for line in lines)
        content = text.encode(errors="surrogateescape")
    else:
        content = re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", content))
    return content, [line.decode(errors="replace") for line in comments]


def parse_error(what: str, path: Path, layout: Layout, encoding: str, wrong: list[Any], message: str) -> UserError:
    """The error for a line that cannot be read as a row: which one it is, and what to do."""
    if re.search("Empty CSV", message):
        return UserError(f"{what}: there are no observations in it")
    width = len(layout.names)
    if wrong and not ({"\n", "\r"} & set(wrong[0].text.strip())):
        row = wrong[0]
        at = first_line(path, encoding, lambda line: line.strip() == row.text.strip())
        where = f"line {at:,}" if at else "a line"
        wanted = f"has {plural(row.actual_columns, 'cell')}, where {width} were expected ({layout.name}-separated)"
        return UserError(f"{what}: {where} {wanted}: {row.text.strip()[:60]!r}; correct it, put quotes around a text "
                         "that holds the separator, or give the separator (dataset.separator=...)")  # fmt: skip
    odd = first_line(path, encoding, lambda line: line.count('"') % 2)
    reason = f"line {odd:,} has a quotation mark that is not closed" if odd else "its rows do not have the same cells"
    return UserError(f"{what}: cannot be read as a table: {reason}; correct it, or save it as .csv again")


def first_line(path: Path, encoding: str, fits: Callable[[str], object]) -> int | None:
    """The number of the first line of a file that fits; None if there is none."""
    with path.open(encoding=encoding, errors="replace") as file:
        return next((n for n, line in enumerate(file, 1) if fits(line)), None)


def without_empty(layout: Layout, table: Any) -> tuple[list[str], list[Any], int]:
    """The columns except those without name and cells, as a separator at the end of each line makes them, and how many
    were left out; empty rows at the end, as spreadsheets leave them, are dropped."""
    rows, columns = table.num_rows, table.columns
    while rows and all(column[rows - 1].as_py() in (None, "") for column in columns):
        rows -= 1
    columns = table.slice(0, rows).columns if rows < table.num_rows else columns
    kept = [i for i, column in enumerate(columns) if i not in layout.nameless or column.null_count < len(column)]
    return [layout.names[i] for i in kept], [columns[i] for i in kept], table.num_columns - len(kept)


def is_binary(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type))


def text_bytes(path: Path, layout: Layout) -> int:
    """The bytes that a table takes while it is read: its text, and each cell as float64, as float32 and in a split.

    A cell may be a single character of the file; cells are counted only if memory would not suffice for so many.
    """
    size, cells, ends = path.stat().st_size, 0, [layout.separator.encode(), b"\n", b"\r"]
    most, room = (2 + PER_CELL) * size + PER_COLUMN * len(layout.names), available()
    if PER_CELL * size < 2**28 or room is None or most <= room:
        return most
    with path.open("rb") as file:
        while part := file.read(2**24):
            cells += sum(map(part.count, ends))
    return 2 * size + PER_CELL * cells + PER_COLUMN * len(layout.names)
