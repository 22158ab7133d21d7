"""Figures: every kind of observation, any number of them, and nothing written outside the figure or over something."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.figures import check, words
from support.thinned import each_once, every

from vaecli.plots import style
from vaecli.plots.differences import differences
from vaecli.plots.images import GAP_GREY, ImagePlots, tile
from vaecli.plots.latents import latents
from vaecli.plots.style import number, text_size, wrap
from vaecli.plots.training import curves, series, view_limits
from vaecli.plots.view import View, figure_array, view

LONG = "IWAE with a residual network, 64 importance samples and a mixture prior of 500 components, second run"
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 20, 13), (3, 64, 64), (30,)]
SMALL_SHAPES = [(1, 8, 8), (3, 20, 13), (30,)]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make(x_shape: tuple[int, ...]) -> View:
    return view(x_shape, torch.linspace(0, 1, x_shape[0]) if len(x_shape) == 1 else None, "log p(t)")


@pytest.mark.parametrize(("x_shape", "n"), each_once(SHAPES, [1, 7, 64]), ids=str)
def test_samples(x_shape, n):
    check(make(x_shape).samples(torch.rand(n, *x_shape), LONG))


@pytest.mark.parametrize(("x_shape", "size"), each_once(SMALL_SHAPES, [(6, 3), (1, 1)]), ids=str)
def test_reconstructions(x_shape, size):
    n, rows = size
    x = torch.rand(n, *x_shape)
    named = [(LONG, x)] + [(f"model {k}", x * 0.9) for k in range(1, rows)]
    figure = check(make(x_shape).reconstructions(x, named, [f"ELBO {-1000.1 - i}" for i in range(n)]))
    assert "model 1" in words(figure) or rows == 1
    check(make(x_shape).reconstructions(x.numpy(), named))


@pytest.mark.parametrize(("n", "label"), each_once([7, 1], [LONG, "a\nagainst\nb"]))
def test_differences(n, label):
    figure = check(differences([np.random.default_rng(i).normal(size=100) for i in range(n)], [label] * n, LONG))
    assert len(figure.axes) == n
    assert words(figure).count("orange: the mean") == n
    assert words(figure).count("this run better: ") == n


def test_many_reconstructions():
    x = torch.rand(64, 1, 8, 8)
    assert len(check(view((1, 8, 8)).reconstructions(x, [("fit", x)])).axes) == 7


@pytest.mark.parametrize(("x_shape", "n"), each_once(SMALL_SHAPES, [4, 1]), ids=str)
def test_manifold(x_shape, n):
    figure = check(make(x_shape).manifold(torch.rand(n, n, *x_shape), torch.linspace(-3, 3, n), (0, 11), LONG))
    assert "$z_{1}$" in words(figure)
    assert "$z_{12}$" in words(figure)


def test_manifold_has_its_first_row_at_the_bottom():
    x = torch.zeros(3, 3, 1, 4, 4)
    x[0, 2] = 1.0  # smallest value of the second dim, largest of the first: lower right
    picture = view((1, 4, 4)).manifold(x, np.arange(3), (0, 1)).axes[0].images[0].get_array()
    third = len(picture) // 3
    assert (picture[-third:, -third:] == 255).all()
    assert picture[:-third].max() == 0
    curves = view((5,), np.arange(5)).manifold(torch.arange(9.0).reshape(3, 3, 1).expand(3, 3, 5), np.arange(3), (0, 1))
    titles = {ax.get_title(): ax.lines[0].get_ydata()[0] for ax in curves.axes}
    assert titles["(2.0, 0.0)"] == 2.0
    assert curves.axes[-1].get_title() == "(2.0, 0.0)"


@pytest.mark.parametrize(("x_shape", "size"), each_once(SMALL_SHAPES, [(5, 7), (1, 11)]), ids=str)
def test_strips(x_shape, size):
    rows, columns = size
    x, labels = torch.rand(rows, columns, *x_shape), [f"z{r + 1}  KL {2.1 * r:.1f}" for r in range(rows)]
    check(make(x_shape).strips(x, labels, [f"{s - 3:.1f}" for s in range(columns)], LONG))
    check(make(x_shape).strips(x, [LONG] * rows, None, mark=[0, -1]))
    with pytest.raises(ValueError, match="row_labels"):
        make(x_shape).strips(x, [*labels, "one more"], None)


@pytest.mark.parametrize("x_shape", every(2, zip([(30,), (1, 8, 8), (1, 40, 10), (3, 20, 13), (1, 10, 40)])), ids=str)
def test_fit(x_shape):
    check(make(x_shape).fit(torch.rand(x_shape), torch.rand(x_shape), LONG))
    check(make(x_shape).fit(torch.zeros(x_shape), torch.zeros(x_shape)))


def test_tile_places_images_row_by_row():
    images = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 3, 2, 4)
    picture = tile(images, columns=4, zoom=2, gap=1)
    assert picture.shape == (2 * 5 + 1, 4 * 9 + 1, 3)
    assert picture.dtype == np.uint8
    assert (picture[6:10, 10:18] == 255).all()
    assert (picture[:, 0] == GAP_GREY).all()
    assert tile(images[:, :1], columns=3, gap=0).shape == (4, 12, 1)


def test_tile_clips():
    assert tile(torch.tensor([-3.0, 7.0]).reshape(2, 1, 1, 1), 2, gap=0).ravel().tolist() == [0, 255]


def test_pixels_of_samples_are_whole():
    x = torch.arange(49.0).remainder(2).reshape(1, 1, 7, 7).expand(16, 1, 7, 7)  # a chessboard
    pixels = figure_array(view((1, 7, 7)).samples(x))[..., 0]
    expected = tile(x, 4, ImagePlots((1, 7, 7))._zoom(4, 4))[..., 0]
    h, w = expected.shape
    found = [(i, j) for i in range(pixels.shape[0] - h + 1) for j in range(pixels.shape[1] - w + 1)]
    assert any((pixels[i : i + h, j : j + w] == expected).all() for i, j in found)


@pytest.mark.parametrize("kind", every(2, ["fifteen", "none", "three", "ten", "many", "floats"]))
def test_latents(kind):
    z = torch.randn(300, 10)
    labels, names = {
        "none": (None, None),
        "ten": (torch.arange(300) % 10, None),
        "fifteen": (np.arange(300) % 15, [f"a class with a long name {k}" for k in range(15)]),
        "many": (torch.arange(300) % 100, None),
        "one": (torch.rand(300, 1), ["a"]),
        "three": (torch.rand(300, 3), ["a", "b", "c"]),
        "floats": (torch.rand(300), None),
    }[kind]
    figure = check(latents(z, labels, (3, 1), torch.rand(10), names))
    assert "$z_{4}$" in words(figure)
    check(latents(z[:1, :1], None if labels is None else labels[:1], (0, 0), None, names))


def test_latents_shows_those_of_most_kl():
    figure = latents(torch.randn(20, 10), None, (0, 1), torch.arange(10.0))
    titles = [ax.get_title() for ax in figure.axes if "KL" in ax.get_title()]
    assert [title.split()[0] for title in titles] == [f"$z_{{{k}}}$" for k in range(10, 2, -1)]


def history(epochs: int, own_bound: bool = False) -> list[dict]:
    lines = []
    for epoch, split in itertools.product(range(1, epochs + 1), ("train", "val")):
        elbo = -1e6 if epoch == 1 else -100 - 20 / epoch
        terms = {"elbo": elbo, "bound": elbo + 5 * own_bound, "log_px": elbo + 20, "kl": 20.0}
        lines.append({"epoch": epoch, "step": 10 * epoch, "split": split, **terms, "loss": -elbo, "lr": 1e-3})
    return lines


@pytest.mark.parametrize("epochs", every(2, [0, 1, 30, 2, 2000]))
def test_training_curves(epochs):
    check(curves(history(epochs)))


def test_training_curves_without_val_and_another_bound():
    check(curves([line for line in history(5) if line["split"] == "train"]))
    assert "bound, val" in words(check(curves(history(5, own_bound=True))))


def test_a_huge_first_epoch_does_not_flatten_the_rest():
    low, high = curves(history(30)).axes[0].get_ylim()
    assert -110 < low < -104
    assert -101 < high < -99
    assert view_limits([np.array([1.0, 2.0, 3.0, 4.0, 5.0])])[0] < 1.0


def test_series_sorts_epochs_and_takes_the_last_line():
    lines = [{"epoch": e, "split": "val", "kl": v} for e, v in [(2, 1.0), (1, 2.0), (2, 3.0)]]
    epochs, values = series(lines, "val", "kl")
    assert epochs.tolist() == [1, 2]
    assert values.tolist() == [2, 3]


def test_view_by_shape():
    assert view((1, 28, 28)).x_shape == (1, 28, 28)
    assert view((40,)).x_shape == (40,)
    for wrong in [(8, 8), (), (1, 2, 3, 4)]:
        with pytest.raises(ValueError, match="expected"):
            view(wrong)
    with pytest.raises(ValueError, match="grid"):
        view((40,), np.arange(41))
    with pytest.raises(ValueError, match=r"expected the shape \(\.\.\., 1, 8, 8\), got \(3, 64\)"):
        view((1, 8, 8)).samples(torch.rand(3, 64))


def test_figure_array():
    figure = view((1, 8, 8)).samples(torch.rand(4, 1, 8, 8))
    pixels = figure_array(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert abs(figure_array(figure, 50).shape[0] * 2 - pixels.shape[0]) <= 2
    assert figure.dpi == 100


def test_text_is_wrapped_to_its_width():
    for text in (LONG, "W" * 80, "two\nlines", "$z_{1}$"):
        assert text_size(wrap(text, 1.5, 10), 10)[0] <= 1.5
    assert number(-0.01) == "0.0"
    assert number(-1.25, 2) == "\N{MINUS SIGN}1.25"


@pytest.mark.parametrize(
    ("n", "aspect", "expected"),
    [(64, 1.0, (8, 8)), (10, 1.0, (3, 4)), (8, 1.0, (2, 4)), (7, 1.0, (2, 4)), (5, 0.8, (2, 3)), (1, 9.0, (1, 1))],
)
def test_grids_are_nearly_square(n, aspect, expected):
    assert style.grid_shape(n, aspect) == expected


def test_no_pyplot():
    sources = list(Path(style.__file__).parent.glob("*.py"))
    assert len(sources) > 5
    assert not [path.name for path in sources if re.search("matplotlib.pyplot|import pyplot", path.read_text())]


def test_latents_look_at_where_the_points_are():
    z = torch.randn(2000, 2)
    z[0] = 300.0
    figure = check(latents(z, torch.arange(2000) % 10, (0, 1)))
    scatter = next(ax for ax in figure.axes if ax.get_ylabel())
    assert 3 < scatter.get_xlim()[1] < 8
    assert "1 of 2000 lie outside" in words(figure)
    assert "outside" not in words(latents(torch.randn(2000, 2), None, (0, 1)))


def test_one_latent_is_drawn_against_its_labels():
    for labels, names in [(torch.arange(50) % 3, ["a", "b", "c"]), (torch.rand(50, 2), ["p", "q"]), (None, None)]:
        check(latents(torch.randn(50, 1), labels, (0, 0), torch.rand(1), names))


@pytest.mark.parametrize("dims", [(0, 1), (0, 0)])
def test_many_classes_are_named_along_an_axis(dims):
    names = [f"tissue{k:02d}" for k in range(24)]
    figure = check(latents(torch.randn(480, 2), torch.arange(480) % 24, dims, label_names=names))
    (axis,) = [ax for ax in figure.axes if ax.get_ylabel() in ("class", "label")]
    assert [text.get_text() for text in axis.get_yticklabels()] == names[::2]
    assert list(axis.get_yticks()) == list(range(0, 24, 2))
    numbered = latents(torch.randn(480, 2), torch.arange(480) % 24, dims)  # without names
    assert "label" in words(numbered)


def test_round_ticks_stand_where_their_tiles_are():
    figure = check(view((1, 4, 4)).manifold(torch.rand(21, 21, 1, 4, 4), np.linspace(-3, 3, 21), (0, 1)))
    ax, side = figure.axes[0], figure.axes[0].images[0].get_array().shape[0]
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == [number(v) for v in range(-3, 4)]
    assert ax.get_xticks()[3] == pytest.approx(side / 2 - 0.5)  # 0 in the middle
    assert ax.get_yticks()[0] == pytest.approx(side - side / 42 - 0.5)  # -3 in the middle of the lowest tile


def test_many_curves_have_colours_of_their_own():
    x = torch.rand(3, 30)
    figure = check(make((30,)).reconstructions(x, [(f"draw {k}", x + k) for k in range(12)]))
    assert len({tuple(line.get_color()) for line in figure.axes[0].lines[1:]}) == 12


def test_a_few_curves_far_out_do_not_squeeze_the_others() -> None:
    t = np.linspace(0, 6, 30)
    x = np.sin(t + np.arange(40)[:, None])
    x[7] *= 80
    for n in (40, 9):
        figure = check(view((30,)).samples(x[:n], "curves\nrun"))
        assert figure.axes[0].get_ylim()[1] < 2
        assert "curves; 1 curve leaves the axes" in words(figure)
    figure = check(view((30,)).reconstructions(x[:10], [("reconstruction", x[:10] * 0.9)], title="curves\nrun"))
    assert figure.axes[1].get_ylim()[1] < 2
    assert "curves; 1 error leaves the axes" in words(figure)


def test_axes_of_curves_fit_the_data_and_have_a_name() -> None:
    t = torch.linspace(0, 6, 30)
    curves = 5 + 2 * torch.sin(t + torch.arange(4.0).unsqueeze(1))
    for label, name in (("", "value"), ("level", "level")):
        figure = check(view((30,), t, label).samples(curves))
        assert figure.axes[0].get_ylim()[0] > 2.5
        assert name in words(figure)
    assert check(view((30,), t).samples(curves - 2.9)).axes[0].get_ylim()[0] < 0


def test_titles_break_between_their_phrases() -> None:
    title = "linear path between the codes of observations 0 (label 3) and 1 (label 7) of the test split, means"
    assert style.heading(title, 7.4).title.split("\n")[1] == "of the test split, means"
