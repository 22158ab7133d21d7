"""The commands as a user types them."""

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_line import Vae, called, in_both_ways, vae
from support.figures import words

from vaecli.commands import fit as fit_command
from vaecli.commands import reconstruct as reconstruct_command
from vaecli.config.catalog import commands
from vaecli.runs.table import table

SMALL = ("dataset=digits", "dataset.limit=200", "architecture.hidden=[16]", "latent_dim=2")


def one_run(folder: Path) -> Path:
    found = list(folder.glob("outputs/*/*/summary.json"))
    assert len(found) == 1
    return found[0].parent


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def test_help_is_quick_and_lists_the_commands() -> None:
    for _ in range(6):  # the machine may be busy, but not each time
        started = time.perf_counter()
        done = vae("--help", cwd=Path.cwd())
        seconds = time.perf_counter() - started
        if seconds < 1:
            break
    assert seconds < 1
    assert done.returncode == 0
    assert all(f"\n  {command}" in done.stdout for command in commands())
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize("command", commands())
def test_each_help_explains_every_key(command: str) -> None:
    from vaecli.config.catalog import groups

    text = called(command, "--help", cwd=Path.cwd()).stdout
    rows = [line for line in text.splitlines() if re.match(r"  [a-z_]+(\.[a-z_]+)?=\S", line)]
    assert len(rows) >= 4
    options = [line for line in text.partition("\nChoices")[2].partition("\nKeys")[0].splitlines() if "=" not in line]
    assert max(map(len, [text.partition("\n")[0], *options])) <= 120
    top = [row for row in rows if "." not in row.split("=")[0] and row.strip().split("=")[0] not in groups()]
    assert all(len(row.split(maxsplit=1)) == 2 for row in top)


@pytest.mark.parametrize(("line", "hint"), [
    ("train learning_rate=.1", "did you mean optimizer.lr?"), ("train model=conv", "did you mean architecture?"),
    ("compare a b", "'run=[a,OTHER]'"), ("evaluate a", "run=a"), ("data t.csv", "input=t.csv"),
    ("train t.csv", "dataset=arrays dataset.path=t.csv"), ("train a", "dataset=images dataset.path=a"),
    ("sample nothing", "nothing: expected key=value"),
])  # fmt: skip
def test_what_users_of_other_programs_type(line: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "t.csv").write_text("x\n1\n2\n")
    done = called(*line.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(hint)


def test_version() -> None:
    import vaecli

    assert vae("--version", cwd=Path.cwd()).stdout.strip() == f"vaecli {vaecli.__version__}"


@pytest.mark.usefixtures("pictures")
@in_both_ways
def test_a_run_folder_holds_what_it_promises(vae: Vae, tmp_path: Path) -> None:
    done = vae("train", *SMALL, "epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = one_run(tmp_path)
    assert str(run.relative_to(tmp_path)) in done.stdout
    for name in ("config.yaml", "metrics.jsonl", "train.log",
                 "checkpoints/best.safetensors", "checkpoints/last.safetensors",
                 "images/data.png", "images/curves.png", "images/samples_epoch_0002.png",
                 "images/reconstructions_epoch_0002.png"):  # fmt: skip
        assert (run / name).stat().st_size > 0, name
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["split"]) for line in lines] == [(1, "train"), (1, "val"), (2, "train"), (2, "val")]
    assert set(lines[0]) == {"epoch", "step", "split", "elbo", "bound", "log_px", "kl", "loss", "lr", "seconds"}
    found = summary(run)
    assert {"status", "epochs", "best", "test", "parameters", "seconds", "observations_per_second", "device", "seed",
            "command", "versions", "data"} <= set(found)  # fmt: skip
    assert (found["status"], found["epochs"]) == ("completed", 2)
    assert found["data"]["train"] == 200
    assert found["test"]["elbo"] == pytest.approx(found["test"]["log_px"] - found["test"]["kl"])


@pytest.mark.parametrize("objective", ["elbo", "dreg"])
def test_the_bound_is_told_of_the_test_split(objective: str, tmp_path: Path) -> None:
    done = called("train", *SMALL, f"objective={objective}", "epochs=2", "output=r", cwd=tmp_path)
    found = json.loads((tmp_path / "r/summary.json").read_text())["test"]
    own = objective == "dreg"
    assert (found["bound"] > found["elbo"] + 0.01) if own else (found["bound"] == found["elbo"])
    told = f"ELBO {found['elbo']:.2f}" + (f"  bound {found['bound']:.2f}" if own else "") + "  log p(x|z) "
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"test {told}") for line in lines), done.stdout
    assert any(line.startswith("epoch 2/2") and (line.count("  bound ") == 2) is own for line in lines)
    assert table(tmp_path)[0]["test_bound"] == found["bound"]


@pytest.mark.usefixtures("pictures")
def test_tensorboard_reads_every_figure(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    assert called("train", *SMALL, "epochs=6", "output=r", cwd=tmp_path).returncode == 0
    events = EventAccumulator(str(tmp_path / "r"), size_guidance={"images": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    terms = ("elbo", "log_px", "kl", "loss")
    assert {f"{split}/{term}" for split in ("train", "val") for term in terms} | {"train/lr"} <= set(tags["scalars"])
    single = {f"whole_run/test_{term}" for term in (*terms[:3], "bound")} | {
        "whole_run/active_units",
        "whole_run/best_elbo",
        "whole_run/best_bound",
    }
    cards = sorted([*tags["scalars"], *tags["images"], *tags["histograms"]])  # as TensorBoard sorts them
    assert set(cards[-len(single) :]) == single
    assert all(card.startswith(("train/", "val/")) for card in cards[:11])
    assert [event.step for event in events.Scalars("val/elbo")] == [1, 2, 3, 4, 5, 6]
    lines = [json.loads(line) for line in (tmp_path / "r/metrics.jsonl").read_text().splitlines()]
    assert events.Scalars("train/kl")[-1].value == pytest.approx(lines[-2]["kl"], rel=1e-5)
    assert tags["histograms"] == ["view/kl_per_dim"]
    assert [event.step for event in events.Histograms("view/kl_per_dim")] == [5, 6]
    assert set(tags["images"]) == {"view/data", "view/reconstructions", "view/samples", "view/curves"}
    assert b"latent_dim: 2" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    # all of it in one event file, so that TensorBoard sees one run
    start = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["latent_dim"].number_value == 2
    assert settings["decoder"].string_value == "bernoulli"
    assert [path for path in (tmp_path / "r").iterdir() if path.is_dir() and "event" in path.name] == []


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    def figures(name: str, *more: str) -> list[dict]:
        args = ("train", *SMALL, "dataset.binarize=dynamic", "samples=2", "epochs=2", f"output={name}", *more)
        assert called(*args, cwd=tmp_path).returncode == 0
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]

    first = figures("a")
    assert first == figures("b")
    assert first != figures("c", "seed=1")


def test_grey_values_under_bernoulli_warn_once(tmp_path: Path) -> None:
    text = called("train", *SMALL, "epochs=1", cwd=tmp_path).stdout
    assert text.count("warning:") == 1
    assert "dataset.binarize=dynamic" in text
    assert "warning:" not in called("train", *SMALL, "epochs=1", "dataset.binarize=dynamic", cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_failing_job(tmp_path: Path) -> None:
    done = called("train", *SMALL, "-m", "epochs=1", "decoder=bernoulli,gaussian", "architecture.activation=relu,rleu",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "2 of 4 jobs failed" in done.stderr
    assert "Traceback" not in done.stderr
    runs = sorted((tmp_path / "outputs/sweeps").glob("*/[0-9]*_*"))
    assert [summary(run)["status"] for run in runs] == ["completed", "failed", "completed", "failed"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", run.name) for run in runs)
    assert "architecture.activation=rleu" in summary(runs[1])["error"]
    assert "architecture.activation=rleu" in (runs[1] / "train.log").read_text()
    assert "decoder=gaussian" in summary(runs[3])["command"]


def test_without_validation_best_is_last(tmp_path: Path) -> None:
    assert called("train", *SMALL, "dataset.val_size=0", "epochs=2", "output=r", cwd=tmp_path).returncode == 0
    assert summary(tmp_path / "r")["best"]["epoch"] == 2
    assert (tmp_path / "r/checkpoints/best.safetensors").read_bytes() == (
        tmp_path / "r/checkpoints/last.safetensors"
    ).read_bytes()


def test_sample_writes_a_picture_or_arrays(digits_run: Path, beta_run: Path, tmp_path: Path) -> None:
    done = called("sample", f"run={digits_run}", "n=9", "output=a.png", cwd=tmp_path)
    assert done.stdout.strip() == "wrote a.png"
    assert min(Image.open(tmp_path / "a.png").size) > 100
    called("sample", f"run={digits_run}", "n=9", "mode=draw", "format=npz", "output=a.npz", cwd=tmp_path)
    called("sample", f"run={digits_run}", "n=9", "mode=draw", "format=npz", "output=b.npz", cwd=tmp_path)
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    assert a["x"].shape == (9, 1, 8, 8)
    assert a["z"].shape == (9, 5)
    assert set(np.unique(a["x"])) == {0, 1}
    assert (a["x"] == b["x"]).all()
    called("sample", f"run={beta_run}", "n=4", "temperature=0", "format=npz", "output=c.npz", cwd=tmp_path)
    c = np.load(tmp_path / "c.npz")
    assert np.ptp(c["x"], axis=0).max() < 1e-5
    assert (c["z"] == 0).all()


def test_a_sweep_of_another_command_leaves_no_folder(digits_run: Path, tmp_path: Path) -> None:
    done = called("sample", "-m", f"run={digits_run}", "n=4,9", "output=a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote a.png") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_latest_is_the_newest_run_with_a_checkpoint(tmp_path: Path, digits_run: Path, beta_run: Path) -> None:
    shutil.copytree(digits_run, tmp_path / "outputs/sweeps/s/0_a")
    time.sleep(0.05)
    shutil.copytree(beta_run, tmp_path / "outputs/beta/b", copy_function=shutil.copy)
    (tmp_path / "outputs/beta/c").mkdir()
    done = called("sample", cwd=tmp_path)
    assert done.stdout.strip() == "wrote outputs/beta/b/samples.png", done.stderr


def test_reconstruct_prints_each_elbo(digits_run: Path, beta_run: Path, tmp_path: Path) -> None:
    done = called("reconstruct", f"run={digits_run}", "indices=[3,7]", "format=npz", "output=r.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "r.npz")
    assert found["reconstruction"].shape == (2, 1, 8, 8)
    assert np.allclose(found["elbo"], found["log_px"] - found["kl"], atol=1e-4)
    assert all(f"{value:.2f}" in done.stdout for value in found["elbo"])
    done = called("reconstruct", f"run={beta_run}", "split=val", "n=3", "output=r.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.png").is_file()


def test_reconstruct_takes_observations_from_files(digits_run: Path, tmp_path: Path) -> None:
    image = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "x.png")
    np.save(tmp_path / "x.npy", image)
    for name in ("x.png", "x.npy"):
        args = (f"run={digits_run}", f"input={name}", "format=npz", f"output={name}.npz")
        assert called("reconstruct", *args, cwd=tmp_path).returncode == 0
    a, b = (np.load(tmp_path / f"{name}.npz") for name in ("x.png", "x.npy"))
    assert np.allclose(a["x"][0, 0], image / 255)
    assert (a["reconstruction"] == b["reconstruction"]).all()


def test_several_runs_under_the_same_observations(digits_run: Path, tmp_path: Path) -> None:
    assert called("train", "dataset=digits", "epochs=1", "latent_dim=3", "output=other", cwd=tmp_path).returncode == 0
    done = called("reconstruct", f"run=[{digits_run},other]", "output=both.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "latent_dim=3" in done.stdout
    assert (tmp_path / "both.png").is_file()


def test_load_gives_a_model_ready_for_use(digits_run: Path) -> None:
    import torch

    import vaecli

    model = vaecli.load(digits_run, device="cpu").model
    assert not model.training
    q_z = model.encode(torch.rand(3, 1, 8, 8))
    assert q_z.mean.shape == (3, 5)
    assert model.decode(q_z.mean).mean.shape == (3, 1, 8, 8)
    assert model.sample(2).mean.shape == (2, 1, 8, 8)


def test_a_users_own_option_trains(tmp_path: Path) -> None:
    (tmp_path / "mine/dataset").mkdir(parents=True)
    (tmp_path / "mine/dataset/few.yaml").write_text(
        "_target_: vaecli.datasets.digits.Digits\nname: few\nlimit: 100\nval_size: 50\n"
    )
    done = called("train", "--config-dir", "mine", "dataset=few", "epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(next(tmp_path.glob("outputs/few/*")))["data"]["val"] == 50


def test_data_without_a_file_names_input(tmp_path: Path) -> None:
    for given in ((), ("dataset=images",)):
        done = called("data", *given, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("error: input has no value: give input=FILE, ")
        assert done.stderr.count("\n") == 1


def test_one_observation_is_not_plural(digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for module in (reconstruct_command, fit_command):
        monkeypatch.setattr(module, "write_figure", lambda path, figure: said.append(" ".join(words(figure).split())))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 8, 8)))
    for line in ("reconstruct indices=[2]", "reconstruct indices=[1,2]", "fit index=1 restarts=1"):
        done = called(*line.split(), f"run={digits_run}", "input=x.npy", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "1 observation of x.npy and its reconstruction, " in said[0]
    assert "2 observations of x.npy and their reconstructions, " in said[1]
    assert "observation 1 of x.npy: residual norm" in said[2]


@pytest.mark.slow
def test_a_first_run_says_nothing_about_fonts(tmp_path: Path) -> None:
    done = vae("data", "dataset=digits", "output=look.png", cwd=tmp_path, MPLCONFIGDIR=str(tmp_path / "fonts"))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "fonts").iterdir())
    assert "font" not in (done.stdout + done.stderr).lower()
