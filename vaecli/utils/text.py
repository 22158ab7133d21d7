"""How a text from elsewhere leaves the program: one function for each place where it may end up.

The names of labels, columns, files, folders and runs, and what a run's files say, can be anything: formulas of a
spreadsheet, mathematics that does not parse, markup, sequences that steer a terminal, thousands of characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FORMULA = tuple("=+-@＝＋－＠")  # what a spreadsheet's formulas begin with (OWASP, CSV injection)


def printable(text: str) -> str:
    """`text` with what would move the cursor, colour the terminal or break the line written out, as in \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, most: int = 3000) -> str:
    """`text`, its middle left out where it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def lines(text: str) -> str:
    """`text` of several lines, each of them printable."""
    return "\n".join(map(printable, text.split("\n")))


def rich(text: str) -> Any:
    """A line for a table of rich's, in which it finds neither markup nor emoji."""
    from rich.text import Text

    return Text(printable(text))


def say(line: str, console: Any = None, style: str = "") -> None:
    """Print a line, without a console to standard output."""
    if console is None:
        print(printable(line))
    else:
        console.print(rich(line), style=style, highlight=False, soft_wrap=True)


def figure(text: str, most: int = 200) -> str:
    """A line for a figure, in which matplotlib finds no mathematics; of `_name` it would make no entry of a legend."""
    shown = shorten(printable(text), most).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def tensorboard(text: str) -> str:
    """A line for TensorBoard, whose table of labels has a line for each and no empty ones."""
    return printable(text) if text.strip() else repr(printable(text))


def spreadsheet(cell: Any) -> str:
    """A cell of a .csv file: a text that a spreadsheet would compute gets a ' before it; numbers stay numbers."""
    if not isinstance(cell, str):
        return "" if cell is None else str(cell)
    shown = printable(cell)
    is_formula = shown.lstrip().startswith(FORMULA) and not NUMBER.fullmatch(shown.strip())
    return f"'{shown}" if is_formula else shown


def headings(names: Sequence[str]) -> list[str]:
    """What columns with these names are called in a .csv file, no two alike."""
    return distinct([spreadsheet(name) for name in names])


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind one that was there before."""
    found: dict[str, None] = {}
    used: dict[str, int] = {}
    for name in names:
        other = name
        while other in found:
            used[name] = used.get(name, 1) + 1
            other = f"{name}_{used[name]}"
        found[other] = None
    return list(found)


def csv_line(cells: Sequence[Any]) -> str:
    """A line of a .csv file; what could be taken for any separator stands in quotes."""
    shown = [spreadsheet(cell) for cell in cells]
    quoted = [f'"{cell.replace(chr(34), chr(34) * 2)}"' if re.search(r'[,;|"#]|^%|^\s|\s$', cell) else cell
              for cell in shown]  # fmt: skip
    return (",".join(quoted) or '""') + "\n"
