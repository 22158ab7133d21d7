"""Data sets: their sizes and splits, and how images become binary."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from support.making import instantiate
from support.splits import EVERYTHING, frequencies, load

from vaecli.datasets.beta import Beta
from vaecli.datasets.digits import Digits
from vaecli.datasets.split import Binarize, Split, Splits, image_split
from vaecli.utils.errors import UserError

BINARIZE: list[Binarize] = ["none", "threshold", "dynamic", "static"]


def rows(split: Split) -> list[bytes]:
    return [x.numpy().tobytes() for x in split.x]


# --- digits


def test_digits_are_disjoint_and_complete() -> None:
    from sklearn.datasets import load_digits

    splits = Digits().load()
    assert splits.val is not None
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [1297, 200, 300]
    original = load_digits()
    expected = sorted(zip((image.astype(np.uint8).tobytes() for image in original.images), original.target.tolist(),
                          strict=True))  # fmt: skip
    parts = (splits.train, splits.val, splits.test)
    found = [(x, int(y)) for part in parts for x, y in zip(rows(part), part.y, strict=True)]  # type: ignore[arg-type]
    assert sorted(found) == expected


def test_digits_are_scaled_to_the_unit_interval() -> None:
    train = Digits().load().train
    x = train.batch(EVERYTHING)
    assert x.dtype == torch.float32
    assert x.shape == (1297, 1, 8, 8)
    assert set((x.unique() * 16).tolist()) == set(range(17))
    torch.testing.assert_close(train.mean(), x.mean(0))


@pytest.mark.parametrize(("dataset", "size"), [("digits", ""), ("beta", "dataset.size=300")])
def test_splits_do_not_depend_on_the_seed(dataset: str, size: str) -> None:
    hashes = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        hashes.add(load(f"dataset={dataset}", f"seed={seed}", *([size] if size else [])).sha256())
    assert len(hashes) == 1


@pytest.mark.parametrize("val_size", [0, 1, 500, 1496])
def test_digits_val_size(val_size: int) -> None:
    full, splits = Digits(val_size=0).load(), Digits(val_size=val_size).load()
    assert len(splits.train) == 1497 - val_size
    assert (0 if splits.val is None else len(splits.val)) == val_size
    assert (splits.val is None) == (val_size == 0)
    assert rows(splits.train) + (rows(splits.val) if splits.val else []) == rows(full.train)
    assert rows(splits.test) == rows(full.test)


@pytest.mark.parametrize("val_size", [1497, 99999])
def test_digits_val_size_beyond_the_data(val_size: int) -> None:
    with pytest.raises(UserError, match=f"dataset.val_size={val_size}: should be at most 1496"):
        Digits(val_size=val_size).load()


@pytest.mark.parametrize("dataset", ["digits", "beta"])
def test_limit_caps_each_split_after_splitting(dataset: str) -> None:
    full, limited = load(f"dataset={dataset}"), load(f"dataset={dataset}", "dataset.limit=7")
    for whole, part in zip(full, limited, strict=True):
        assert whole is not None
        assert part is not None
        assert len(part) == 7
        assert rows(part) == rows(whole)[:7]
        assert torch.equal(torch.as_tensor(part.y), torch.as_tensor(whole.y)[:7])


def test_limit_beyond_the_data_changes_nothing() -> None:
    assert Digits(limit=5000).load().sha256() == Digits().load().sha256()


# --- binarisation


@pytest.mark.parametrize("binarize", BINARIZE)
def test_images_are_kept_as_bytes(binarize: Binarize) -> None:
    for part in Digits(binarize=binarize).load():
        assert part is not None
        assert part.x.dtype == torch.uint8
        x = part.batch(torch.arange(20))
        assert x.dtype == torch.float32
        assert float(x.min()) >= 0
        assert float(x.max()) == 1
        if binarize != "none":
            assert set(x.unique().tolist()) == {0, 1}


def test_threshold_is_a_half() -> None:
    grey, binary = Digits().load(), Digits(binarize="threshold").load()
    for g, b in zip(grey, binary, strict=True):
        assert g is not None
        assert b is not None
        assert torch.equal(b.batch(EVERYTHING), (g.batch(EVERYTHING) >= 0.5).float())


def test_dynamic_redraws_the_training_images_alone() -> None:
    splits, static = Digits(binarize="dynamic").load(), Digits(binarize="static").load()
    first, second = splits.train.batch(EVERYTHING), splits.train.batch(EVERYTHING)
    assert not torch.equal(first, second)
    for part, drawn in ((splits.val, static.val), (splits.test, static.test)):
        assert part is not None
        assert drawn is not None
        assert torch.equal(part.batch(EVERYTHING), part.batch(EVERYTHING))
        assert torch.equal(part.x, drawn.x)
    torch.manual_seed(1)
    one = splits.train.batch(slice(0, 9))
    torch.manual_seed(1)
    assert torch.equal(splits.train.batch(slice(0, 9)), one)


def test_static_is_drawn_once_from_its_own_seed() -> None:
    torch.manual_seed(0)
    once = Digits(binarize="static").load()
    torch.manual_seed(1)
    again, other = Digits(binarize="static").load(), Digits(binarize="static", binarize_seed=1).load()
    assert torch.equal(once.train.batch(EVERYTHING), once.train.batch(EVERYTHING))
    assert once.sha256() == again.sha256() != other.sha256()


@pytest.mark.parametrize("binarize", BINARIZE)
def test_limit_gives_a_prefix_of_what_would_be_drawn(binarize: Binarize) -> None:
    """More images than are drawn at a time, so that the draws do not depend on the chunks either."""
    x = torch.randint(0, 17, (5000, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    y = torch.zeros(5000, dtype=torch.int64)
    whole, part = (image_split(x[:n], y[:n], 16, binarize, (0, 1), train=False) for n in (5000, 4500))
    assert torch.equal(whole.head(4500).batch(EVERYTHING), part.batch(EVERYTHING))


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_frequencies_are_the_grey_values(binarize: Binarize) -> None:
    grey, drawn = Digits().load(), Digits(binarize=binarize).load()
    for g, d in zip(grey, drawn, strict=True):
        assert g is not None
        assert d is not None
        frequencies(d.batch(EVERYTHING), g.batch(EVERYTHING))


def test_val_and_test_images_are_drawn_independently() -> None:
    """The same images in each part come out different, as each has a seed of its own."""
    x = torch.full((50, 1, 4, 4), 8, dtype=torch.uint8)
    y = torch.zeros(50, dtype=torch.int64)
    parts = [image_split(x, y, 16, "static", (0, i), train=False).x for i in range(3)]
    assert not any(torch.equal(parts[i], parts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_mean_of_the_stored_images() -> None:
    for levels, x in ((255, torch.randint(0, 256, (5000, 1, 3, 3)).to(torch.uint8)), (1, torch.randn(50, 4))):
        split = Split(x, levels=levels)
        torch.testing.assert_close(split.mean(), x.double().mean(0).float() / levels)


def test_checksum_sees_every_part() -> None:
    splits = Digits().load()
    seen = {splits.sha256()}
    for i, part in enumerate(splits):
        assert part is not None
        x = part.x.clone()
        x[-1, 0, 7, 7] += 1
        changed = [*splits]
        changed[i] = Split(x, part.y, part.levels)
        seen.add(Splits(*changed).sha256())  # type: ignore[arg-type]
    assert len(seen) == 4
    assert Digits(binarize="dynamic").load().sha256() not in seen


# --- Beta curves


def test_beta_curves_are_scipys() -> None:
    dataset = Beta(size=50, val_size=20)
    splits = dataset.load()
    t = dataset.grid.numpy()
    np.testing.assert_allclose(t, np.linspace(0.01, 0.99, 100), rtol=1e-12)
    for part in splits:
        assert part is not None
        assert part.x.dtype == torch.float32
        a, b = torch.as_tensor(part.y).double().numpy().T[..., None]
        np.testing.assert_allclose(part.x.numpy(), scipy.stats.beta.logpdf(t, a, b), rtol=2e-5, atol=2e-5)
        assert torch.equal(part.batch(EVERYTHING), part.x)
    pdf = Beta(size=50, val_size=20, space="pdf").load()
    torch.testing.assert_close(pdf.train.x, splits.train.x.exp(), rtol=1e-5, atol=1e-6)


def test_beta_sizes() -> None:
    splits = load("dataset=beta")
    assert [0 if part is None else len(part) for part in splits] == [10_000, 1000, 1000]
    assert splits.train.x_shape == (100,)
    without = Beta(size=10, val_size=0, points=7).load()
    assert without.val is None
    assert without.train.x.shape == (10, 7)
    assert len(without.test) == 1000


def test_beta_parameters_are_uniform_and_independent() -> None:
    splits = Beta(max_parameter=5).load()
    y = torch.cat([torch.as_tensor(part.y) for part in splits if part is not None]).double().numpy()
    assert y.shape == (12_000, 2)
    assert y.min() > 0
    assert y.max() <= 5
    for column in y.T:
        assert scipy.stats.kstest(column / 5, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(y.T)[0, 1]) < 4 / 12_000**0.5
    assert len(np.unique(y, axis=0)) == len(y)  # no curve is in two parts
    assert float(torch.as_tensor(Beta(max_parameter=2.5, size=500).load().train.y).max()) == pytest.approx(
        2.5, abs=0.05
    )


def test_beta_seed() -> None:
    hashes = [Beta(size=20, seed=seed).load().sha256() for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_beta_refuses_a_single_point() -> None:
    with pytest.raises(UserError, match=r"dataset\.points=1:"):
        instantiate({"dataset": {"_target_": "vaecli.datasets.beta.Beta", "points": 1}}, "dataset")
