"""Grids, traversals, paths and codes: what they are in numbers, and the commands that draw them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.command_line import called, trained
from support.thinned import every
from torch.distributions import Normal

from vaecli import __main__ as cli
from vaecli.analysis.latent_space import (
    encode,
    interpolate,
    linear_path,
    linear_values,
    manifold,
    quantile_values,
    spherical_path,
    traverse,
)
from vaecli.analysis.metrics import kl_per_dim
from vaecli.commands.encode import squares
from vaecli.models.inference import evaluating
from vaecli.models.load import Run, load_run
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("without_hydra")
Command = Callable[..., str]


@pytest.fixture(scope="session")
def one_latent_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    args = ("dataset=digits", "latent_dim=1", "architecture.hidden=[16]", "epochs=1", "dataset.limit=200")
    return trained(tmp_path_factory.mktemp("one"), *args)


@pytest.fixture
def digits(digits_run: Path) -> Run:
    return load_run(str(digits_run), device="cpu")


@pytest.fixture
def beta(beta_run: Path) -> Run:
    return load_run(str(beta_run), device="cpu")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in this process, in an empty folder: what it prints, or its error message."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> str:
        ended = None
        try:
            cli.dispatch(args[0], list(args[1:]), "vae")
        except SystemExit as end:
            ended = end
        out, error = capsys.readouterr()
        if ended is None:
            return out
        assert ended.code == 1
        assert error.startswith("error: ")
        assert error.count("\n") <= 2
        return error

    return run


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=float)


# Mathematics


@pytest.mark.parametrize("span", [0.5, 3.0, 8.0])
def test_quantile_values_are_evenly_probable(span: float) -> None:
    values = quantile_values(21, span)
    torch.testing.assert_close(values, -values.flip(0))
    assert values[-1].item() == pytest.approx(span, rel=2e-3)
    shares = Normal(0.0, 1.0).cdf(values).diff()
    torch.testing.assert_close(shares, shares.mean().expand(20), rtol=0, atol=1e-6)


def test_values_lie_in_the_span() -> None:
    assert linear_values(5, 2.0).tolist() == [-2, -1, 0, 1, 2]
    with pytest.raises(UserError, match="span=9: spacing=quantile"):
        quantile_values(5, 9.0)


def test_spherical_path_is_an_arc() -> None:
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 4.0, 0.0])
    path = spherical_path(a, b, 7)
    torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))
    torch.testing.assert_close(path.norm(dim=1), torch.linspace(2, 4, 7))
    angles = torch.atan2(path[:, 1], path[:, 0])
    torch.testing.assert_close(angles, torch.linspace(0, math.pi / 2, 7))
    torch.testing.assert_close(path[:, 2], torch.zeros(7))


def test_a_spherical_path_keeps_the_length_of_its_ends() -> None:
    a, b = torch.nn.functional.normalize(torch.randn(2, 50), dim=1) * math.sqrt(50)
    torch.testing.assert_close(spherical_path(a, b, 11).norm(dim=1), torch.full((11,), math.sqrt(50)))
    assert linear_path(a, b, 11).norm(dim=1)[5] < 0.9 * math.sqrt(50)


@pytest.mark.parametrize("other", [[2.0, 0.0], [-3.0, 0.0], [0.0, 0.0], [1.0, 1e-9]])
def test_where_there_is_no_arc_the_path_is_straight(other: list[float]) -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor(other)
    torch.testing.assert_close(spherical_path(a, b, 5), linear_path(a, b, 5))
    torch.testing.assert_close(linear_path(a, b, 3)[1], (a + b) / 2)


def test_manifold_decodes_its_grid(digits: Run) -> None:
    found = manifold(digits.model, 4, 1.5, dims=(3, 1))
    assert found.z.shape == (4, 4, 5)
    assert found.x.shape == (4, 4, 1, 8, 8)
    assert found.values.tolist() == pytest.approx([-1.5, -0.5, 0.5, 1.5])
    assert found.z[0, 2].tolist() == [0, -1.5, 0, 0.5, 0]  # row: the second dim, column: the first
    with torch.no_grad():
        expected = digits.model.decode(torch.tensor([[0, -1.5, 0, 0.5, 0]])).mean
    torch.testing.assert_close(found.x[0, 2:3], expected)


def test_traversal_moves_one_latent_at_a_time(beta: Run) -> None:
    start = torch.tensor([0.3, -0.7])
    found = traverse(beta.model, 5, 2.0, start)
    assert found.x.shape == (2, 5, 100)
    assert found.z[0, :, 0].tolist() == [-2, -1, 0, 1, 2]
    assert found.z[0, :, 1].tolist() == pytest.approx([-0.7] * 5)
    assert found.z[1, :, 0].tolist() == pytest.approx([0.3] * 5)
    only = traverse(beta.model, 5, 2.0, start, [1])
    torch.testing.assert_close(only.x[0], found.x[1])
    assert traverse(beta.model, 3).z[0].tolist() == [[-3, 0], [0, 0], [3, 0]]


def test_interpolation_joins_two_codes(digits: Run) -> None:
    a, b = torch.randn(2, 5)
    for path in ("linear", "spherical"):
        found = interpolate(digits.model, a, b, 6, path)
        torch.testing.assert_close(found.z[[0, -1]], torch.stack([a, b]))
        with torch.no_grad():
            torch.testing.assert_close(found.x[-1:], digits.model.decode(b.unsqueeze(0)).mean)


def test_codes_are_the_posteriors(digits: Run) -> None:
    test = digits.dataset.load().test
    found = encode(digits.model, test)
    with evaluating(digits.model):
        q_z = digits.model.encode(test.batch(slice(250, 300)))
    torch.testing.assert_close(found.loc[250:], q_z.mean)
    torch.testing.assert_close(found.scale[250:], q_z.stddev)
    # the KL that the pictures are labelled with, in closed form: (m^2 + s^2 - 1) / 2 - log s
    expected = ((found.loc**2 + found.scale**2 - 1) / 2 - found.scale.log()).mean(0)
    torch.testing.assert_close(kl_per_dim(digits.model, test), expected, rtol=1e-4, atol=1e-5)


# Commands


PICTURES = [  # a run, a command line and the file: every second line by default; with the other run under `slow`
    ("digits_run", "manifold n=4", "manifold.png"),
    ("beta_run", "manifold n=3 dims=[1,0] spacing=quantile span=2.5", "manifold.png"),
    ("beta_run", "traverse", "traversals.png"),
    ("digits_run", "traverse index=3 steps=4 dims=[1] split=val", "traversals.png"),
    ("digits_run", "interpolate to=7", "interpolation.png"),
    ("beta_run", "interpolate from=5 to=5 path=spherical split=train steps=2", "interpolation.png"),
    ("digits_run", "reconstruct draws=3 n=4", "reconstructions.png"),
    ("beta_run", "encode", "latents.png"),
]


@pytest.mark.parametrize(("run", "line", "name"), [
    pytest.param(run, line, name, marks=pytest.mark.slow if usual != run or i % 2 else ())
    for i, (usual, line, name) in enumerate(PICTURES) for run in ("digits_run", "beta_run")
])  # fmt: skip
def test_pictures_are_written_into_the_run(
    run: str, line: str, name: str, command: Command, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    args = line.split()
    folder = request.getfixturevalue(run)
    (folder / name).unlink(missing_ok=True)
    assert f"wrote {folder / name}" in command(*args, f"run={folder}")
    assert pixels(folder / name).std() > 10
    elsewhere = tmp_path / "new" / "picture.png"
    if args[0] != "encode":
        assert f"wrote {elsewhere}" in command(*args, f"run={folder}", f"output={elsewhere}")
        assert (pixels(elsewhere) == pixels(folder / name)).all()


def test_the_command_line(beta_run: Path, tmp_path: Path) -> None:
    for name in ("encode", "manifold", "traverse", "interpolate"):
        done = called(name, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert f"vae {name}" in done.stdout
    done = called("interpolate", f"run={beta_run}", "from=2", "to=5", "output=path.png", cwd=tmp_path)
    said = "beta: 12,000 observations of 100 numbers; labels: alpha, beta (numbers)\n"
    said += "10,000 to train, 1,000 to validate, 1,000 to test\n"
    assert (done.returncode, done.stdout) == (0, f"{said}wrote path.png\n"), done.stderr
    done = called("manifold", f"run={beta_run}", "dims=[0,2]", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: dims=[0,2]: this run has the latents 0 to 1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["path.png"]


def test_encode_npz(digits_run: Path, digits: Run, command: Command, tmp_path: Path) -> None:
    command("encode", f"run={digits_run}", "output=codes.npz")
    with np.load(tmp_path / "codes.npz") as found:
        assert sorted(found) == ["labels", "loc", "scale"]
        assert found["loc"].shape == found["scale"].shape == (300, 5)
        assert (found["scale"] > 0).all()
        assert (found["labels"] == digits.dataset.load().test.y.numpy()).all()
    assert (tmp_path / "codes.png").is_file()


def test_encode_csv(beta_run: Path, beta: Run, command: Command, tmp_path: Path) -> None:
    command("encode", f"run={beta_run}", "output=codes.csv", "format=csv")
    lines = (tmp_path / "codes.csv").read_text().splitlines()
    assert lines[0] == "loc_1,loc_2,scale_1,scale_2,alpha,beta"
    values = torch.from_numpy(np.loadtxt(lines[1:], delimiter=",")).float()
    codes, y = encode(beta.model, beta.dataset.load().test), beta.dataset.load().test.y
    torch.testing.assert_close(values, torch.cat([codes.loc, codes.scale, y], dim=1))


def test_encode_input(digits_run: Path, digits: Run, command: Command, tmp_path: Path) -> None:
    x = digits.dataset.load().test.batch(slice(0, 7))
    np.save(tmp_path / "x.npy", x.numpy())
    command("encode", f"run={digits_run}", "input=x.npy", "output=codes.csv", "format=csv")
    lines = (tmp_path / "codes.csv").read_text().splitlines()
    assert len(lines) == 8
    assert lines[0].endswith("scale_5,row")
    with torch.no_grad():
        expected = digits.model.encode(x).mean
    torch.testing.assert_close(torch.tensor(np.loadtxt(lines[1:], delimiter=","))[:, :5].float(), expected)


@pytest.mark.parametrize("name", ["encode", "evaluate", "interpolate", "reconstruct", "traverse"])
def test_a_split_beside_a_file_is_refused(name: str, digits_run: Path, command: Command) -> None:
    """A split is of the run's own data: it would be ignored."""
    assert "input= and split=" in command(name, f"run={digits_run}", "input=x.npy", "split=test")


def test_no_run_has_averaged_weights(digits_run: Path, command: Command) -> None:
    shutil.copytree(digits_run, Path("outputs/a"))
    assert "no run under outputs has averaged weights" in command("sample", "checkpoint=ema")


def test_encode_one_latent(one_latent_run: Path, command: Command) -> None:
    assert "latents.png" in command("encode", f"run={one_latent_run}")


def test_paths_and_traversals_of_a_file(
    digits_run: Path, digits: Run, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin at the codes of the file's observations; the only one of a file needs no index."""
    x = digits.dataset.load().test.batch(slice(0, 9))
    np.save("x.npy", x.numpy())
    np.save("one.npy", x[7].numpy())
    with torch.no_grad():
        codes = digits.model.encode(x).mean
    seen: list[torch.Tensor | None] = []
    monkeypatch.setattr(
        "vaecli.commands.interpolate.interpolate", lambda m, a, b, *rest: seen.extend([a, b]) or interpolate(m, a, b)
    )
    monkeypatch.setattr(
        "vaecli.commands.traverse.traverse",
        lambda m, n, span, *rest: seen.append(rest[0]) or traverse(m, n, span, *rest),
    )
    command("interpolate", f"run={digits_run}", "input=x.npy", "from=3", "to=7", "output=a.png")
    for words in (("input=x.npy", "index=7"), ("input=one.npy",), ("input=x.npy",)):
        command("traverse", f"run={digits_run}", *words, "output=a.png")
    *starts, none = seen
    assert none is None
    for start, code in zip(starts, codes[[3, 7, 7, 7]], strict=True):
        torch.testing.assert_close(start, code)
    for line, key in (("interpolate to=9", "to"), ("traverse index=9", "index")):
        message = command(*line.split(), f"run={digits_run}", "input=x.npy")
        assert f"{key}=9: beyond the data; input=x.npy has 9 observations, from 0 on" in message


@pytest.mark.parametrize(("run", "n"), every(2, [("digits_run", 300), ("beta_run", 1000)]))
def test_tensorboard_reads_the_embedding(
    run: str, n: int, command: Command, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    folder = request.getfixturevalue(run)
    for _ in range(2):  # the second replaces the first
        out = command("encode", f"run={folder}", "tensorboard=true", "output=codes.npz")
        assert f"{n} of {n} codes" in out
    config = text_format.Parse((folder / "embedding" / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert len(config.embeddings) == 1
    (embedding,) = config.embeddings
    place = folder / "embedding"
    vectors = np.loadtxt(place / embedding.tensor_path, delimiter="\t")
    with np.load(tmp_path / "codes.npz") as found:
        np.testing.assert_allclose(vectors, found["loc"], rtol=1e-4, atol=1e-5)
        labels = found["labels"]
    metadata = (place / embedding.metadata_path).read_text().splitlines()
    if labels.ndim == 1:
        assert metadata == [str(label) for label in labels]
    else:
        assert metadata[0] == "alpha\tbeta"
        np.testing.assert_allclose(np.loadtxt(metadata[1:], delimiter="\t"), labels, rtol=1e-4)
    assert bool(embedding.sprite.image_path) == (run == "digits_run")  # curves are points
    assert not list(folder.glob(".embedding*"))


def test_sprites_show_their_observation(digits_run: Path, digits: Run, command: Command) -> None:
    command("encode", f"run={digits_run}", "tensorboard=true", "output=codes.npz")
    sprite = pixels(next((digits_run / "embedding").rglob("sprite.png")))
    assert sprite.shape == (18 * 8, 18 * 8, 3)  # 300 images
    x = digits.dataset.load().test.batch(slice(18, 20))  # the first two of the second row of 18
    np.testing.assert_allclose(sprite[8:16, 0:16, 0] / 255, np.concatenate(list(x[:, 0]), 1), atol=1 / 255)


def test_sprites_are_squares() -> None:
    x = torch.full((4, 3, 20, 13), 2.0)
    x[0, 0, 5, 6] = torch.nan
    found = squares((x - 0.0) / 4.0)
    assert found.shape == (4, 3, 20, 20)
    assert torch.equal(found[..., 3:16], torch.full((4, 3, 20, 13), 0.5))
    assert not found[..., :3].any()
    assert not found[..., 16:].any()


def test_sample_decodes_given_latents(digits_run: Path, digits: Run, command: Command, tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(6, 5))
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "one.npy", z[2])
    command("sample", f"run={digits_run}", "z=z.npy", "format=npz", "output=x.npz")
    command("sample", f"run={digits_run}", "z=one.npy", "format=npz", "output=one.npz")
    with torch.no_grad():
        expected = digits.model.decode(torch.from_numpy(z).float()).mean.numpy()
    with np.load(tmp_path / "x.npz") as many, np.load(tmp_path / "one.npz") as one:
        np.testing.assert_allclose(many["x"], expected, atol=1e-6)
        np.testing.assert_allclose(one["x"], expected[2:3], atol=1e-6)
        np.testing.assert_allclose(many["z"], z, atol=1e-6)
    assert "wrote" in command("sample", f"run={digits_run}", "z=z.npy", "output=x.png")


def test_reconstruct_draws(beta_run: Path, beta: Run, command: Command, tmp_path: Path) -> None:
    command("reconstruct", f"run={beta_run}", "draws=400", "n=3", "format=npz", "output=r.npz")
    command("reconstruct", f"run={beta_run}", "n=3", "format=npz", "output=plain.npz")
    test = beta.dataset.load().test
    with torch.no_grad():
        q_z = beta.model.encode(test.batch(slice(0, 3)))
    with np.load(tmp_path / "r.npz") as found, np.load(tmp_path / "plain.npz") as plain:
        assert found["z"].shape == (400, 3, 2)
        assert found["draws"].shape == (400, 3, 100)
        error = (torch.from_numpy(found["z"]).mean(0) - q_z.mean) / q_z.stddev * 20  # standard normal
        assert error.abs().max() < 4
        with torch.no_grad():
            again = beta.model.decode(torch.from_numpy(found["z"][7])).mean
        np.testing.assert_allclose(found["draws"][7], again, atol=1e-4)
        assert "draws" not in plain
        for key in ("reconstruction", "elbo"):  # draws change nothing else
            np.testing.assert_array_equal(found[key], plain[key])


def test_reconstruct_draws_of_several_runs(digits_run: Path, one_latent_run: Path, command: Command) -> None:
    runs = f"run=[{digits_run},{one_latent_run}]"
    command("reconstruct", runs, "draws=2", "n=4", "format=npz", "output=r.npz")
    with np.load("r.npz") as found:
        assert found["draws"].shape == (2, 2, 4, 1, 8, 8)
    assert "wrote" in command("reconstruct", runs, "draws=2", "n=4", "output=r.png")


def test_samples_are_written_a_part_at_a_time(digits_run: Path, digits: Run, command: Command, tmp_path: Path) -> None:
    command("sample", f"run={digits_run}", "n=1203", "format=npz", "output=many.npz")
    with np.load(tmp_path / "many.npz") as found:
        assert found["x"].shape == (1203, 1, 8, 8)
        with torch.no_grad():
            last = digits.model.decode(torch.from_numpy(found["z"][-3:])).mean
        np.testing.assert_allclose(found["x"][-3:], last, atol=1e-6)


def test_a_picture_shows_only_so_many(digits_run: Path, command: Command) -> None:
    out = command("sample", f"run={digits_run}", "n=10007", "output=many.png")
    assert "drew the first 5776 of 10007" in out


def test_a_manifold_needs_two_latents(one_latent_run: Path, command: Command) -> None:
    assert "this run has one latent" in command("manifold", f"run={one_latent_run}")


def test_a_run_that_cannot_be_written_says_so(digits_run: Path, command: Command) -> None:
    place = digits_run / "embedding"
    kept = place.with_name("kept")
    if place.exists():
        place.rename(kept)
    place.write_text("in the way")
    try:
        assert "tensorboard=true: cannot write" in command("encode", f"run={digits_run}", "tensorboard=true")
        assert place.read_text() == "in the way"
    finally:
        place.unlink()


def test_a_manifold_is_over_the_latents_that_are_used(digits_run: Path, tmp_path: Path, command: Command) -> None:
    run = Path(shutil.copytree(digits_run, tmp_path / "run"))
    summary = json.loads((run / "summary.json").read_text())
    used = [0.01] * len(summary["kl_per_dim"])
    used[2] = used[1] = 3.0
    (run / "summary.json").write_text(json.dumps({**summary, "kl_per_dim": used}))
    command("manifold", f"run={run}", "n=3", f"output={tmp_path / 'default.png'}")
    command("manifold", f"run={run}", "n=3", "dims=[1,2]", f"output={tmp_path / 'used.png'}")
    command("manifold", f"run={run}", "n=3", "dims=[0,1]", f"output={tmp_path / 'first.png'}")
    default, used_too, first = ((tmp_path / f"{name}.png").read_bytes() for name in ("default", "used", "first"))
    assert default == used_too != first
    (run / "summary.json").write_text(json.dumps({**summary, "kl_per_dim": None}))
    command("manifold", f"run={run}", "n=3", f"output={tmp_path / 'default.png'}")
    assert (tmp_path / "default.png").read_bytes() == first


def test_a_manifold_has_no_more_images_than_can_be_seen(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((30, 1, 48, 48), "f4"))
    run = trained(tmp_path, "dataset=arrays", "dataset.path=x.npy", "decoder=gaussian_fixed", "latent_dim=2",
                  "architecture.hidden=[4]", "epochs=1")  # fmt: skip
    done = called("manifold", f"run={run}", "n=100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "26 x 26 images instead of 100 x 100: more would be too small to see on a screen" in done.stdout
    with Image.open(run / "manifold.png") as picture:
        assert max(picture.size) < 1400
    assert "instead of" not in called("manifold", f"run={run}", "n=20", cwd=tmp_path).stdout
