"""The encoding of a text file: UTF-8, or what the user or the file's first bytes say."""

from __future__ import annotations

import codecs
from pathlib import Path

from vaecli.utils.command_line import word
from vaecli.utils.errors import UserError
from vaecli.utils.text import shorten

BYTE_ORDER_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8"))  # fmt: skip
OTHER_FORMATS = {
    b"pk\x03\x04": "a workbook (.xlsx, .ods) or another archive", b"\xd0\xcf\x11\xe0": "an old workbook (.xls)",
    b"\x1f\x8b": "compressed (.gz)", b"bzh": "compressed (.bz2)", b"\xfd7zxz": "compressed (.xz)",
    b"\x89hdf": "an HDF5 file", b"par1": "a .parquet file", b"\x93numpy": "a .npy file", b"%pdf": "a PDF",
    b"<!doctype": "a web page", b"<html": "a web page", b"<?xml": "XML", b'{"': "JSON", b"[{": "JSON",
}  # fmt: skip
HEAD_LINES, HEAD_CHARACTERS = (
    60,
    4_000_000,
)  # lines, and characters if the lines are long, from which the layout is guessed
MIN_HEAD_LINES, MAX_LINE_LENGTH = 4, 2**26  # lines that are read in any case, and characters of one
COMMON_ENCODINGS = ("windows-1252", "shift_jis", "gb18030", "windows-1251")


def encoding_of(what: str, path: Path, given: str | None) -> str:
    """The encoding of a text file; UserError if its first bytes are not text."""
    if given is not None:
        return given
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror})") from None
    for mark, kind in OTHER_FORMATS.items():
        if start.lstrip().lower().startswith(mark):
            raise UserError(f"{what}: is {kind}, not a table of text; save it as .csv")
    for mark, name in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return name
    if b"\0" in start:
        for name, part in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
            if part.count(b"\0") > 0.7 * len(part) > 2:
                raise UserError(f"{what}: is not UTF-8 text but looks like UTF-16; give dataset.encoding={name}")
    return "utf-8"


def head(what: str, path: Path, encoding: str) -> tuple[list[str], bool]:
    """The first lines of a text file, and whether they are the whole file; UserError if they are not text."""
    lines: list[str] = []
    size = 0
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
            while len(lines) < MIN_HEAD_LINES or (len(lines) < HEAD_LINES and size < HEAD_CHARACTERS):
                line = file.readline(MAX_LINE_LENGTH)
                if not line:
                    break
                lines.append(line)
                size += len(line)
            whole = not file.read(1)
    except UnicodeError:
        raise undecodable(what, path, encoding) from None
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror})") from None
    if not any(map(str.strip, lines)):
        raise UserError(f"{what}: is empty; expected a table of numbers")
    if any("\0" in line for line in lines):
        raise UserError(f"{what}: is not text; expected a table of numbers")
    return lines, whole


def undecodable(what: str, path: Path, encoding: str) -> UserError:
    """The error for a file that is not in its encoding: the first such line, and its text in other encodings."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number, line = 0, b""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                decoder.decode(line)
            except UnicodeError as error:
                if encoding != "utf-8":
                    break
                return not_utf8(what, number, line, getattr(error, "start", 0))
    return UserError(f"{what}: line {number} is not text in {encoding}, as dataset.encoding says; "
                     "give the encoding in which it was saved, or save it as UTF-8")  # fmt: skip


def not_utf8(what: str, number: int, line: bytes, at: int) -> UserError:
    """The same for a file that should be UTF-8: in line `number` the byte `at` is invalid."""
    start, stop = max(line.rfind(sign, 0, at) + 1 for sign in (b",", b";", b"\t", b" ", b'"')), at + 1
    while stop < len(line) and line[stop : stop + 1] not in (b",", b";", b"\t", b" ", b'"', b"\r", b"\n"):
        stop += 1
    cell = line[start:stop]
    readings = []
    for name in COMMON_ENCODINGS:
        try:
            read = cell.decode(name)
        except UnicodeError:
            continue
        if read.isprintable():
            readings.append(f"{shorten(read, 40)!r} in {name}")
    shown = f" (it would be {', '.join(readings[:3])})" if readings and b"\0" not in line else ""
    holds = f"line {number:,} holds {shorten(repr(cell)[1:], 60)}{shown}"
    remedy = f"give {word('dataset.encoding', 'windows-1252')} or whatever it was saved in, or save it as UTF-8"
    return UserError(f"{what}: is not UTF-8 text: {holds}; {remedy}")
