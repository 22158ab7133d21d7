"""A step from a recorded graph is the eager step, bit for bit, and that of a loop written out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.configurations import composed
from support.making import prepare
from support.runs import SMALL, assert_same, train
from support.thinned import every
from torch import Tensor
from torch.fx import GraphModule
from torch.nn import functional as F

from vaecli.training import execution
from vaecli.training.execution import COMPILE_FROM, RECORD_FROM, Execution, choose_execution
from vaecli.training.graph import StepGraph
from vaecli.training.passes import Passes
from vaecli.training.setup import TrainingSetup
from vaecli.training.step import LossModule, Update

TINY = ("dataset=digits", "dataset.limit=100", "batch_size=50", "latent_dim=3", "device=cpu")
NARROW = "architecture.hidden=[16]"
OPTIONS = [
    "decoder=bernoulli samples=3",
    "decoder=gaussian objective=capacity objective.warm_up=3",
    "decoder=gaussian_optimal objective=free_bits",
    "decoder=negative_binomial objective=stl",
    "decoder=discretized_logistic objective=dreg objective.k=3 objective.warm_up=3",
    "prior=flow posterior=flow objective=iwae",
    "prior=vamp prior.components=20 posterior=gaussian_full",
    "prior=mixture architecture=gated_mlp objective=warm_up",
]


def made(*words: str) -> tuple[TrainingSetup, LossModule]:
    job = prepare(composed(*TINY, *words))
    return job, LossModule(job.model.train(), job.objective)


@pytest.mark.parametrize(
    "words", every(3, [*(f"{NARROW} {one}" for one in OPTIONS), "architecture=resnet", "architecture=conv"])
)
def test_a_recorded_pass_is_the_eager_one(words: str) -> None:
    """To the last bit, with other observations and at another step than it was recorded with."""
    job, loss = made(*words.split())
    first, second = (job.splits.train.batch(torch.arange(n, n + 50)) for n in (0, 50))
    step, state = torch.zeros((), dtype=torch.int64), torch.get_rng_state()
    graph = StepGraph(loss, first, step)
    graph.lower(first, step)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(graph.replay, GraphModule) == ("hidden" not in words)  # convolutions stay in Python
    step.fill_(1)
    torch.manual_seed(1)
    estimate, gradients = graph(second, step)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    expected = loss(second, step)
    expected.loss.backward()
    assert torch.equal(after, torch.get_rng_state())
    assert torch.equal(estimate.loss, expected.loss)
    assert list(estimate.metrics) == list(expected.metrics)
    assert all(torch.equal(estimate.metrics[name], expected.metrics[name]) for name in expected.metrics)
    for parameter, gradient in zip(graph.trained, gradients, strict=True):
        assert (gradient is None) == (parameter.grad is None)
        assert gradient is None or torch.equal(gradient, parameter.grad)  # type: ignore[arg-type]


def reference(weights: dict[str, Tensor], batches: list[Tensor]) -> list[float]:
    """The losses of a multilayer perceptron's steps in plain PyTorch, by Kingma and Welling (2014) and Kingma and
    Ba (2015); changes the weights."""
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in weights.items()}
    losses = []
    for t, x in enumerate(batches, start=1):
        leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
        w1, b1, w2, b2, v1, c1, v2, c2 = leaves.values()
        loc, log_scale = (F.relu(x.flatten(1) @ w1.T + b1) @ w2.T + b2).chunk(2, -1)
        z = loc + log_scale.exp() * torch.empty(1, *loc.shape).normal_()
        logits = F.relu(z @ v1.T + c1) @ v2.T + c2
        target = x.flatten(1).expand_as(logits)
        nll = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
        kl = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
        loss = nll.mean() + kl.mean()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for (name, w), g in zip(weights.items(), gradients, strict=True):
            m, v = moments[name]
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            w.sub_(1e-3 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("recorded", [False, True])
def test_twenty_steps_are_those_of_a_plain_loop(recorded: bool) -> None:
    plain = ("architecture.activation=relu", "scheduler=constant", "optimizer=adam", "optimizer.lr=0.001")
    job, loss = made(NARROW, "decoder=bernoulli", "dataset.binarize=threshold", *plain)
    batches = [job.splits.train.batch(torch.randperm(100)[:50]) for _ in range(20)]
    weights = {name: p.detach().clone() for name, p in job.model.named_parameters()}
    update = Update(job.model, job.objective, job.optimizer, job.scheduler)
    update.passes = Passes(loss, Execution(recorded), 50)
    torch.manual_seed(2)
    losses = [float(update(x, step, lambda _: None).loss.detach()) for step, x in enumerate(batches)]
    assert (update.passes.graph is not None) == recorded
    torch.manual_seed(2)
    assert losses == pytest.approx(reference(weights, batches), rel=1e-5)
    for name, p in job.model.named_parameters():
        torch.testing.assert_close(p.detach(), weights[name], rtol=1e-3, atol=1e-5)


def test_a_recorded_run_is_the_eager_one_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batches that are drawn anew, an average, a smaller last batch, and a stop within an epoch."""
    monkeypatch.chdir(tmp_path)
    words = (*SMALL, "dataset.binarize=dynamic", "ema.decay=0.9", "clip_grad_norm=1")
    assert train(*words, "compile=false", "output=eager") == 0
    recorded: list[StepGraph] = []
    init = StepGraph.__init__
    monkeypatch.setattr(StepGraph, "__init__", lambda self, *args: (recorded.append(self), init(self, *args))[1])
    monkeypatch.setattr(execution, "RECORD_FROM", 1)
    assert train(*words, "output=graph") == 0
    assert train(*words, "output=stopped", stop_at=6) == 130
    assert train("resume=stopped") == 0
    assert len(recorded) == 3
    assert_same(Path("eager"), Path("graph"))
    assert_same(Path("eager"), Path("stopped"))


def test_how_a_run_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, loss = made(NARROW)
    assert choose_execution("auto", loss, RECORD_FROM - 1) == Execution(False)
    assert choose_execution(False, loss, COMPILE_FROM) == Execution(False)
    assert choose_execution("auto", loss, RECORD_FROM) == Execution(True)
    monkeypatch.setattr(execution, "has_compiler", lambda: False)
    for wanted in ("auto", True):
        found = choose_execution(wanted, loss, COMPILE_FROM)  # type: ignore[arg-type]
        assert found[:2] == (True, False)
        assert found.remark is not None
        assert "no C++ compiler" in found.remark
    monkeypatch.setattr(execution, "has_compiler", lambda: True)
    assert choose_execution("auto", loss, COMPILE_FROM)[:2] == choose_execution(True, loss, 1)[:2] == (True, True)


class Counting(torch.nn.ReLU):
    """A user's own layer, which does in Python what a graph would freeze."""


def test_a_stranger_s_class_is_recorded_only_when_asked() -> None:
    _, loss = made(NARROW)
    loss.model.encoder_network[2] = Counting()  # type: ignore[operator,index]
    assert choose_execution("auto", loss, RECORD_FROM) == Execution(False)


def test_what_cannot_be_recorded_is_taken_as_it_is() -> None:
    class Looking(LossModule):
        def forward(self, x: Tensor, step: Tensor) -> Any:
            return super().forward(x, step) if math.isfinite(x.sum().item()) else None

    job, loss = made(NARROW)
    said: list[str] = []
    passes = Passes(Looking(job.model, job.objective), Execution(True), 50, said.append)
    x, step = job.splits.train.batch(torch.arange(50)), torch.zeros((), dtype=torch.int64)
    torch.manual_seed(3)
    found = passes(x, step)[0].loss
    torch.manual_seed(3)
    assert torch.equal(found, loss(x, step).loss)
    assert len(said) == 1
    assert "could not be recorded" in said[0]
