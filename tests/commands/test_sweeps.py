"""Sweeps: what their folders are called, what they leave in them, and how TensorBoard sees them beside other runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.command_line import called
from support.displays import hparams_page

from vaecli.config.sweep_folders import job_folder
from vaecli.runs.table import table

QUICK = ("epochs=1", "dataset=digits", "dataset.limit=100", "architecture.hidden=[8]", "device=cpu")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs of a named sweep, a named run beside them; the folder in which they were trained."""
    folder = tmp_path_factory.mktemp("sweep")
    done = called("train", "-m", *QUICK, "latent_dim=2,3", "decoder=bernoulli", "name=first_try", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert called("train", *QUICK, "name=alone", cwd=folder).returncode == 0
    return folder


def test_folders_are_named_for_what_differs(sweep: Path) -> None:
    jobs = sorted(path.name for path in (sweep / "outputs/sweeps/first_try").iterdir() if path.is_dir())
    assert jobs == ["0_latent_dim-2", "1_latent_dim-3"]
    assert (sweep / "outputs/digits/alone/summary.json").is_file()
    given = job_folder(3, "a.list=[1,2],b=3,c=4,+d=[5,6]", typed={"a.list", "b"})
    assert given == "3_c-4_d-5_6"
    assert job_folder(0, "epochs=1", typed={"epochs"}) == "0"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-m", "latent_dim=2,3", "name=first_try"), "name=first_try: a sweep of this name exists already"),
        (("name=alone",), "this folder already holds a run"),
        (("-m", "name=a,b"), "name=a,b: a sweep takes a single name"),
        (("-m", "latent_dim=2,3", "name=../up"), "name=../up: should be a plain name"),
        (("name='a b'",), "name=a b: should be a plain name"),
        (("name=a", "output=b"), "output=b name=a: both say where the run goes"),
        (("resume=outputs/digits/alone", "name=a"), "name=a: a run is resumed in its own folder"),
    ],
)
def test_names_that_are_refused(sweep: Path, args: tuple[str, ...], message: str) -> None:
    before = sorted(sweep.rglob("*"))
    done = called("train", *QUICK, *args, cwd=sweep)
    assert done.returncode == 1
    assert message in done.stderr
    assert sorted(sweep.rglob("*")) == before


def test_a_sweep_that_goes_on_runs_what_is_missing_and_ends_with_its_table(sweep: Path, tmp_path: Path) -> None:
    """Jobs are known by their settings: they keep their folders where their numbers change."""
    shutil.copytree(sweep / "outputs", tmp_path / "outputs")
    folder = tmp_path / "outputs/sweeps/first_try"
    stopped = folder / "1_latent_dim-3"
    summary = json.loads((stopped / "summary.json").read_text())
    (stopped / "summary.json").write_text(json.dumps({**summary, "status": "interrupted", "test": None}))
    words = (*QUICK, "latent_dim=4,3,2", "decoder=bernoulli", "name=first_try", "sweep.skip_completed=true")
    done = called("train", "-m", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.glob("*/")) == ["0_latent_dim-2", "0_latent_dim-4", "1_latent_dim-3"]
    assert "outputs/sweeps/first_try/0_latent_dim-2 is complete" in done.stdout
    assert done.stdout.count("\nwrote ") == 2  # one new, one resumed
    again = json.loads((stopped / "summary.json").read_text())
    assert (again["status"], again["test"], len(again["resumed"])) == ("completed", summary["test"], 1)
    table = called("runs", "path=outputs/sweeps/first_try", cwd=tmp_path).stdout
    assert done.stdout.endswith(table)
    assert table.startswith("3 runs under ")


def test_skip_completed_is_for_sweeps(tmp_path: Path) -> None:
    done = called("train", *QUICK, "sweep.skip_completed=true", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "sweep.skip_completed=true: is only for sweeps; add -m" in done.stderr


@pytest.mark.slow
def test_a_sweep_over_seeds_ends_with_paired_differences(tmp_path: Path) -> None:
    done = called("train", "-m", *QUICK, "latent_dim=2,3", "seeds=2", "name=s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tests = [[json.loads((tmp_path / f"outputs/sweeps/s/{job}/seed_{seed}/summary.json").read_text())["test"]["elbo"]
              for seed in range(2)] for job in ("0_latent_dim-2", "1_latent_dim-3")]  # fmt: skip
    means = [sum(one) / 2 for one in tests]
    better, worse = sorted((0, 1), key=lambda job: -means[job])
    first, second = (tests[worse][seed] - tests[better][seed] for seed in range(2))
    last = done.stdout.splitlines()[-1]
    assert "paired by seed" in last
    assert f"{(first + second) / 2:.2f} ± {abs(first - second) / 2:.2g}" in last
    again = called("train", "-m", *QUICK, "latent_dim=3,2", "seeds=2", "name=s", "sweep.skip_completed=true",
                   cwd=tmp_path)  # fmt: skip
    assert again.stdout.count(" is complete") == 2
    looked = called("reconstruct", "run=outputs/sweeps/s", "n=2", cwd=tmp_path)
    assert looked.returncode == 0, looked.stderr
    assert [line.strip() for line in looked.stdout.splitlines() if "latent_dim=" in line] == [
        "latent_dim=2", "latent_dim=3",
    ]  # fmt: skip
    hint = called("sample", "run=outputs/sweeps/s", cwd=tmp_path).stderr
    assert "there are 2 runs below it" in hint
    for limit in (20, 30):
        called("train", *QUICK, f"dataset.limit={limit}", "seeds=2", f"output=other/limit_{limit}", cwd=tmp_path)
    table = called("runs", "path=other", cwd=tmp_path).stdout
    assert table.count("over 2 seeds") == 2
    assert "paired by seed" not in table  # their data differ


def test_a_sweeps_picture_lies_in_its_folder(sweep: Path) -> None:
    done = called("reconstruct", "run=outputs/sweeps/first_try", cwd=sweep)
    assert done.returncode == 0, done.stderr
    assert "wrote outputs/sweeps/first_try/reconstructions.png" in done.stdout
    assert not list(sweep.glob("outputs/sweeps/first_try/*/reconstructions.png"))
    one = called("reconstruct", "run=outputs/sweeps/first_try/0_latent_dim-2", cwd=sweep)
    assert "wrote outputs/sweeps/first_try/0_latent_dim-2/reconstructions.png" in one.stdout


def test_hparams_of_sweeps_and_runs_are_alike(sweep: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def content(run: str, tag: str) -> HParamsPluginData:
        events = EventAccumulator(str(sweep / "outputs" / run))
        events.Reload()
        return HParamsPluginData.FromString(events.SummaryMetadata(tag).plugin_data.content)

    job, alone = "sweeps/first_try/1_latent_dim-3", "digits/alone"
    settings = [content(run, metadata.SESSION_START_INFO_TAG).session_start_info.hparams for run in (job, alone)]
    assert settings[0].keys() == settings[1].keys()
    assert (settings[0]["latent_dim"].number_value, settings[1]["latent_dim"].number_value) == (3, 20)
    shown = content(job, metadata.EXPERIMENT_TAG).experiment
    names = {info.display_name for info in shown.metric_infos}
    assert {"test_elbo", "test_bound", "best_bound", "best_elbo"} <= names
    row = next(row for row in table(sweep / "outputs" / "sweeps") if row["folder"].endswith("-3"))
    events = EventAccumulator(str(sweep / "outputs" / job))
    events.Reload()
    for tag, column in {"best_bound": "bound", "best_elbo": "elbo", "test_elbo": "test_elbo"}.items():
        assert events.Scalars(f"whole_run/{tag}")[-1].value == pytest.approx(row[column], rel=1e-6)  # type: ignore[literal-required]


def test_hparams_shows_the_leaderboard(sweep: Path) -> None:
    """TensorBoard's own page, sorted by best_bound: the order, the figures and the settings that the table prints."""
    page = hparams_page(sweep / "outputs/sweeps/first_try", "best_bound")
    _, _, *lines = called("runs", "path=outputs/sweeps/first_try", cwd=sweep).stdout.splitlines()
    assert len(page) == len(lines) == 2
    for (name, settings, figures), line in zip(page, lines, strict=True):
        columns = line.split()
        assert columns[3:5] == [f"{figures['best_bound']:.2f}", f"{figures['test_elbo']:.2f}"]
        assert columns[-2:] == [f"latent_dim={settings['latent_dim']:.0f}", f"outputs/sweeps/first_try/{name}"]
    assert page[0][2]["best_bound"] > page[1][2]["best_bound"]


def test_hparams_begins_with_what_was_swept_or_typed(sweep: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def first(run: str) -> set[str]:
        events = EventAccumulator(str(sweep / "outputs" / run))
        events.Reload()
        content = events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
        infos = HParamsPluginData.FromString(content).experiment.hparam_infos
        return {info.name for info in infos if info.differs}  # TensorBoard shows these first

    assert first("sweeps/first_try/0_latent_dim-2") == first("sweeps/first_try/1_latent_dim-3") == {"latent_dim"}
    assert first("digits/alone") == {"epochs", "dataset", "dataset.limit", "architecture.hidden"}


def test_the_first_line_names_posterior_and_prior(tmp_path: Path) -> None:
    done = called("train", *QUICK, "posterior=gaussian_full", "prior=mixture", "output=r", cwd=tmp_path)
    assert "\ndigits, mlp, bernoulli, gaussian_full posterior, mixture prior, elbo: 100 observations" in done.stdout


def test_help_knows_options_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine/decoder").mkdir(parents=True)
    text = "# noise with heavy tails\n_target_: mine.StudentT\nname: student_t\nscale: 2.5            # of the noise\n"
    (tmp_path / "mine/decoder/student_t.yaml").write_text(text)
    for args in (("--config-dir", "mine"), ("--config-dir=mine",)):
        shown = called("train", *args, "--help", cwd=tmp_path).stdout
        assert "student_t" in shown
        assert "noise with heavy tails" in shown
        assert "decoder.scale" not in shown
        assert "bernoulli" in shown
        shown = called("train", *args, "decoder=student_t", "--help", cwd=tmp_path).stdout
        assert "decoder.scale=2.5" in shown
        assert "of the noise" in shown
    done = called("train", "--config-dir", "mine", "decoder=studentt", cwd=tmp_path)
    assert "did you mean student_t?" in done.stderr


def test_an_option_that_vaecli_would_hide_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine/decoder").mkdir(parents=True)
    (tmp_path / "mine/decoder/laplace.yaml").write_text("_target_: mine.Laplace\nname: laplace\n")
    done = called("train", "--config-dir", "mine", *QUICK, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: mine/decoder/laplace.yaml: vaecli has a decoder of the same name, which would be used; rename yours\n"
    )
    assert not (tmp_path / "outputs").exists()
