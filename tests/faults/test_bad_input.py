"""Command lines that must be refused: what was wrong, what is allowed, exit code 1, nothing left behind."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bad_command_lines import REFUSED
from support.command_line import vae

from vaecli import __main__ as cli


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
    whole = (digits_run / "checkpoints/best.safetensors").read_bytes()
    (folder / "cut/checkpoints/best.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save({"weights": torch.zeros(3)}, folder / "foreign/checkpoints/best.safetensors")
    dark = np.zeros((2, 1, 8, 8), np.float32)
    np.save(folder / "wide.npy", np.zeros((2, 1, 8, 9), np.float32))
    np.save(folder / "bright.npy", dark + 3)
    np.save(folder / "objects.npy", np.array([None]), allow_pickle=True)
    dark[0, 0, 2, 3] = np.nan
    np.save(folder / "nan.npy", dark)
    missing = np.zeros((2, 5))
    missing[1, 2] = np.nan
    for name, value in {
        "tall": np.zeros((3, 9, 8)), "four": np.zeros((2, 4)), "empty": np.zeros((0, 5)), "nan_z": missing,
        "huge": np.full((2, 5), 1e300), "text": np.array(["a"]),
    }.items():  # fmt: skip
        np.save(folder / f"{name}.npy", value)
    Image.new("L", (9, 8)).save(folder / "large.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def words(line: str, digits_run: Path, beta_run: Path) -> list[str]:
    return line.replace("RUN", str(digits_run)).replace("BETA", str(beta_run)).replace("LONG", "x" * 5000).split(" ")


@pytest.fixture
def check(
    place: Path, digits_run: Path, beta_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], None]:
    """Runs a command line, which must say so and leave nothing."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("VAE_DATA", raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of the tests before
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):  # nothing is downloaded here
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def run(line: str, message: str) -> None:
        monkeypatch.setattr(sys, "argv", ["vae", *words(line, digits_run, beta_run)])
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

    return run


@pytest.mark.usefixtures("without_hydra")
@pytest.mark.parametrize(("line", "message"), REFUSED[::10])
def test_every_tenth_is_refused(line: str, message: str, check: Callable[[str, str], None]) -> None:
    check(line, message)


@pytest.mark.faults
@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_refused(line: str, message: str, check: Callable[[str, str], None]) -> None:
    """As Hydra composes it."""
    check(line, message)


SEVERAL = [pytest.param(*case, marks=() if i == 0 else pytest.mark.faults) for i, case in enumerate(REFUSED[1::9])]


@pytest.mark.parametrize(("line", "message"), SEVERAL)
def test_refused_in_a_process_of_its_own(
    line: str, message: str, place: Path, digits_run: Path, beta_run: Path
) -> None:
    done = vae(*words(line, digits_run, beta_run), cwd=place)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["train", "sample run=RUN", "runs path=taken format=json"])
def test_a_folder_without_permission(
    line: str, place: Path, digits_run: Path, beta_run: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    monkeypatch.setattr(sys, "argv", ["vae", *words(line, digits_run, beta_run), "output=empty/file"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "no permission to write in empty" in capsys.readouterr().err
    assert not files(place / "empty")
