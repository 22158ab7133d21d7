"""The training loop: exact means, repeatable runs, best and last states, and every way to stop."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.making import prepare
from support.trainers import Recorder, finish, plan, quiet
from torch import Tensor, nn

from vaecli.datasets.split import Split, Splits
from vaecli.models.inference import evaluating
from vaecli.objectives.base import Estimate, Objective
from vaecli.schedulers import constant
from vaecli.training.interrupt import Interrupt
from vaecli.training.step import Update
from vaecli.training.totals import Totals
from vaecli.training.trainer import Plan, Trainer
from vaecli.utils.errors import UserError


class Point(nn.Module):
    """A model with one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def rows_at_once(self) -> int:
        return 1000


class Scripted(Objective):
    """An objective whose bound is `bounds[i]` at the i-th validation, and the data's mean while it trains."""

    made_with = ()

    def __init__(self, bounds: list[float]) -> None:
        self.bounds, self.validations, self.batches = bounds, 0, 0

    def __call__(self, model: Any, x: Tensor, step: int) -> Estimate:
        if model.training:
            self.batches += 1
            elbo = x.mean(-1) + 0 * model.weight
        else:
            elbo = torch.full((len(x),), self.bounds[self.validations])
            self.validations += 1
        return Estimate((model.weight - 1) ** 2 - elbo.mean(), dict.fromkeys(("elbo", "bound", "log_px", "kl"), elbo))


class Called(Objective):
    """An objective that is a function."""

    made_with = ()

    def __init__(self, function: Callable[..., Estimate]) -> None:
        self.function = function

    def __call__(self, model: Any, x: Tensor, step: int) -> Estimate:
        return self.function(model, x, step)


def toy(
    objective: Any, how: Plan, n: int = 10, val: bool = True, interrupt: Any = None
) -> tuple[Trainer, Recorder, Tensor]:
    """A trainer of `Point` on n random observations; its observer; the observations."""
    x = torch.randn(n, 3)
    model, recorder = Point(), Recorder()
    objective = objective if isinstance(objective, Objective) else Called(objective)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    splits = Splits(Split(x), Split(x[:5]) if val else None, Split(x[:5]))
    trainer = Trainer(
        Update(model, objective, optimizer, constant(optimizer, 1, 1)), splits, how, recorder, quiet(n, how.epochs),
        interrupt or SimpleNamespace(requested=None),  # type: ignore[arg-type]
    )  # fmt: skip
    return trainer, recorder, x


# --- means


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (1297, 128), (5, 100), (7, 1)])
def test_an_epoch_s_figures_are_means_of_observations(n: int, batch_size: int) -> None:
    """The last batch may be short: a mean of the batches' means would weigh it too much."""
    objective = Scripted([0.0])
    trainer, recorder, x = toy(objective, plan(1, batch_size), n)
    finish(trainer.epochs())
    split, epoch, step, means, lr = recorder.lines[0]
    assert (split, epoch, step, lr) == ("train", 1, -(-n // batch_size), 0.01)
    assert objective.batches == step
    assert means["elbo"] == pytest.approx(float(x.double().mean()), abs=1e-6)


def test_totals_weigh_the_loss_by_the_batch() -> None:
    totals = Totals()
    for count, loss in ((128, 2.0), (17, 5.0)):
        totals.add(Estimate(torch.tensor(loss), {"elbo": torch.full((count,), -loss), "kl": torch.ones(count)}))
    expected = (128 * 2 + 17 * 5) / 145
    assert totals.means() == pytest.approx({"loss": expected, "elbo": -expected, "kl": 1.0}, rel=1e-6)
    assert totals.latest() == pytest.approx({"loss": 5.0, "elbo": -5.0, "kl": 1.0})


def test_totals_of_many_batches_are_stored_and_restored() -> None:
    totals, restored = Totals(), Totals()
    for i in range(1000):  # more than there is room for at first
        totals.add(Estimate(torch.tensor(float(i)), {"elbo": torch.full((2,), -float(i))}))
    assert torch.equal(totals.rows, torch.arange(1000.0).unsqueeze(1) * torch.tensor([-2.0, 2.0]))
    restored.load_state_dict(totals.state_dict(), torch.device("cpu"))
    for each in (totals, restored):
        each.add(Estimate(torch.tensor(1000.0), {"elbo": torch.full((2,), -1000.0)}))
    assert restored.means() == totals.means() == {"elbo": -500.0, "loss": 500.0}


def test_evaluating_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)

    def fail() -> None:
        with evaluating(model, seed=9):
            assert not model.training
            assert not torch.is_grad_enabled()
            torch.rand(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)


def test_an_epoch_sees_all_once_in_another_order() -> None:
    seen: list[Tensor] = []

    def objective(model: nn.Module, x: Tensor, step: int) -> Estimate:
        seen.append(x)
        return Scripted([0.0] * 99)(model, x, step)

    trainer, _, x = toy(objective, plan(2, 4), val=False)
    finish(trainer.epochs())
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    assert not torch.equal(first, second)
    assert not torch.equal(first, x)
    for epoch in (first, second):
        assert torch.equal(epoch[epoch[:, 0].argsort()], x[x[:, 0].argsort()])


# --- best and last


def test_best_is_the_best_validation() -> None:
    trainer, recorder, _ = toy(Scripted([1.0, 3.0, 2.0, 3.0]), plan(4))
    finish(trainer.epochs())
    assert recorder.epochs("best") == [1, 2]  # a tie is no improvement
    assert recorder.epochs("last") == [0, 1, 2, 3, 4]
    assert trainer.best.epoch == 2
    assert trainer.best.elbo == trainer.best.bound == 3.0
    assert recorder.saved[0][0] == "last"  # before the first step
    assert recorder.saved[0][1]["step"] == 0
    best, last = (float(recorder.last(which)["model"]["weight"]) for which in ("best", "last"))
    assert 0 < best < last < 1


def test_without_a_validation_split_best_is_last() -> None:
    trainer, recorder, _ = toy(Scripted([]), plan(3, checkpoint_every=2), val=False)
    finish(trainer.epochs())
    assert [line[0] for line in recorder.lines] == ["train"] * 3
    assert recorder.epochs("best") == [2, 3]
    assert recorder.epochs("last") == [0, 2, 3]
    assert trainer.best.epoch == 3
    assert recorder.last("best")["model"] == recorder.last("last")["model"]
    assert trainer.best.bound == recorder.lines[-1][3]["bound"]


def test_validate_and_checkpoint_intervals() -> None:
    trainer, recorder, _ = toy(Scripted([1.0, 2.0, 3.0]), plan(5, validate_every=2, checkpoint_every=3))
    finish(trainer.epochs())
    assert [line[1] for line in recorder.lines if line[0] == "val"] == [2, 4, 5]  # always after the last
    assert recorder.epochs("best") == [2, 4, 5]
    assert recorder.epochs("last") == [0, 3, 5]
    assert recorder.finished == [1, 2, 3, 4, 5]


# --- stopping


@pytest.mark.parametrize(("patience", "stops_after"), [(1, 3), (2, 4), (3, 8), (None, 8)])
def test_early_stopping(patience: int | None, stops_after: int) -> None:
    bounds = [1.0, 2.0, 1.5, 1.9, 2.5, 2.4, 2.4, 2.4]
    trainer, recorder, _ = toy(Scripted(bounds), plan(8, patience=patience))
    finish(trainer.epochs())
    assert trainer.epoch == stops_after
    assert recorder.epochs("last")[-1] == stops_after
    assert trainer.best.epoch == (2 if stops_after < 5 else 5)


def test_early_stopping_always_saves_the_last_state() -> None:
    trainer, recorder, _ = toy(Scripted([3.0, 2.0, 1.0]), plan(9, patience=2, checkpoint_every=5))
    finish(trainer.epochs())
    assert (trainer.epoch, recorder.epochs("last")) == (3, [0, 3])


def test_early_stopping_without_validation_is_refused() -> None:
    with pytest.raises(UserError, match=r"dataset\.val_size"):
        prepare(composed("dataset=digits", "dataset.val_size=0", "early_stopping.patience=2"))


def test_an_interrupt_stops_after_the_step_and_saves() -> None:
    flag = SimpleNamespace(requested=None)

    def objective(model: nn.Module, x: Tensor, step: int) -> Estimate:
        if step == 4:  # in the second epoch of three steps
            flag.requested = signal.SIGINT
        return Scripted([0.0] * 99)(model, x, step)

    trainer, recorder, _ = toy(objective, plan(5), interrupt=flag)
    finish(trainer.epochs())
    assert (trainer.epoch, trainer.step) == (1, 5)
    assert recorder.saved[-1][0] == "last"
    assert (recorder.saved[-1][1]["epoch"], recorder.saved[-1][1]["step"]) == (1, 5)
    assert [line[1] for line in recorder.lines] == [1, 1]  # no figures of half an epoch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_is_noted_and_a_second_one_ends(number: signal.Signals) -> None:
    def end(*args: Any) -> None:
        raise AssertionError("the handler before it is not asked")

    before = signal.signal(number, end)
    try:
        with Interrupt() as interrupt:
            assert interrupt.requested is None
            os.kill(os.getpid(), number)
            assert interrupt.requested == number
            with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is end
        with Interrupt():
            pass
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_stops_training(broken: float) -> None:
    def objective(model: nn.Module, x: Tensor, step: int) -> Estimate:
        estimate = Scripted([0.0] * 99)(model, x, step)
        return estimate if step < 4 else Estimate(estimate.loss * broken, estimate.metrics)

    trainer, recorder, _ = toy(objective, plan(5))
    with pytest.raises(UserError, match=r"the loss became non-finite \((nan|-?inf)\) in epoch 2, step 5") as stopped:
        finish(trainer.epochs())
    assert "optimizer.lr" in str(stopped.value)
    assert recorder.epochs("last") == [0, 1]
    assert all(math.isfinite(float(state["model"]["weight"])) for _, state in recorder.saved)


def test_a_non_finite_validation_stops_training() -> None:
    trainer, recorder, _ = toy(Scripted([1.0, math.nan]), plan(5))
    with pytest.raises(UserError, match=r"became non-finite \(nan\) in epoch 2 \(val"):
        finish(trainer.epochs())
    assert recorder.epochs("best") == [1]
