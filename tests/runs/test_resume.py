"""A run that was stopped and goes on ends as one that never stopped, bit for bit."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from support.checkpoints import same
from support.command_line import called
from support.configurations import composed
from support.making import prepare
from support.runs import SMALL, assert_same, at_step, lines, scalars, train
from support.small_runs import draw_pictures
from support.thinned import every

from vaecli.datasets.split import Splits
from vaecli.runs import checkpoint, config
from vaecli.runs.config import read_config
from vaecli.training.trainer import Trainer
from vaecli.utils.errors import UserError

STEPS = 16  # four epochs of four
STATEFUL = [
    ("dataset.binarize=dynamic",),
    ("scheduler=cosine", "dataset.binarize=dynamic", "samples=2"),
    ("scheduler=one_cycle", "optimizer=adamw"),
    ("scheduler=exponential", "optimizer=sgd", "clip_grad_norm=1"),
    ("early_stopping.patience=1", "optimizer.lr=0.3", "epochs=9"),
    ("ema.decay=0.9", "dataset.binarize=dynamic"),
    ("dataset.val_size=0", "ema.decay=0.9"),
    ("architecture=conv", "architecture.channels=[4]", "architecture.hidden=0"),
    ("decoder=gaussian_optimal", "ema.decay=0.9", "validate.every_epochs=2"),
    ("prior=vamp", "prior.components=10", "posterior=flow", "decoder=discretized_logistic"),
    ("prior=mixture", "posterior=gaussian_full", "decoder=categorical"),
    ("prior=flow", "dataset.binarize=dynamic"),
    ("objective=cyclic", "objective.warm_up=0.6", "objective.cycle=1.5"),
    ("objective=capacity", "scheduler=step"),
    ("objective=dreg", "objective.k=3", "objective.warm_up=2"),
    ("objective=sgvb_a", "validate.every_epochs=2", "checkpoint.every_epochs=3"),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def small(*options: str) -> list[str]:
    """`options` and those of SMALL that they leave open."""
    given = {word.partition("=")[0] for word in options}
    return [*options, *(w for w in SMALL if w.partition("=")[0] not in given | {g + ".hidden" for g in given})]


def both(*options: str, stops: list[int]) -> None:
    """A run that never stops in whole, and one that stops at these steps in parts; they must be the same."""
    assert train(*small(*options), "output=whole") == 0
    assert train(*small(*options), "output=parts", stop_at=stops[0]) == 130
    for step in stops[1:]:
        assert train("resume=parts", stop_at=step) == 130
    assert train("resume=parts") == 0
    assert_same(Path("whole"), Path("parts"))


@pytest.mark.parametrize("options", every(3, zip(STATEFUL), pytest.mark.faults), ids=" ".join)
@pytest.mark.parametrize("stops", [[6], pytest.param([1, 6, 8], marks=pytest.mark.faults)])
def test_interrupted_and_resumed_is_never_stopped(stops: list[int], options: tuple[str, ...]) -> None:
    both(*options, stops=stops)


@pytest.mark.faults
@pytest.mark.parametrize("options", STATEFUL, ids=" ".join)
@pytest.mark.parametrize("stop_at", [1, 2, 4, 5, 7, 11, 12, 15])
def test_interrupted_at_any_step(options: tuple[str, ...], stop_at: int) -> None:
    assert train(*small(*options), "output=whole") == 0
    if train(*small(*options), "output=parts", stop_at=stop_at) == 130:  # else early stopping came first
        assert train("resume=parts") == 0
    assert_same(Path("whole"), Path("parts"))


def test_stopped_after_every_step() -> None:
    both("dataset.binarize=dynamic", "scheduler=cosine", stops=list(range(1, STEPS)))
    assert len(lines(Path("parts"))) == 2 * 4


@pytest.mark.faults
@pytest.mark.usefixtures("pictures")
def test_pictures_and_events_are_there_once() -> None:
    both("checkpoint.every_epochs=3", stops=[6, 13])
    found = scalars(Path("parts"))
    assert len(set(found)) == len(found)
    assert sum(tag == "train/elbo" for _, tag in found) == 4
    images = [{path.name for path in Path(run, "images").iterdir()} for run in ("whole", "parts")]
    assert images[0] == images[1]


def test_pictures_change_nothing_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests train without them."""
    words = small("dataset.binarize=dynamic", "decoder=bernoulli")
    assert train(*words, "output=plain") == 0
    draw_pictures(monkeypatch)
    assert train(*words, "output=drawn") == 0
    assert len(list(Path("drawn/images").iterdir())) > 2
    assert not list(Path("plain").glob("images/*"))
    states = [checkpoint.load(Path(name, "checkpoints/last.safetensors")) for name in ("plain", "drawn")]
    for key in states[0].keys() - {"config"}:
        assert same(states[0][key], states[1][key]), key
    assert lines(Path("plain")) == lines(Path("drawn"))


def test_checkpoints_within_an_epoch_by_the_clock() -> None:
    """Saved before each step, and read back from within the second epoch."""
    assert train(*small("dataset.binarize=dynamic"), "output=whole") == 0
    states = []
    save = checkpoint.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda path, state: (states.append((path.name, state)), save(path, state)))
        with pytest.raises(ZeroDivisionError):
            crash_at(7, *small("dataset.binarize=dynamic", "checkpoint.every_seconds=1e-9"), "output=parts")
    assert [(state["epoch"], state["step"]) for name, state in states if name == "last.safetensors"][-2:] == [
        (1, 5),
        (1, 6),
    ]
    assert "partial" in checkpoint.load(Path("parts/checkpoints/last.safetensors"))
    assert train("resume=parts") == 0
    assert_same(Path("whole"), Path("parts"))


def crash_at(step: int, *options: str) -> None:
    """Train, and fail in a way that nobody foresaw when so many steps are taken."""
    with at_step(step, lambda trainer: 1 / 0):
        train(*options)


def test_a_run_without_a_checkpoint_starts_from_config() -> None:
    assert train(*small(), "output=whole") == 0
    assert train(*small(), "output=parts", stop_at=2) == 130
    for path in Path("parts").iterdir():  # as if killed right after its first write
        if path.name == "checkpoints":
            (path / "last.safetensors").unlink()
        elif path.name not in ("config.yaml", "images"):
            path.unlink()
    assert train("resume=parts") == 0
    assert_same(Path("whole"), Path("parts"))


def test_what_a_crash_leaves_is_cleared_away() -> None:
    assert train(*small(), "output=whole") == 0
    assert train(*small(), "output=parts", stop_at=9) == 130
    with open("parts/metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "step": 12, "split": "train", "elbo": -27.1, "log')
    events = next(Path("parts").glob("events.*"))
    events.write_bytes(events.read_bytes() + b"\x18\0\0\0\0\0\0\0torn")
    Path("parts/checkpoints/.last.safetensors.abc.tmp").write_bytes(b"half")
    assert train("resume=parts") == 0
    assert_same(Path("whole"), Path("parts"))
    assert not list(Path("parts").rglob("*.tmp"))


def test_a_complete_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*small(), "output=run") == 0
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.name != ".lock"}
    capsys.readouterr()
    assert train("resume=run") == 0
    assert "run is complete: 4 epochs" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("scheduler", ["constant", "cosine", "one_cycle"])
def test_more_epochs_train_on(scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    now: list[float] = []
    assert train(*small(f"scheduler={scheduler}"), "output=run") == 0
    stopped_at = checkpoint.load(Path("run/checkpoints/last.safetensors"))["optimizer"]["param_groups"][0]["lr"]
    capsys.readouterr()
    with at_step(17, lambda trainer: now.append(trainer.update.optimizer.param_groups[0]["lr"])):
        assert train("resume=run", "epochs=7") == 0
    said = f"was {stopped_at:.3g} when the run stopped, is {now[0]:.3g} now, and continues as in a run of 7"
    assert (said in " ".join(capsys.readouterr().out.split())) == (scheduler != "constant")
    found = lines(Path("run"))
    assert [line["epoch"] for line in found if line["split"] == "train"] == list(range(1, 8))
    assert train(*small(f"scheduler={scheduler}", "epochs=7"), "output=seven") == 0
    rates = [[line["lr"] for line in lines(Path(run)) if line["split"] == "train"] for run in ("run", "seven")]
    assert rates[0][4:] == pytest.approx(rates[1][4:], rel=1e-9)
    if scheduler == "constant":  # no horizon: as if it had always been seven
        assert_same(Path("seven"), Path("run"))
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["epochs"] == 7
    assert summary["resumed"] == [{"step": 16, "changes": {"epochs": 7}}]
    assert "epochs: 7" in Path("run/config.yaml").read_text()


def test_epochs_that_follow_from_the_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """100 observations shown 4,000 times: 40 epochs of one step; then resumed and repeated with other numbers."""
    monkeypatch.setattr(config, "MIN_OBSERVATIONS", 4000)
    words = [*(word for word in SMALL if not word.startswith(("epochs=", "batch_size="))), "batch_size=100"]
    assert train(*words, "output=run") == 0
    assert "100 observations, 40 epochs, " in capsys.readouterr().out
    stored = read_config(Path("run"))
    assert (stored["epochs"], stored["validate"]["every_epochs"]) == (40, None)
    assert epochs_of("run", "val") == list(range(1, 41))
    monkeypatch.setattr(config, "MIN_OBSERVATIONS", 1000)
    assert train("resume=run", "epochs=null") == 0
    assert "run is complete: 40 epochs" in capsys.readouterr().out
    assert train("repeat=run", "output=again") == 0
    assert_same(Path("run"), Path("again"))
    assert train("repeat=run", "epochs=null", "output=shorter") == 0
    assert epochs_of("shorter", "train") == list(range(1, 11))
    assert train("resume=run", "epochs=60") == 0
    assert epochs_of("run", "val") == [*range(1, 41), *range(42, 61, 2)]  # at most 50 of a run of 60


def epochs_of(run: str, split: str) -> list[int]:
    return [line["epoch"] for line in lines(Path(run)) if line["split"] == split]


def test_numbers_of_an_older_configuration_hold() -> None:
    """Before, config.yaml said validate.every_epochs and checkpoint.every_epochs in numbers."""
    assert train(*small(), "output=new") == 0
    both("validate.every_epochs=1", "checkpoint.every_epochs=1", stops=[6])
    assert read_config(Path("parts"))["validate"] == {"every_epochs": 1}
    assert train("repeat=parts", "output=again") == 0
    assert lines(Path("new")) == lines(Path("parts")) == lines(Path("again"))


def test_a_gentler_optimizer_from_there_on() -> None:
    constant = ("scheduler=constant", "optimizer.lr=1e-3")
    assert train(*small(*constant), "output=run", stop_at=6) == 130
    assert train("resume=run", "optimizer.lr=1e-4", "clip_grad_norm=1") == 0
    assert [line["lr"] for line in lines(Path("run")) if line["split"] == "train"] == [1e-3, 1e-4, 1e-4, 1e-4]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["latent_dim=5"], "latent_dim cannot change when a run is resumed (it has latent_dim=3)"),
        (["decoder=gaussian"], "decoder, decoder"),
        (["architecture.hidden=[8]", "dataset.limit=50"], "dataset.limit, architecture.hidden cannot change"),
        (["dataset=beta"], "dataset"),
        (["optimizer=sgd"], "optimizer"),
        (["seed=3"], "seed cannot change"),
        (["batch_size=16"], "batch_size cannot change"),
        (["epochs=1"], "epochs=1: run has trained 2 epochs already; ask for more"),
        (["output=other"], "a run is resumed in its own folder"),
        (["experiment=cnn_mnist"], "experiment= cannot be combined"),
    ],
)
def test_changes_that_are_refused(words: list[str], message: str) -> None:
    assert train(*small(), "output=run", stop_at=10) == 130
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    with pytest.raises(UserError) as refused:
        train("resume=run", *words)
    assert message in str(refused.value)
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_the_same_option_named_again_is_no_change() -> None:
    assert train(*small(), "output=run", stop_at=10) == 130
    assert train("resume=run", "dataset=digits", "decoder=bernoulli", "optimizer=adamw", "latent_dim=3") == 0


def test_changed_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(*small(), "output=run", stop_at=10) == 130
    monkeypatch.setattr(Splits, "sha256", lambda self: "another")
    with pytest.raises(UserError, match="the data have changed"):
        train("resume=run")


@pytest.mark.parametrize(
    ("run", "message"),
    [("nowhere", "there is no such folder"), ("latest", "no run under"), (".", "holds no run to resume")],
)
def test_nothing_to_resume(run: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(f"resume={run}")


def test_a_damaged_checkpoint_is_not_resumed() -> None:
    assert train(*small(), "output=run", stop_at=10) == 130
    path = Path("run/checkpoints/last.safetensors")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="damaged"):
        train("resume=run")


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_averaged_weights_follow_their_recursion(decay: float) -> None:
    """w <- d w + (1 - d) w_model after step t, with d = min(decay, t / (t + 9)), from the first step's weights on."""
    seen: list[torch.Tensor] = []
    with at_step(None, lambda trainer: seen.append(next(trainer.model.parameters()).detach().clone())):
        train(*small(f"ema.decay={decay}"), "output=run")
    seen.append(next(iter(checkpoint.load(Path("run/checkpoints/last.safetensors"))["model"].values())))
    assert len(seen) == STEPS + 1
    expected = seen[1].double()
    for t, weights in enumerate(seen[2:], start=2):
        d = min(decay, t / (t + 9))
        expected = d * expected + (1 - d) * weights.double()
    found = checkpoint.load(Path("run/checkpoints/ema.safetensors"))
    assert found["best"]["epoch"] == found["epoch"] == 4
    torch.testing.assert_close(next(iter(found["model"].values())).double(), expected, rtol=1e-5, atol=1e-7)
    test = json.loads(Path("run/summary.json").read_text())
    assert math.isfinite(test["test_ema"]["elbo"])
    assert test["test_ema"] != test["test"]


def test_a_short_run_s_average_is_not_its_beginning() -> None:
    """After 121 steps at a decay for thousands of them; from the first weights on without a ramp: 1.47 nats short."""
    assert (
        train("dataset=digits", "ema.decay=0.999", "epochs=11", "device=cpu", "images.every_epochs=11", "output=run")
        == 0
    )
    found = json.loads(Path("run/summary.json").read_text())
    assert found["test_ema"]["elbo"] > found["test"]["elbo"] - 0.15


def test_an_average_of_other_steps_is_refused() -> None:
    assert train(*small("ema.decay=0.9"), "output=run", stop_at=6) == 130
    path = Path("run/checkpoints/last.safetensors")
    state = checkpoint.load(path)
    state["ema"]["model"]["n_averaged"].fill_(-9)
    checkpoint.save(path, state)
    with pytest.raises(UserError, match="the averaged weights are those of -9 steps"):
        train("resume=run")


def test_repeat_gives_the_same_numbers() -> None:
    assert train(*small("dataset.binarize=dynamic", "scheduler=cosine"), "output=one") == 0
    assert train("repeat=one", "output=two") == 0
    assert_same(Path("one"), Path("two"))
    Path("copy.yaml").write_bytes(Path("one/config.yaml").read_bytes())
    assert train("repeat=copy.yaml", "output=three", "seed=5") == 0
    assert lines(Path("three")) != lines(Path("one"))
    assert Path("three/config.yaml").read_text() == Path("one/config.yaml").read_text().replace(
        "\nseed: 0", "\nseed: 5"
    )


def test_n_samples_of_an_older_configuration_holds() -> None:
    """`samples` says it today; a config.yaml of before says it again among the objective's keys."""
    assert train(*small("samples=2"), "output=new") == 0
    assert "n_samples" not in Path("new/config.yaml").read_text()
    both("+objective.n_samples=2", stops=[5])
    assert "  n_samples: 2\n" in Path("parts/config.yaml").read_text()
    assert train("repeat=parts", "output=again") == 0
    assert lines(Path("new")) == lines(Path("parts")) == lines(Path("again"))


@pytest.mark.faults
def test_repeat_from_the_command_line(tmp_path: Path) -> None:
    done = called("train", *small(), "output=one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = called("train", "repeat=one/config.yaml", "output=two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(Path("one"), Path("two"))


def test_clipped_gradients() -> None:
    train(*small("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=1", "clip_grad_norm=1e-3", "epochs=1"),
          "output=run")  # fmt: skip
    first, last = start_and_end(Path("run"))
    moved = math.sqrt(sum(float((last[k] - first[k]).double().square().sum()) for k in first))
    assert 0 < moved <= 4 * 1e-3 * (1 + 1e-3)  # four steps of at most lr times the norm


def start_and_end(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    start = prepare(composed(*small()))
    return start.model.state_dict(), checkpoint.load(run / "checkpoints/last.safetensors")["model"]


def test_a_best_later_than_the_last_stays_the_best(tmp_path: Path) -> None:
    """As after a kill between two writes of last.safetensors: where the plan has changed, other epochs follow."""
    assert train(*small(), "output=run") == 0
    assert train(*small(), "output=first", stop_at=5) == 130
    best = checkpoint.load(Path("run/checkpoints/best.safetensors"))
    assert best["epoch"] > 1
    shutil.copy("first/checkpoints/last.safetensors", "run/checkpoints/last.safetensors")
    summary = json.loads(Path("run/summary.json").read_text())
    Path("run/summary.json").write_text(json.dumps({**summary, "status": "interrupted"}))
    assert train("resume=run", "optimizer.lr=1e-12") == 0
    assert json.loads(Path("run/summary.json").read_text())["best"]["epoch"] == best["epoch"]
    assert same(checkpoint.load(Path("run/checkpoints/best.safetensors")), best)


def test_meeting_a_later_best_again_is_no_waiting(tmp_path: Path) -> None:
    assert train(*small("early_stopping.patience=1"), "output=whole") == 0
    shutil.copytree("whole", "run")
    assert train(*small("early_stopping.patience=1"), "output=first", stop_at=5) == 130
    shutil.copy("first/checkpoints/last.safetensors", "run/checkpoints/last.safetensors")
    shutil.copy("first/summary.json", "run/summary.json")
    assert train("resume=run", "images.every_epochs=3") == 0
    assert lines(Path("run")) == lines(Path("whole"))


class Gone(BaseException):
    """The process, in the middle of a step."""


def gone(trainer: Trainer) -> None:
    raise Gone


def test_changes_hold_after_another_stop() -> None:
    assert train(*SMALL, "scheduler=constant", "output=run") == 0
    with at_step(STEPS + 1, gone), pytest.raises(Gone):
        train("resume=run", "epochs=6", "optimizer.lr=0.002")
    assert train("resume=run") == 0
    assert lines(Path("run"))[-1]["epoch"] == 6
    assert lines(Path("run"))[-1]["lr"] == 0.002


def test_another_objective_chooses_its_own_best(tmp_path: Path) -> None:
    """Bounds of many draws lie above the ELBO."""
    assert train(*small("objective=iwae", "objective.k=50"), "output=run") == 0
    assert train("resume=run", "objective=elbo", "epochs=6") == 0
    best = json.loads(Path("run/summary.json").read_text())["best"]
    after = [line["bound"] for line in lines(Path("run")) if line["split"] == "val" and line["epoch"] > 4]
    assert best["epoch"] > 4
    assert best["bound"] == max(after)


def test_a_run_that_was_stopped_early(capsys: pytest.CaptureFixture[str]) -> None:
    words = small("early_stopping.patience=1", "optimizer.lr=0.5", "epochs=30")
    assert train(*words, "output=run") == 0
    ended = lines(Path("run"))[-1]["epoch"]
    assert ended < 30
    capsys.readouterr()
    assert train("resume=run") == 0
    assert f"was stopped early: {ended} epochs" in capsys.readouterr().out
    assert train("resume=run", "early_stopping.patience=3", "epochs=30") == 0
    assert lines(Path("run"))[-1]["epoch"] >= ended + 2
    ended = lines(Path("run"))[-1]["epoch"]
    assert train("resume=run", "epochs=40") == 0
    assert lines(Path("run"))[-1]["epoch"] > ended


def test_a_key_cannot_be_taken_away() -> None:
    assert train(*SMALL, "output=run") == 0
    for word in ("resume=run", "repeat=run"):
        done = called("train", word, "~images.every_epochs", cwd=Path.cwd())
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
