"""Figures of rows of a table: columns by name, in standard units, 24 at most."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.command_line import called
from support.figures import check, words
from support.thinned import each_once

from vaecli.commands import data as data_command
from vaecli.plots.columns import Columns, Reference, moments, short_number
from vaecli.plots.histograms import correlations, edges
from vaecli.plots.odd_rows import ExcessSurprisal, show_odd_rows
from vaecli.plots.style import SCREEN
from vaecli.plots.tables import TablePlots

LONG = "the diameter of the largest of all spots on the leaf, in millimetres, as two people have measured it"
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def table(d: int, n: int = 200) -> tuple[TablePlots, np.ndarray]:
    """Columns of all magnitudes, one that never varies, some values missing, and the plots of them."""
    x = RNG.standard_normal((n, d)) * 10.0 ** RNG.integers(-6, 7, d) + 10.0 ** RNG.integers(0, 6, d)
    x[:, d // 2] = 3.0
    x[::7, 0] = np.nan
    names = [LONG if i == 1 else f"column {i}" for i in range(d)]
    return TablePlots(names, Reference(*moments(x), x)), x


FIGURES = ["data", "reconstructions", "samples", "strips", "manifold", "fit", "path"]
ONE_COLUMN = [pytest.param(name, 1, marks=pytest.mark.slow) for name in FIGURES]


@pytest.mark.parametrize(("name", "d"), [*each_once(FIGURES, [2, 30]), *ONE_COLUMN])
def test_all_figures_of_a_table(name: str, d: int) -> None:
    view, x = table(d)
    title = f"what it shows, and that at some length, {LONG}\nrun, epoch 3"
    grid = x[:9].reshape(3, 3, d)
    rows = view.most_rows(7)
    strips = np.tile(x[:7], (rows, 1, 1))
    labels = [f"$z_{{{r}}}$   KL 0.00" for r in range(rows)]
    n = view.most_observations(3)
    draw: dict[str, Callable[[], Figure]] = {
        "data": lambda: view.data(x, title),
        "samples": lambda: view.samples(x[:100] + 1, title),
        "reconstructions": lambda: view.reconstructions(
            x[:n], [("reconstruction", x[:n]), (LONG, x[:n])], ["ELBO -1234.5"] * n, title
        ),
        "strips": lambda: view.strips(strips, labels, None, title),
        "path": lambda: view.strips(strips[:1], [""], ["data 3", *"12345", "data 8"], title, mark=[0, -1]),
        "manifold": lambda: view.manifold(grid, np.linspace(-3, 3, 3), (0, 1), title),
        "fit": lambda: view.fit(x[0], x[1], title),
    }
    figure = check(draw[name]())
    width, height = figure.get_size_inches()
    assert width <= SCREEN[0] + 1
    assert height <= SCREEN[1] + 1.5
    assert "column" in words(figure)


def test_the_reference_is_read_once_and_only_to_be_drawn() -> None:
    read = []
    _, x = table(2)

    def reference() -> Reference:
        read.append(1)
        return Reference(*moments(x), x)

    view = TablePlots(["a", "b"], reference)
    assert view.show_draws
    assert not read
    for _ in range(2):
        check(view.samples(x[:20], "samples"))
    assert read == [1]


def test_columns_that_vary_most_are_drawn() -> None:
    names = [f"c{i}" for i in range(40)]
    x = RNG.standard_normal((300, 40))
    x[:, ::3] *= 0.1  # 14 of 40 hardly vary in the data's units
    chosen = Columns.choose(names, Reference(np.zeros(40), np.ones(40)), x)
    assert len(chosen.names) == 24
    assert all(int(name[1:]) % 3 for name in chosen.names)
    assert chosen.note == "the 24 of 40 columns that vary most"
    assert chosen.names == sorted(chosen.names, key=lambda name: int(name[1:]))
    assert Columns.choose(names[:24], None, x[:, :24]).note == ""


def test_standard_and_own_units() -> None:
    x = np.array([[1.0, 700.0], [3.0, 900.0]])
    chosen = Columns.choose(["a", "b"], None, x)
    assert chosen.standard(x).tolist() == [[-1, -1], [1, 1]]
    assert chosen.own_units() == ["2.0 ± 1.0", "800 ± 100"]
    assert [short_number(v, s) for v, s in [(5.843, 0.828), (-12.3456, 0.0123), (250_000, 30_000), (-3e-9, 2e-9)]] == [
        "5.84", "\N{MINUS SIGN}12.346", "250.0k", "\N{MINUS SIGN}3.0n",
    ]  # fmt: skip


def test_correlations_leave_out_what_is_missing() -> None:
    x = RNG.standard_normal((500, 3))
    x[:, 1] = 2 * x[:, 0] + 5
    assert np.allclose(correlations(x), np.corrcoef(x, rowvar=False))
    x[:100, 1] = np.nan
    found = correlations(x)
    assert found[0, 1] == pytest.approx(1, abs=0.01)
    assert found[0, 2] == pytest.approx(np.corrcoef(x[:, 0], x[:, 2])[0, 1])
    x[:, 2] = 1.0
    assert np.isnan(correlations(x)[0, 2])


def test_samples_stand_against_the_data() -> None:
    x = RNG.standard_normal((1000, 3))
    view = TablePlots(["a", "b", "c"], Reference(*moments(x), x))
    figure = check(view.samples(x + 100, None))
    assert "correlations of the data" in words(figure)
    assert "correlations of the samples" in words(figure)
    assert "100.0 %\nbeyond" in words(figure)  # and the data are still to be seen
    assert "data" not in words(check(TablePlots(["a", "b", "c"]).samples(x)))


def test_cells_show_own_units_where_there_is_room() -> None:
    x = np.array([[[2010.0, 5.0], [2030.0, 5.0]]])
    view = TablePlots(["a", "b"], Reference(np.array([2020.0, 5.0]), np.array([10.0, 1.0])))
    figure = check(view.strips(np.repeat(x, 3, axis=1), ["$z_{1}$"]))
    assert words(figure).split().count("2030") == 3
    assert "2020 ± 10" in words(figure)
    many = view.strips(np.repeat(x, 40, axis=1), ["$z_{1}$"])
    assert words(many).split().count("2030") == 0


def test_categories_are_bars_with_their_texts() -> None:
    x = np.stack([np.arange(60.0) % 3, np.arange(60.0) % 15], 1)
    texts = [["<a>", "b$", "c"], [f"k{i}" for i in range(15)]]
    figure = check(TablePlots(["few", "many"], Reference(*moments(x), x), texts).samples(x[:30]))
    shown = words(figure)
    assert {"<a>", "c", "k0", "others"} <= set(shown.split("\n")) or all(
        word in shown for word in ("<a>", "k0", "others")
    )
    assert "k14" not in shown


def test_cells_show_the_texts_of_categories() -> None:
    x = np.array([[[2010.0, 0.0], [2020.0, 1.0], [2030.0, 2.0]]])
    reference = Reference(np.array([2020.0, 1.0]), np.array([10.0, 0.8]))
    view = TablePlots(["a", "b"], reference, [None, ["low", "mid", "high"]])
    figure = check(view.strips(x, ["$z_{1}$"]))
    assert [word for word in words(figure).split() if word in ("low", "mid", "high")] == ["low", "mid", "high"]
    assert "3 categories" in words(figure)
    assert "1.00" not in words(figure)


def test_reconstructions_name_categories() -> None:
    """One reconstruction is written beside the data; of several the codes are drawn, as there is no room."""
    view = TablePlots(["n", "city"], Reference(np.zeros(2), np.ones(2)), [None, ["Oslo", "Rome"]])
    x, other = np.array([[0.5, 0.0], [1.0, np.nan]]), np.array([[0.4, 1.0], [1.1, 1.0]])
    figure = check(view.reconstructions(x, [("reconstruction", other)]))
    written = words(figure).split()
    assert [written.count(name) for name in ("Oslo", "Rome")] == [1, 2]
    assert [np.isnan(line.get_xdata()).sum() for line in figure.axes[0].lines[1:3]] == [1, 1]
    assert "Rome" not in words(check(view.reconstructions(x, [("a", other), ("b", other)])))


@pytest.mark.parametrize(("low", "high", "n"), [(18, 79, 25), (0, 8, 32), (-3, 1000, 40), (5, 5, 8)])
def test_bins_of_whole_numbers_hold_equally_many(low: int, high: int, n: int) -> None:
    whole = np.arange(low, high + 1)
    ends = np.array(edges(np.array([low, high]), low - 0.05 * (high - low), high + 0.05 * (high - low), n))
    counts = np.histogram(np.arange(-100, 2000), ends)[0]
    assert len(set(counts.tolist())) == 1
    assert len(counts) <= n
    assert ends[0] < whole[0]
    assert whole[-1] < ends[-1]


def test_a_flagged_row_without_an_odd_column_says_so() -> None:
    scores = np.array([-3.0, -9.0, -2.0])
    excess = ExcessSurprisal(["a", "b"], ["0", "1"], np.array([[7.3, 0.2], [0.1, np.nan]]))
    said = words(check(show_odd_rows(scores - 1, scores, scores < -2.5, excess, "title")))
    assert "7.3" in said
    assert "0.2" not in said
    assert said.count("no column by itself") == 1
    assert "log scale" in said


def test_an_outlier_leaves_the_others_apart() -> None:
    x = np.array([[0.5, -0.5, 5e6], [0.0, 1.0, -2.0]])
    view = TablePlots(["a", "b", "c"], Reference(np.zeros(3), np.ones(3)))
    figure = check(view.reconstructions(x, [("reconstruction", x * 0.9)]))
    low, high = figure.axes[0].get_xlim()
    assert -8 <= low < high == 8
    assert "5.0M" in words(figure)  # the value itself, beside its arrow
    assert "4.5M" not in words(figure)


def test_labels_of_steps_lie_at_equal_distances() -> None:
    view = TablePlots(["a", "b", "c"], Reference(np.zeros(3), np.ones(3)))
    numbers = [f"{t:.2f}" for t in np.linspace(0, 1, 12)]
    path = check(view.strips(RNG.standard_normal((1, 14, 3)), [""], ["data 3", *numbers, "data 500"], "title"))
    assert [label.get_text() for label in path.axes[0].get_xticklabels()] == ["data 3", *numbers, "data 500"]
    latents = check(view.strips(RNG.standard_normal((6, 9, 3)), list("abcdef"), [f"{k / 3:.1f}" for k in range(-9, 0)]))
    places = latents.axes[0].get_xticks()
    assert len(places) > 2
    assert len(set(np.diff(places))) == 1


def test_scores_beyond_the_axis_are_counted() -> None:
    ordinary, scores = -20 + RNG.standard_normal(80), np.append(-20 + RNG.standard_normal(50), [-145.0, -863.0])
    figure = check(show_odd_rows(ordinary, scores, scores < -100, None, "title"))
    assert "2 of the rows below" in words(figure)
    assert figure.axes[0].get_xlim()[0] > -100
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= figure.axes[0].get_window_extent().y1 - 1  # above the bars, not on them
    figure = check(show_odd_rows(ordinary, scores[:50], scores[:50] < -100, None, "title"))
    assert "of the rows below" not in words(figure)
    assert figure.axes[0].get_xlim()[0] > min(scores[:50].min(), ordinary.min()) - 1  # no empty room at the left


def test_a_look_at_data_calls_them_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{i * 0.7:.1f},{i % 7 + 0.5},{(i * i) % 11 + 0.1}" for i in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")
    drawn: list[Figure] = []
    monkeypatch.setattr(data_command, "write_figure", lambda path, figure: drawn.append(figure))
    done = called("data", "input=x.csv", "output=look.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "correlations of the data" in words(drawn[0])
    assert "samples" not in words(drawn[0])


def test_a_few_values_far_out_do_not_squeeze_a_histogram() -> None:
    x = RNG.standard_normal((300, 5))
    x[3:5, 1] = [9e7, -4e6]
    figure = check(TablePlots(list("abcde")).data(x))
    low, high = figure.axes[1].get_xlim()
    assert -6 < low < x[5:, 1].min()
    assert x[5:, 1].max() < high < 6
    assert words(figure).count("beyond") == 1
    assert "2 values" in words(figure)
    assert len({ax.get_position().y0 for ax in figure.axes[:5]}) == 1  # five columns: no panel in a row of its own
