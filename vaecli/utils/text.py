"""Escapes text from users and files: one function for each place where it is shown or written.

The names of labels, columns, files, folders and runs, and the texts in a run's files, can be anything: spreadsheet
formulas, mathematics that does not parse, markup, control sequences of terminals, thousands of characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FORMULA = tuple("=+-@＝＋－＠")  # the first characters of a spreadsheet's formulas (OWASP, CSV injection)


def printable(text: str) -> str:
    """`text` with control characters and line breaks escaped, as in \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, most: int = 3000) -> str:
    """`text`, its middle left out if it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def plural(n: int, noun: str, end: str = "s") -> str:
    """`1 value`, `2,000 values`; end: what the plural appends, as in `class`, `es`."""
    return f"{n:,} {noun}{end if n != 1 else ''}"


def categories(n: int) -> str:
    """`1 category`, `2 categories`."""
    return f"{n:,} categor{'ies' if n != 1 else 'y'}"


def printable_lines(text: str) -> str:
    """`text` of several lines, each of them printable."""
    return "\n".join(map(printable, text.split("\n")))


def rich(text: str) -> Any:
    """A line for rich's tables, in which neither markup nor emoji is interpreted."""
    from rich.text import Text

    return Text(printable(text))


def say(line: str, console: Any = None, style: str = "") -> None:
    """Print a line to `console`, or to standard output."""
    if console is None:
        print(printable(line))
    else:
        console.print(rich(line), style=style, highlight=False, soft_wrap=True)


def figure(text: str, most: int = 200) -> str:
    """A line for a figure: `$` escaped, and a blank before `_`, which would hide it from a legend."""
    shown = shorten(printable(text), most).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def for_tensorboard(text: str) -> str:
    """A line for TensorBoard, whose table of labels has one line per label and no empty ones."""
    return printable(text) if text.strip() else repr(printable(text))


def spreadsheet(cell: Any) -> str:
    """A cell of a .csv file: a text that a spreadsheet would take for a formula gets a ' before it; numbers do not."""
    if not isinstance(cell, str):
        return "" if cell is None else str(cell)
    shown = printable(cell)
    is_formula = shown.lstrip().startswith(FORMULA) and not NUMBER.fullmatch(shown.strip())
    return f"'{shown}" if is_formula else shown


def headings(names: Sequence[str]) -> list[str]:
    """The names of columns as a .csv file has them, all different."""
    return distinct([spreadsheet(name) for name in names])


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number appended to each repeated one."""
    taken: dict[str, None] = {}
    used: dict[str, int] = {}
    for name in names:
        other = name
        while other in taken:
            used[name] = used.get(name, 1) + 1
            other = f"{name}_{used[name]}"
        taken[other] = None
    return list(taken)


def csv_line(cells: Sequence[Any]) -> str:
    """A line of a .csv file; a cell that holds a possible separator is quoted."""
    shown = [spreadsheet(cell) for cell in cells]
    quoted = [f'"{cell.replace(chr(34), chr(34) * 2)}"' if re.search(r'[,;|"#]|^%|^\s|\s$', cell) else cell
              for cell in shown]  # fmt: skip
    return (",".join(quoted) or '""') + "\n"
