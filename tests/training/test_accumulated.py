"""A batch in parts takes the step of the whole batch; blocks that are recomputed have the same gradients."""

from __future__ import annotations

import pytest
import torch
from support.configurations import composed
from support.making import prepare
from torch import Tensor

from vaecli.training.accumulated import AccumulatedPasses
from vaecli.training.setup import make_update
from vaecli.utils.errors import UserError

SMALL = ("dataset=digits", "dataset.limit=30", "latent_dim=3", "batch_size=7", "decoder=bernoulli", "device=cpu",
         "epochs=1", "optimizer=sgd", "optimizer.lr=0.01", "clip_grad_norm=5", "compile=false")  # fmt: skip


def steps(*words: str) -> dict[str, Tensor]:
    """Weights, random state and the metrics after steps with batches of 7 and of 2 observations."""
    setup = prepare(composed(*SMALL, *words))
    update = make_update(setup, print)
    assert isinstance(update.passes, AccumulatedPasses) == any(word.startswith("accumulate") for word in words)
    torch.manual_seed(3)
    for step, index in enumerate((torch.arange(7), torch.arange(7, 9))):
        estimate = update(setup.splits.train.batch(index), step, lambda estimate: None)
    return {**setup.model.state_dict(), **estimate.metrics, "loss": estimate.loss, "rng": torch.get_rng_state()}


@pytest.mark.parametrize("words", [("samples=2",), ("objective=dreg", "objective.k=3", "posterior=flow"),
                                   ("prior=vamp", "prior.components=4", "objective=warm_up")])  # fmt: skip
def test_parts_of_a_batch_add_up_to_it(words: tuple[str, ...]) -> None:
    whole, parts = steps(*words), steps(*words, "accumulate=3")
    for key, value in whole.items():
        torch.testing.assert_close(parts[key].detach(), value.detach(), rtol=1e-5, atol=1e-5, msg=key)


@pytest.mark.parametrize("word", ["objective=capacity", "objective=free_bits", "decoder=gaussian_optimal"])
def test_what_does_not_add_up_is_refused(word: str) -> None:
    with pytest.raises(UserError, match="accumulate=2: this loss depends on means over the whole batch"):
        prepare(composed(*SMALL, word, "accumulate=2"))


RESNET = ("architecture=resnet", "architecture.channels=[8]", "architecture.hidden=16")


@pytest.mark.parametrize("words", [(), ("precision=bf16",), ("precision=bf16", "accumulate=3", "samples=2")])
def test_recomputed_blocks_have_the_same_gradients(words: tuple[str, ...]) -> None:
    held, again = steps(*RESNET, *words), steps(*RESNET, *words, "architecture.recompute=true")
    assert all(torch.equal(again[key], value) for key, value in held.items())


def test_parts_in_bfloat16_add_up_to_the_batch() -> None:
    """To its rounding, which is coarser: 8 bits."""
    words = (*RESNET, "precision=bf16", "architecture.recompute=true")
    whole, parts, exact = steps(*words), steps(*words, "accumulate=3"), steps(*RESNET)
    assert not torch.equal(whole["loss"], exact["loss"])  # it is computed in bfloat16
    for key, value in whole.items():
        torch.testing.assert_close(parts[key].detach(), value.detach(), rtol=1e-3, atol=3e-4, msg=key)


def test_recomputing_holds_less() -> None:
    def held(*words: str) -> int:
        """Bytes of the activations that a loss holds for its gradient."""
        setup = prepare(composed(*SMALL, *RESNET, "architecture.blocks=3", *words))
        found: dict[int, int] = {}

        def pack(value: Tensor) -> Tensor:
            found[value.data_ptr()] = value.untyped_storage().nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            make_update(setup, print).loss(setup.splits.train.batch(torch.arange(7)), torch.tensor(0))
        return sum(found.values())

    assert held("architecture.recompute=true") < 0.7 * held()
