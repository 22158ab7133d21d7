"""Real models under the training loop: repeatable, improving, and with the schedule that was asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from support.configurations import composed
from support.making import instantiate, prepare
from support.trainers import Recorder, finish, quiet

from vaecli.models.inference import INFERENCE_BATCH, evaluating
from vaecli.training.lifecycle import plan
from vaecli.training.setup import TrainingSetup
from vaecli.training.step import Update
from vaecli.training.totals import mean_metrics
from vaecli.training.trainer import Trainer
from vaecli.utils.errors import UserError

SMALL = (
    "dataset=digits", "dataset.limit=150", "batch_size=64", "latent_dim=3", "architecture.hidden=[16]", "device=cpu",
)  # fmt: skip


def train(*overrides: str) -> tuple[TrainingSetup, Trainer, Recorder]:
    """A real model, trained in this process."""
    job, recorder = prepare(composed(*SMALL, *overrides)), Recorder()
    how = plan(job)
    trainer = Trainer(
        Update(job.model, job.objective, job.optimizer, job.scheduler), job.splits, how, recorder,
        quiet(len(job.splits.train), how.epochs), SimpleNamespace(requested=None),  # type: ignore[arg-type]
    )  # fmt: skip
    finish(trainer.epochs())
    return job, trainer, recorder


def test_validation_figures_are_means_of_observations() -> None:
    job = prepare(composed("dataset=digits", "latent_dim=3", "architecture.hidden=[16]", "samples=2"))
    split = job.splits.train
    assert len(split) % INFERENCE_BATCH
    found = mean_metrics(job.model, job.objective, split)
    with evaluating(job.model):
        parts = [
            job.objective(job.model, split.batch(slice(i, i + INFERENCE_BATCH)), 0)
            for i in range(0, len(split), INFERENCE_BATCH)
        ]
    for name in ("elbo", "bound", "log_px", "kl"):
        values = torch.cat([part.metrics[name] for part in parts]).double()
        assert found[name] == pytest.approx(float(values.mean()), rel=1e-6)
    assert found["loss"] == pytest.approx(-found["elbo"], rel=1e-6)
    assert mean_metrics(job.model, job.objective, split) == found  # the same noise each time


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_the_same_seed_gives_the_same_figures(binarize: str) -> None:
    overrides = ("epochs=2", "samples=2", f"dataset.binarize={binarize}")
    (_, _, one), (_, _, again), (_, _, other) = (train(*overrides, f"seed={seed}") for seed in (0, 0, 1))
    assert one.lines == again.lines
    assert [line[3] for line in one.lines] != [line[3] for line in other.lines]
    weights, repeated = (recorder.last("last")["model"] for recorder in (one, again))
    assert all(torch.equal(weights[key], repeated[key]) for key in weights)


def test_the_largest_seed_trains() -> None:
    assert len(train("epochs=1", f"seed={2**63 - 1}")[2].lines) == 2


def test_validation_does_not_change_training() -> None:
    """Neither its noise nor its frequency."""
    often, seldom = (train("epochs=3", f"validate.every_epochs={every}")[2] for every in (1, 3))
    assert [line for line in often.lines if line[0] == "train"] == [line for line in seldom.lines if line[0] == "train"]
    assert [line[1] for line in seldom.lines if line[0] == "val"] == [3]


def test_training_improves_the_bound() -> None:
    _, _, recorder = train("decoder=gaussian", "epochs=8", "optimizer.lr=0.01")
    for split in ("train", "val"):
        elbo = [line[3]["elbo"] for line in recorder.lines if line[0] == split]
        assert elbo[-1] > elbo[0] + 20


def test_first_figures_have_the_objective_s_own_terms() -> None:
    _, _, recorder = train("epochs=1", "objective.kl_weight=0.5")
    for *_, means, _ in recorder.lines:
        assert means.keys() == {"elbo", "bound", "log_px", "kl", "loss"}
        assert means["elbo"] == pytest.approx(means["log_px"] - means["kl"], rel=1e-5)
        assert means["loss"] == pytest.approx(0.5 * means["kl"] - means["log_px"], rel=1e-5)


def test_a_state_goes_back_into_model_and_optimizer() -> None:
    job, trainer, recorder = train("epochs=2")
    state, fresh = recorder.last("last"), prepare(composed(*SMALL, "epochs=2", "seed=5"))
    fresh.model.load_state_dict(state["model"])
    fresh.optimizer.load_state_dict(state["optimizer"])
    fresh.scheduler.load_state_dict(state["scheduler"])
    assert (state["epoch"], state["step"]) == (2, trainer.step) == (2, 6)
    assert mean_metrics(fresh.model, job.objective, job.splits.test) == mean_metrics(
        job.model, job.objective, job.splits.test
    )


def test_an_absurd_learning_rate_is_told() -> None:
    with pytest.raises(UserError, match="non-finite"):
        train("epochs=20", "optimizer=sgd", "optimizer.lr=1e20")


def lrs(*overrides: str) -> list[float]:
    """The learning rate logged after each epoch."""
    return [line[4] for line in train("optimizer.lr=0.01", *overrides)[2].lines if line[0] == "train"]


def test_the_rate_after_each_epoch() -> None:
    assert lrs("epochs=3", "scheduler=constant") == [0.01] * 3
    assert lrs("epochs=3", "scheduler=exponential", "scheduler.gamma=0.5") == pytest.approx([0.005, 0.0025, 0.00125])
    assert lrs("epochs=2", "scheduler=cosine", "scheduler.min_lr=0.001") == pytest.approx([0.0055, 0.001])
    assert lrs("epochs=4", "scheduler=one_cycle", "scheduler.max_lr=0.02")[-1] < 1e-4


def test_stopping_and_schedules_count_ragged_batches() -> None:
    job = prepare(composed(*SMALL, "epochs=4"))
    assert -(-len(job.splits.train) // job.config.batch_size) == 3
    schedule = instantiate(
        composed("scheduler=exponential"), "scheduler", optimizer=job.optimizer, total_steps=12, steps_per_epoch=3
    )
    assert schedule.step_size == 3
