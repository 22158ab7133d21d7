"""What a notebook does: vaecli.load, vaecli.train, and a run asked with arrays, tensors and data frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.command_line import called

import vaecli

TABLE = ("dataset=arrays", "decoder=gaussian", "dataset.standardize=true", "latent_dim=2", "architecture.hidden=[8]",
         "epochs=2", "device=cpu")  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(5, 3, (80, 3))
    return pd.DataFrame(values, columns=["height", "weight", "age"], index=range(100, 180))


@pytest.fixture(scope="module")
def table(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> vaecli.Run:
    folder = tmp_path_factory.mktemp("notebook")
    frame.to_csv(folder / "table.csv", index=False)
    return vaecli.train(*TABLE, f"dataset.path={folder / 'table.csv'}", f"output={folder / 'run'}")


def test_dir_lists_what_a_notebook_uses() -> None:
    assert dir(vaecli) == ["Run", "UserError", "__version__", "load", "train"]


def test_a_frame_comes_back_as_a_frame(table: vaecli.Run, frame: pd.DataFrame) -> None:
    shuffled = frame[["age", "height", "weight"]]
    codes = table.encode(shuffled)
    assert list(codes.columns) == ["z_1", "z_2"]
    assert codes.index.equals(frame.index)
    np.testing.assert_array_equal(codes.to_numpy(), table.encode(frame.to_numpy()))
    again = table.reconstruct(shuffled)
    assert list(again.columns) == ["height", "weight", "age"]
    scores = table.log_prob(shuffled, k=20)
    assert isinstance(scores, pd.Series)
    assert scores.index.equals(frame.index)


def test_the_units_are_those_of_the_data(table: vaecli.Run) -> None:
    new = table.sample(500, draw=True)
    assert new.shape == (500, 3)
    assert abs(float(new.mean()) - 5) < 1
    assert 1 < float(new.std()) < 6


def test_each_kind_gives_the_same_numbers(table: vaecli.Run, frame: pd.DataFrame) -> None:
    x = frame.to_numpy()[:7]
    loc, scale = table.encode(x, scale=True)
    with torch.no_grad():
        q_z = table.model.encode(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(loc, q_z.mean, rtol=1e-6)
    np.testing.assert_allclose(scale, q_z.stddev, rtol=1e-6)
    tensor = table.encode(torch.tensor(x))
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad
    np.testing.assert_allclose(tensor, loc, rtol=1e-6)
    np.testing.assert_allclose(table.encode(x.tolist()), loc, rtol=1e-6)
    np.testing.assert_allclose(table.encode(x[0]), loc[:1], rtol=1e-5)


def test_log_prob_lies_above_the_elbo(table: vaecli.Run, frame: pd.DataFrame) -> None:
    x = frame.to_numpy()
    assert float(table.log_prob(x, k=200).mean()) > float(table.elbo(x, n_samples=20).mean())


def test_log_prob_is_that_of_evaluate(table: vaecli.Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "rows.csv", index=False)
    done = called(
        "evaluate", f"run={table.folder}", "input=rows.csv", "k=50", "scores=true", "output=e.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "e.scores.npz") as scores:
        np.testing.assert_allclose(table.log_prob(frame.to_numpy(), k=50), -scores["nll"], rtol=1e-4)


def test_observations_are_those_that_evaluate_scores(table: vaecli.Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    x = table.observations("test", 3)
    assert table.observations().shape[1:] == (3,)
    np.testing.assert_array_equal(x, table.observations()[:3])
    assert all(np.isclose(frame.to_numpy(), row, rtol=1e-6).all(1).any() for row in x)
    done = called("evaluate", f"run={table.folder}", "limit=3", "k=50", "scores=true", "output=e.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "e.scores.npz") as scores:
        np.testing.assert_allclose(table.log_prob(x, k=50), -scores["nll"], rtol=1e-4)
    with pytest.raises(vaecli.UserError, match="split"):
        table.observations("testing")
    with pytest.raises(vaecli.UserError, match="n=0"):
        table.observations("test", 0)


def test_a_frame_goes_by_position_where_the_data_have_no_names(tmp_path: Path) -> None:
    x = np.random.default_rng(1).random((60, 4))
    np.save(tmp_path / "x.npy", x)
    run = vaecli.train(*TABLE, f"dataset.path={tmp_path / 'x.npy'}", f"output={tmp_path / 'run'}")
    codes = run.encode(pd.DataFrame(x, columns=list("abcd")))
    np.testing.assert_array_equal(codes.to_numpy(), run.encode(x))
    with pytest.raises(vaecli.UserError, match="lacks 4 of 4 columns"):
        run.encode(pd.DataFrame(x[:, :3], columns=list("abc")))


def test_gradients_are_there_when_asked_for(table: vaecli.Run, frame: pd.DataFrame) -> None:
    x = torch.tensor(frame.to_numpy()[:2], dtype=torch.float32, requires_grad=True)
    table.reconstruct(x, grad=True).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).any())
    assert not any(parameter.requires_grad is False for parameter in table.model.parameters())


def test_images_are_taken_without_their_channel(digits_run: Path) -> None:
    run = vaecli.load(digits_run, device="cpu")
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    np.testing.assert_allclose(run.encode(x), run.encode(x[:, None] / 255), rtol=1e-5)
    assert run.decode(run.encode(x)).shape == (3, 1, 8, 8)
    assert "latents" in repr(run)


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((3, 7)), r"x has the shape \(3, 7\); expected \(N, 3\)"),
    ("text", "x should hold numbers"),
    (np.full((2, 3), np.nan), "x holds values that are not finite"),
    (pd.DataFrame({"height": [1.0], "age": [2.0]}), "x: has no column weight .*did you mean height"),
    (pd.DataFrame({"age": [2.0]}), r"x: lacks 2 of 3 columns .*: height, weight\nIt has column age"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(x: object, message: str, table: vaecli.Run) -> None:
    with pytest.raises(vaecli.UserError, match=message):
        table.encode(x)


def test_pictures_beyond_the_range_are_refused(digits_run: Path) -> None:
    """As the command line does: 0 to 255 as real numbers for a run on 0 to 1."""
    run = vaecli.load(digits_run, device="cpu")
    x = np.random.default_rng(0).uniform(0, 255, (3, 8, 8))
    for method in (run.encode, run.reconstruct, run.elbo, run.log_prob):
        with pytest.raises(vaecli.UserError, match=r"x: holds values in \[.*\]; images go from 0 to 1"):
            method(x)
    with pytest.raises(vaecli.UserError, match="images go from 0 to 1"):
        run.encode(torch.tensor(x, requires_grad=True), grad=True)


def test_latents_and_gradients_that_do_not_fit(table: vaecli.Run) -> None:
    with pytest.raises(vaecli.UserError, match=r"z has the shape \(4,\); expected \(N, 2\)"):
        table.decode(np.zeros(4))
    with pytest.raises(vaecli.UserError, match=r"grad=True: z should be a torch\.Tensor, not ndarray"):
        table.decode(np.zeros((1, 2)), grad=True)


def test_train_raises_what_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vaecli.UserError, match="unknown key epoch; did you mean epochs"):
        vaecli.train("epoch=2")
    with pytest.raises(vaecli.UserError, match="decoder=gaussain: no such option"):
        vaecli.train("decoder=gaussain")
    assert list(tmp_path.iterdir()) == []


def test_train_goes_on_with_a_run(table: vaecli.Run) -> None:
    longer = vaecli.train(f"resume={table.folder}", "epochs=3")
    assert longer.folder == table.folder
    assert longer.epoch >= table.epoch
    assert "vae-train resume=" not in (table.folder / "config.yaml").read_text()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[vaecli.Run, pd.DataFrame]:
    """A run on a table of categories, truth values, whole numbers and gaps, and the table as pandas reads it."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.3f},{'' if i % 9 == 0 else ['red', 'blue', 'green'][i % 3]},{str(i % 2 == 0).lower()},"
             f"{i % 4 + 3},{'' if i % 7 == 0 else rng.poisson(20)}" for i in range(120)]  # fmt: skip
    (folder / "table.csv").write_text("\n".join(["delta,colour,smoker,wheels,visits", *lines]) + "\n")
    run = vaecli.train("dataset=arrays", f"dataset.path={folder / 'table.csv'}", "latent_dim=2", "epochs=2",
                       "architecture.hidden=[8]", "device=cpu", f"output={folder / 'run'}")  # fmt: skip
    return run, pd.read_csv(folder / "table.csv")


def test_a_frame_of_texts_is_read_as_the_data_are(mixed: tuple[vaecli.Run, pd.DataFrame]) -> None:
    run, frame = mixed
    codes = {"colour": ["blue", "green", "red"], "smoker": ["false", "true"], "wheels": ["3", "4", "5", "6"]}
    coded = np.stack([[{str(v).lower(): i for i, v in enumerate(codes[name])}.get(str(v).lower(), np.nan)
                       for v in frame[name]] if name in codes else frame[name] for name in run.columns], 1)  # fmt: skip
    assert np.isnan(coded[0, 1])
    assert np.nanmax(coded[:, 1:4]) == 3
    np.testing.assert_array_equal(run.encode(frame).to_numpy(), run.encode(coded))
    np.testing.assert_array_equal(run.log_prob(frame, k=5).to_numpy(), run.log_prob(coded, k=5))
    again = run.reconstruct(frame)
    assert set(again["colour"]) <= set(codes["colour"])
    assert set(again["smoker"]) <= {"false", "true"}
    assert run.encode(again).shape == (120, 2)
    pd.testing.assert_frame_equal(run.decode(run.encode(frame)), again)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("wheels", 9.0, "column wheels: 9 in row 1 should be the number of a category, from 0 to 3"),
     ("colour", 3.0, "column colour: 3 in row 1 should be the number of a category, from 0 to 2"),
     ("smoker", 0.5, "column smoker: 0.5 in row 1 should be the number of a category, from 0 to 1")],
)  # fmt: skip
def test_impossible_values_are_refused(
    column: str, value: float, message: str, mixed: tuple[vaecli.Run, pd.DataFrame]
) -> None:
    run, _ = mixed
    x = np.array([0.1, 0, 1, 2, 20])
    assert len(run.log_prob(x, k=5)) == 1
    x[run.columns.index(column)] = value
    for method in (run.encode, run.log_prob, run.elbo, run.reconstruct):
        with pytest.raises(vaecli.UserError, match=message):
            method(x)


def test_a_frame_of_no_rows_gives_one_of_no_rows(mixed: tuple[vaecli.Run, pd.DataFrame]) -> None:
    run, frame = mixed
    none = frame.head(0)
    assert run.encode(none).shape == (0, 2)
    assert list(run.reconstruct(none).columns) == list(frame.columns)
    assert len(run.log_prob(none, k=3)) == 0


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("colour", "mauve", r"column colour: mauve is not one of the run's categories \(blue, green, red\)"),
        ("delta", "much", "column delta should hold numbers"),
    ],
)
def test_a_frame_of_other_texts_is_refused(
    mixed: tuple[vaecli.Run, pd.DataFrame], column: str, value: str, message: str
) -> None:
    run, frame = mixed
    with pytest.raises(vaecli.UserError, match=message):
        run.encode(frame.assign(**{column: value}))


def test_wrong_arguments_are_user_errors(table: vaecli.Run, frame: pd.DataFrame) -> None:
    x = frame.to_numpy()[:3]
    wrong = {
        "n=-3: should be greater than 0": lambda: table.sample(-3),
        "n=2.5: should be": lambda: table.sample(2.5),  # type: ignore[arg-type]
        "temperature=-1.0: should be": lambda: table.sample(2, temperature=-1.0),
        "k=0: should be greater than 0": lambda: table.log_prob(x, k=0),
        "n_samples=0: should be": lambda: table.elbo(x, n_samples=0),
        "complex numbers": lambda: table.encode(x + 1j),
        "z holds values that are not finite": lambda: table.decode(np.full((2, 2), np.inf)),
        "checkpoint=worst: should be": lambda: vaecli.load(table.folder, checkpoint="worst"),
        "expected texts, as in train": lambda: vaecli.train(["dataset=digits"]),  # type: ignore[arg-type]
    }
    for message, call in wrong.items():
        with pytest.raises(vaecli.UserError, match=message):
            call()
    assert table.sample(np.int64(2)).shape == (2, 3)  # type: ignore[arg-type]


def test_values_outside_the_support_have_no_density(tmp_path: Path) -> None:
    run = vaecli.train("dataset=digits", "dataset.limit=60", "epochs=1", "architecture.hidden=[8]", "device=cpu",
                       f"output={tmp_path / 'run'}")  # fmt: skip
    with pytest.raises(vaecli.UserError, match=r"x: holds values in \[0, 300\]; images go from 0 to 1"):
        run.log_prob(np.stack([np.zeros((8, 8)), np.full((8, 8), 300.0)]), k=5)
