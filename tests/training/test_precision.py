"""Networks in bfloat16, and the optimizer's kernel called directly."""

from __future__ import annotations

import copy

import pytest
import torch
from support.configurations import composed
from support.making import prepare
from torch import nn

from vaecli.training.fused_adam import DirectStep
from vaecli.training.precision import in_bfloat16
from vaecli.training.setup import make_update

NARROW = ("dataset=digits", "dataset.limit=100", "architecture.hidden=[16]", "latent_dim=3", "device=cpu")


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_only_products_are_in_bfloat16(architecture: str) -> None:
    words = [word for word in NARROW if architecture == "mlp" or "hidden" not in word]
    job = prepare(composed(*words, f"architecture={architecture}", "precision=bf16", "epochs=1"))
    x = job.splits.train.batch(slice(0, 50))
    seen = []
    layers = [m for m in job.model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(lambda _, args, out: seen.append(out.dtype)) for layer in layers]
    update = make_update(job, print)
    torch.manual_seed(1)
    low = update.loss(x, update.step)
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == len(layers)
    assert {metric.dtype for metric in (low.loss, *low.metrics.values())} == {torch.float32}
    low.loss.backward()
    assert {p.grad.dtype for p in job.model.parameters() if p.grad is not None} == {torch.float32}
    seen.clear()
    torch.manual_seed(1)
    high = job.objective(job.model, x, update.step)
    assert set(seen) == {torch.float32}, "validation and evaluation are in float32"
    for name, metric in high.metrics.items():
        torch.testing.assert_close(low.metrics[name], metric, rtol=0.05, atol=0.1)
    assert low.metrics["elbo"].mean().item() == pytest.approx(high.metrics["elbo"].mean().item(), rel=0.01)
    for hook in hooks:
        hook.remove()


def test_a_network_that_fails_leaves_no_bfloat16_behind() -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    network = nn.Sequential(nn.Linear(2, 2))
    network[0].register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError), in_bfloat16(network):
        network(torch.ones(1, 2))
    assert not torch.is_autocast_enabled("cpu")
    assert not network._forward_hooks


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_a_direct_step_is_the_optimizers(name: str) -> None:
    """Bit for bit, also with a gradient that is missing, another rate, and a state that is restored."""
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))]
    nets.append(copy.deepcopy(nets[0]))
    optimizers = [getattr(torch.optim, name)(net.parameters(), lr=0.1, weight_decay=0.01, fused=True) for net in nets]
    steps = [optimizers[0].step, DirectStep(optimizers[1])]
    kept = None
    for i in range(12):
        x = torch.randn(5, 3)
        for net, optimizer, step in zip(nets, optimizers, steps, strict=True):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            if i == 7:
                net[1].bias.grad = None
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + i)
            step()
            if i == 9:
                optimizer.load_state_dict(copy.deepcopy(kept or optimizer.state_dict()))
        kept = copy.deepcopy(optimizers[0].state_dict()) if i == 4 else kept
        for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            assert torch.equal(a, b), i
    for a, b in zip(*(optimizer.state_dict()["state"].values() for optimizer in optimizers), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a if a[key] is not None)
    assert (steps[1].count.numel() > 0) == (name != "SGD")  # type: ignore[union-attr]
