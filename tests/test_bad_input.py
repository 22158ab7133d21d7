"""Command lines that must be refused: what was wrong, what is allowed, exit code 1, nothing left behind."""

import sys
from pathlib import Path

import pytest
from conftest import vae

from vaecli import cli

# command line, what its message must say
REFUSED = [
    ("trian", "did you mean train?"),
    ("train latent_dims=3", "unknown key latent_dims; did you mean latent_dim?"),
    ("train foo", "foo: expected key=value"),
    ("train +foo=1", "unknown key foo"),
    ("train --multrun", "unknown flag --multrun; did you mean --multirun?"),
    ("train datset=mnist", "did you mean dataset?"),
    ("train dataset=mnits", "dataset=mnits: no such option; did you mean mnist?"),
    ("train decoder=gausian", "did you mean gaussian?"),
    ("train architecture=cnn", "There are: conv, gated_mlp, mlp, resnet"),
    ("train experiment=beta", "did you mean beta_curves?"),
    ("train -m decoder=bernoulli,foo", "decoder=foo: no such option"),
    ("train latent_dims=2,3 -m", "did you mean latent_dim?"),
    ("train dataset.bianrize=static", "did you mean dataset.binarize?"),
    ("train sigma=1", "unknown key sigma"),
    ("train latent_dim=0", "latent_dim=0: should be greater than 0"),
    ("train latent_dim=2.5", "latent_dim=2.5: should be a valid integer"),
    ("train latent_dim=true", "latent_dim=true: should be a valid integer"),
    ("train latent_dim=null", "latent_dim=null: should be a valid integer"),
    ("train samples=-1", "samples=-1: should be greater than 0"),
    ("train epochs=abc", "epochs=abc: should be a valid integer"),
    ("train epochs=0", "epochs=0: should be greater than 0"),
    ("train batch_size=0", "batch_size=0: should be greater than 0"),
    ("train seed=-1", "seed=-1: should be greater than or equal to 0"),
    ("train latent_dim=1,2", "latent_dim=1,2: several values make a sweep with -m"),
    ("train latent_dim=[", "latent_dim=["),
    ("train device=gpu", "device=gpu: not available on this machine; allowed here: auto"),
    ("train device=cuda:99", "device=cuda:99: not available"),
    ("train validate.every_epochs=0", "validate.every_epochs=0: should be greater than 0"),
    ("train validate=1", "validate"),
    ("train checkpoint.every_epoch=2", "did you mean checkpoint.every_epochs?"),
    ("train early_stopping.patience=0", "early_stopping.patience=0: should be greater than 0"),
    ("train early_stopping.patience=2 dataset.val_size=0", "needs a validation split"),
    ("train dataset.val_size=99999", "dataset.val_size=99999: should be at most 1496"),
    ("train dataset.val_size=-1", "should be greater than or equal to 0"),
    ("train dataset.limit=0", "dataset.limit=0: should be greater than 0"),
    ("train dataset.binarize=sttic", "should be 'none', 'threshold', 'dynamic' or 'static'"),
    ("train dataset=beta", "use decoder=gaussian_identity, or experiment=beta_curves"),
    ("train dataset=beta dataset.points=1", "dataset.points=1: should be greater than or equal to 2"),
    ("train dataset=beta dataset.max_parameter=0", "dataset.max_parameter=0: should be greater than 0"),
    ("train dataset=beta dataset.space=log", "should be 'log_pdf' or 'pdf'"),
    ("train dataset=beta decoder=gaussian architecture=conv", "use architecture=mlp"),
    ("train decoder=gaussian_fixed decoder.sigma=0", "decoder.sigma=0: should be greater than 0"),
    ("train decoder=gaussian_fixed decoder.sigma=nan", "decoder.sigma=nan: should be"),
    ("train decoder=gaussian decoder.min_scale=-1", "decoder.min_scale=-1: should be greater than 0"),
    ("train decoder.sigma=1", "unknown key decoder.sigma here: it belongs to decoder=gaussian or gaussian_fixed or"),
    (
        "train architecture.hidden=400",
        "architecture.hidden=400: should be a valid list, as in architecture.hidden=[400]",
    ),
    ("train architecture.hidden=[0]", "architecture.hidden=[0]: should be greater than 0"),
    ("train architecture.activation=rleu", "architecture.activation=rleu: should be 'relu'"),
    ("train architecture=conv architecture.channels=[]", "should have at least one entry"),
    ("train optimizer.lr=-1", "optimizer.lr=-1: should be greater than 0"),
    ("train optimizer.lr=fast", "optimizer.lr=fast: should be a valid number"),
    ("train optimizer.betas=[0.9,2]", "optimizer=adam: Invalid beta parameter"),
    ("train objective.kl_weight=-1", "objective.kl_weight=-1: should be greater than or equal to 0"),
    ("train output=taken", "already holds a run"),
    ("train output=file.txt/run", "is a file, not a folder"),
    ("train output=/proc/nowhere/run", "output=/proc/nowhere/run"),
    ("train dataset=mnist dataset.root=empty", "dataset=digits needs no download"),
    ("sample", "run=latest: no run with a checkpoint under"),
    ("sample run=nowhere", "run=nowhere: there is no such folder"),
    ("sample run=empty", "run=empty: this folder holds no checkpoint"),
    ("sample run=cut", "damaged or not a vaecli checkpoint"),
    ("sample run=foreign", "not a vaecli checkpoint"),
    ("sample run=RUN n=0", "n=0: should be greater than 0"),
    ("sample run=RUN temperature=-1", "temperature=-1: should be greater than or equal to 0"),
    ("sample run=RUN mode=men", "mode=men: should be 'mean' or 'draw'"),
    ("sample run=RUN checkpoint=first", "checkpoint=first: should be 'best' or 'last'"),
    ("sample run=RUN format=jpg", "format=jpg: should be 'png' or 'npz'"),
    ("sample run=RUN output=a.npz", "the name ends in .npz, but .png is written"),
    ("sample run=RUN output=empty", "output=empty: is a folder"),
    ("sample run=RUN output=file.txt/a.png", "is a file, not a folder"),
    ("sample run=RUN temprature=1", "did you mean temperature?"),
    ("reconstruct run=RUN split=tset", "split=tset: should be 'train', 'val' or 'test'"),
    ("reconstruct run=RUN indices=[0,300]", "indices=300: beyond the data; split=test has 300 observations"),
    ("reconstruct run=RUN indices=[-1]", "indices=[-1]: should be greater than or equal to 0"),
    ("reconstruct run=[]", "run=[]"),
    ("reconstruct run=RUN input=nothing.npy", "input=nothing.npy: there is no such file"),
    ("reconstruct run=RUN input=file.txt", "expected a .npy or .png file"),
    ("reconstruct run=RUN input=wide.npy", "has shape (2, 1, 8, 9); expected (N, 1, 8, 8)"),
    ("reconstruct run=RUN input=nan.npy", "1 values are NaN or infinite, the first at [0, 0, 2, 3]"),
    ("reconstruct run=RUN input=bright.npy", "images go from 0 to 1"),
    ("reconstruct run=RUN input=objects.npy", "cannot be read as .npy"),
    ("reconstruct run=RUN input=large.png", "is 9x8 pixels; expected 8x8"),
    ("reconstruct run=RUN input=broken.png", "cannot be read as an image"),
    ("reconstruct run=[RUN,BETA]", "give runs on the same data"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits_run: Path) -> Path:
    """A folder with everything that the command lines above stumble over."""
    import numpy as np
    import torch
    from PIL import Image

    folder = tmp_path_factory.mktemp("place")
    for name in ("empty", "taken", "cut/checkpoints", "foreign/checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "taken/summary.json").write_text("{}")
    (folder / "file.txt").write_text("text")
    whole = (digits_run / "checkpoints/best.pt").read_bytes()
    (folder / "cut/checkpoints/best.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"weights": torch.zeros(3)}, folder / "foreign/checkpoints/best.pt")
    dark = np.zeros((2, 1, 8, 8), np.float32)
    np.save(folder / "wide.npy", np.zeros((2, 1, 8, 9), np.float32))
    np.save(folder / "bright.npy", dark + 3)
    np.save(folder / "objects.npy", np.array([None]), allow_pickle=True)
    dark[0, 0, 2, 3] = np.nan
    np.save(folder / "nan.npy", dark)
    Image.new("L", (9, 8)).save(folder / "large.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_refused(
    line: str, message: str, place: Path, digits_run: Path, beta_run: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    monkeypatch.delenv("VAE_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):  # nothing is downloaded here
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    words = line.replace("RUN", str(digits_run)).replace("BETA", str(beta_run)).split(" ")
    monkeypatch.setattr(sys, "argv", ["vae", *words])
    before = files(place) | files(digits_run)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("error: ")
    assert len(printed.err.strip().splitlines()) <= 2
    assert "Traceback" not in printed.err
    assert stopped.value.code == 1
    assert files(place) | files(digits_run) == before


@pytest.mark.parametrize(("line", "message"), REFUSED[1:-1:12])
def test_refused_in_a_process_of_its_own(
    line: str, message: str, place: Path, digits_run: Path, tmp_path: Path
) -> None:
    done = vae(*line.replace("RUN", str(digits_run)).split(" "), cwd=place)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
