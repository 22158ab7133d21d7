"""What a notebook does: vaecli.load, vaecli.train, and a run asked with arrays, tensors and data frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

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
    (pd.DataFrame({"height": [1.0], "age": [2.0]}), "x has no column weight; expected height, weight, age"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(x: object, message: str, table: vaecli.Run) -> None:
    with pytest.raises(vaecli.UserError, match=message):
        table.encode(x)


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
