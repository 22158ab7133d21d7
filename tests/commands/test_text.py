"""How texts from elsewhere leave the program."""

from __future__ import annotations

import csv
import io

import pytest
from matplotlib.cbook import is_math_text
from rich.console import Console
from support.names import NASTY

from vaecli.plots.style import canvas, wrap
from vaecli.plots.view import figure_array
from vaecli.utils import text
from vaecli.utils.errors import UserError


@pytest.mark.parametrize("number", ["-3.5", "+1", "-.5e-3", "1e5", "-12.", "0"])
def test_numbers_stay_numbers(number: str) -> None:
    assert text.spreadsheet(number) == number


@pytest.mark.parametrize("formula", ["=1", "+a", "-2+3", "@SUM(1)", " =1", "=cmd|' /C calc'!A0", "-1_0", "－１"])
def test_formulas_become_text(formula: str) -> None:
    assert text.spreadsheet(formula) == f"'{formula}"


def test_headings_are_distinct() -> None:
    assert text.headings(["a", "=a", "a", "'=a", "a_2", "a"]) == ["a", "'=a", "a_2", "'=a_2", "a_2_2", "a_3"]
    assert len(set(text.headings(NASTY))) == len(NASTY)


def test_a_line_of_csv_is_one_row() -> None:
    lines = [text.csv_line(NASTY), text.csv_line([""]), text.csv_line([1, None, -2.5])]
    rows = list(csv.reader(io.StringIO("".join(lines))))
    assert rows == [[text.spreadsheet(name) for name in NASTY], [""], ["1", "", "-2.5"]]


def test_nothing_is_markup_or_emoji() -> None:
    file = io.StringIO()
    for name in NASTY:
        text.say(name, Console(file=file, force_terminal=True, color_system=None, width=20))
    assert file.getvalue().split("\n")[:-1] == [text.printable(name) for name in NASTY]


@pytest.mark.parametrize("width", [0.2, 0.5, 3.0])
def test_nothing_is_mathematics(width: float) -> None:
    figure = canvas(4, 3)
    for name in NASTY:
        lines = wrap(text.figure(name, 100), width, 10)
        assert not any(map(is_math_text, lines.split("\n")))
        figure.text(0, 0, lines)
    figure_array(figure)


def test_a_message_has_two_lines_at_most() -> None:
    assert str(UserError("a\nb\nc\x1b")) == "a\nb\\nc\\x1b"
