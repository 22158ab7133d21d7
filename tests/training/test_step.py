"""One batch, one update: the step reaches the loss as a tensor, and what a run keeps of its best has one form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import same
from support.configurations import composed
from support.making import instantiate, prepare
from support.processes import in_child
from support.runs import SMALL as RUN
from support.runs import train
from torch import Tensor

import vaecli
from vaecli.objectives.base import Weighted
from vaecli.runs import checkpoint
from vaecli.training.candidates import Candidate
from vaecli.training.setup import TrainingSetup
from vaecli.training.state import Best, TrainingState
from vaecli.training.step import LossModule, Update
from vaecli.training.trainer import Trainer

SMALL = (
    "dataset=digits",
    "dataset.limit=100",
    "batch_size=50",
    "latent_dim=3",
    "architecture.hidden=[16]",
    "device=cpu",
)
RISING = {  # options whose loss depends on the step, for epochs of two steps
    "warm_up": ("objective=warm_up", "objective.warm_up=3", "objective.kl_weight=0.7"),
    "cyclic": ("objective=cyclic", "objective.warm_up=1.5", "objective.cycle=2"),
    "capacity": ("objective=capacity", "objective.warm_up=3", "decoder=gaussian"),
    "dreg": ("objective=dreg", "objective.k=3", "objective.warm_up=3"),
}


def job_for(*overrides: str) -> tuple[TrainingSetup, Tensor]:
    """A small training job and a batch of its data."""
    job = prepare(composed(*SMALL, *overrides))
    return job, job.splits.train.batch(torch.arange(8))


def loss_at(module: Any, x: Tensor, step: Tensor) -> float:
    torch.manual_seed(1)
    return float(module(x, step).loss.detach())


@pytest.mark.parametrize(
    "option", ["cyclic", *(pytest.param(name, marks=pytest.mark.slow) for name in RISING if name != "cyclic")]
)
def test_a_compiled_loss_sees_the_step_change(option: str) -> None:
    """In one tensor that is filled in: nothing is compiled again, and no step's weight is frozen in."""
    pytest.importorskip("torch._dynamo.testing")
    assert (
        in_child(lambda: compiled_sees_the_step(option)) == 0
    )  # compiling starts threads: no fork would train after it


def compiled_sees_the_step(option: str) -> None:
    from torch._dynamo import testing

    job, x = job_for(*RISING[option])
    eager, counter = LossModule(job.model, job.objective), testing.CompileCounter()
    compiled, step = torch.compile(eager, backend=counter), torch.zeros((), dtype=torch.int64)
    losses = [loss_at(compiled, x, step)]
    frames = counter.frame_count
    assert frames > 0
    for n in range(1, 9):
        losses.append(loss_at(compiled, x, step.fill_(n)))
        assert losses[-1] == loss_at(eager, x, step)
    assert counter.frame_count == frames
    assert len(set(losses)) > 2


@pytest.mark.parametrize("cycle", [None, 1.5, 3.7])
@pytest.mark.parametrize("warm_up", [0.0, 0.6, 1.4])
def test_the_weight_is_that_of_plain_numbers(warm_up: float, cycle: float | None) -> None:
    """To the last bit, whether the step is an int or a tensor."""
    objective = Weighted(kl_weight=0.7, warm_up=warm_up, cycle=cycle, steps_per_epoch=7)
    for step in range(200):
        since = step if cycle is None else step % (cycle * 7)
        expected = 0.7 * (min(1.0, (since + 1) / (warm_up * 7)) if warm_up else 1.0)
        assert float(objective.weight(step)) == float(objective.weight(torch.tensor(step))) == expected


@pytest.mark.parametrize("option", ["elbo", "warm_up", "capacity", "free_bits", "iwae", "dreg", "stl"])
def test_the_loss_keeps_the_precision_of_the_model(option: str) -> None:
    """The weight has twice that of the model."""
    job, x = job_for(f"objective={option}", "objective.warm_up=3")
    for step in (2, torch.tensor(2)):
        torch.manual_seed(1)
        loss = job.objective(job.model, x, step).loss
        assert loss.dtype == torch.float32
        assert loss.shape == ()


def test_an_update_that_is_refused_changes_nothing() -> None:
    job, x = job_for()
    update = Update(job.model, job.objective, job.optimizer, job.scheduler)
    update(x, 0, lambda estimate: None)
    kept = [tensor.clone() for p in job.model.parameters() for tensor in (p.detach(), p.grad) if tensor is not None]

    def refuse(estimate: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        update(x, 1, refuse)
    now = [tensor for p in job.model.parameters() for tensor in (p.detach(), p.grad) if tensor is not None]
    assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True))


def test_candidates_of_a_run_compare_alike() -> None:
    one = Candidate("best", torch.nn.Identity(), torch.nn.Identity())
    train_figures = {"bound": -9.0, "elbo": -9.5}
    seen = []
    for epoch, bound in enumerate([-3.0, -2.0, -2.0, -4.0], start=1):
        one.update_best(epoch, train_figures, {"bound": bound, "elbo": bound - 1})
        seen.append((one.best.epoch, one.best.validations_since_best, one.improved_in))
    assert seen == [(1, 0, 1), (2, 0, 2), (2, 1, 2), (2, 2, 2)]
    one.best = Best(9, -1.0, -1.0, 1)  # of a later epoch than the one that a stopped run comes to again
    one.update_best(8, train_figures, {"bound": -5.0, "elbo": -5.0})
    assert one.best == Best(9, -1.0, -1.0, 1)
    one.forget_best()
    assert one.best == Best(9, None, -1.0, 0)
    one.update_best(10, train_figures, None)
    assert one.best == Best(10, -9.0, -9.5)


def test_a_checkpoint_keeps_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the first version, so that older runs go on; what is read back is what was written."""
    monkeypatch.chdir(tmp_path)
    assert train(*RUN, "ema.decay=0.9", "output=run", stop_at=6) == 130
    stored = checkpoint.load(Path("run/checkpoints/last.safetensors"))
    own = {"model", "optimizer", "scheduler", "step", "epoch", "best", "rng"}
    file = {"format", "config", "x_shape"}
    assert stored.keys() == own | file | {"partial", "ema"}
    assert stored["ema"].keys() == {"model", "best"}
    assert stored["best"].keys() == stored["ema"]["best"].keys() == {"epoch", "bound", "elbo", "waited"}
    again = TrainingState.from_dict(stored).to_dict()
    assert same(again, {key: stored[key] for key in again})
    assert checkpoint.load(Path("run/checkpoints/ema.safetensors")).keys() == own | file


@pytest.mark.parametrize(
    "record",
    [
        [], {"epoch": 1}, {"epoch": "1", "bound": 1.0, "elbo": 1.0, "waited": 0},
        {"epoch": 1, "bound": "x", "elbo": 1.0, "waited": 0}, {"epoch": 1, "bound": 1.0, "elbo": 1.0, "waited": -1},
        {"epoch": 1, "bound": float("nan"), "elbo": 1.0, "waited": 0},
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(record: Any) -> None:
    with pytest.raises(ValueError, match="its record of the best epoch"):
        Best.from_dict(record)


def test_interrupted_without_a_split_saves_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is the last then, and so are the averaged weights."""
    monkeypatch.chdir(tmp_path)
    words = (*RUN, "ema.decay=0.9", "dataset.val_size=0", "checkpoint.every_epochs=4")
    assert train(*words, "output=run", stop_at=6) == 130
    steps = {path.stem: checkpoint.load(path)["step"] for path in Path("run/checkpoints").iterdir()}
    assert steps == {"last": 6, "best": 6, "ema": 6}


def test_an_option_s_step_is_the_trainer_s() -> None:
    """What an objective of the user's own is given: an integer in a tensor."""
    seen: list[Tensor] = []
    job, x = job_for()
    inner = instantiate(composed(), "objective", steps_per_epoch=2, n_samples=1)

    def objective(model: Any, x: Tensor, step: Tensor) -> Any:
        seen.append(step.clone())
        return inner(model, x, step)

    update = Update(job.model, objective, job.optimizer, job.scheduler)  # type: ignore[arg-type]
    for step in range(3):
        update(x, step, lambda estimate: None)
    assert [int(step) for step in seen] == [0, 1, 2]
    assert all(step.shape == () and not step.is_floating_point() for step in seen)


def test_denormals_are_zero_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flushed() -> bool:
        return float(torch.full((), 2.0**-127)) == 0

    seen = []
    take = Trainer.train_epoch

    def train_epoch(self: Trainer, epoch: int) -> Any:
        seen.append(flushed())
        return take(self, epoch)

    monkeypatch.setattr(Trainer, "train_epoch", train_epoch)
    vaecli.train("dataset=digits", "epochs=1", f"output={tmp_path / 'run'}")
    assert seen == [True]
    assert not flushed()
