"""Binary pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from vaecli.decoders.base import DataFacts, Decoder, check_unit_interval

GREY = (
    "grey values under decoder=bernoulli: all figures are expectations over binary images, not densities of grey data. "
    "The images are drawn with the grey values as probabilities, and the figures are not comparable with those for "
    "binarised data. "
    "For a likelihood of the grey data use decoder={better}"
)


class SumLogProb(torch.autograd.Function):
    """sum_i x_i a_i - log(1 + e^a_i), with log(1 + e^a) = max(a, 0) - log s(|a|), s the logistic function.

    torch's softplus takes log1p, which costs eight times as much as log on a CPU; s(|a|) is at least 1/2, where log
    loses nothing. The gradient x - s(a) needs no more than s, which is the second output.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) and logits (..., D), which broadcast -> the sum (...), and s (..., D)."""
        s = torch.sigmoid(logits)
        surer = (s - 0.5).abs_().add_(0.5)  # s(|a|)
        return torch.linalg.vecdot(x, logits) - logits.relu().sum(-1) + surer.log_().sum(-1), s

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        x, logits = inputs
        ctx.save_for_backward(x, output[1], logits if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx: Any, up: Tensor | None, up_s: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """up (...): of the sum; up_s (..., D): of s, where a second derivative is taken."""
        x, s, logits = ctx.saved_tensors
        to_logits = None if up is None else up.unsqueeze(-1) * (x - s)
        if up_s is not None:
            own = up_s * s * (1 - s)
            to_logits = own if to_logits is None else to_logits + own
        to_x = None if logits is None or up is None else (up.unsqueeze(-1) * logits).sum_to_size(x.shape)
        return to_x, to_logits


def sum_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """The sum of `SumLogProb` where no gradient is wanted, as (x - 1/2) a - |a| / 2 + log s(|a|): half the memory."""
    size = logits.abs()
    linear = torch.linalg.vecdot(x - 0.5, logits) - size.sum(-1) / 2
    return linear + size.sigmoid_().log_().sum(-1)


class Pixels(TorchBernoulli):
    """Bernoulli with log p = x a - log(1 + e^a), in a third of the time of PyTorch's own formula."""

    def log_prob(self, value: Tensor) -> Tensor:
        return value * self.logits - F.softplus(self.logits)


class IndependentPixels(Independent):
    """Independent pixels whose log-probabilities are summed while they are computed."""

    base_dist: Pixels

    def log_prob(self, value: Tensor) -> Tensor:
        n = self.reinterpreted_batch_ndims
        if n == 0:
            return self.base_dist.log_prob(value)
        logits = self.base_dist.logits
        x, logits = value.to(logits.dtype).flatten(-n), logits.flatten(-n)
        if not (x.requires_grad or logits.requires_grad):
            return sum_log_prob(x, logits)
        log_p, _ = SumLogProb.apply(x, logits)
        return log_p


class Bernoulli(Decoder):
    """Independent binary pixels: log p(x|z) = sum_i x_i log s(a_i) + (1 - x_i) log s(-a_i), s the logistic function.

    Kingma and Welling (2014), appendix C.1. Grey x in [0, 1] are allowed with a warning: the sum is then the expected
    log-probability of binary images drawn from Bernoulli(x).
    """

    n_params = 1

    def forward(self, logits: Tensor) -> Distribution:  # type: ignore[override]
        pixels = Pixels(logits=logits, validate_args=False)
        return IndependentPixels(pixels, len(self.x_shape), validate_args=False)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """The mean's logits; `margin` keeps pixels that never change at a finite one."""
        return torch.logit(mean, eps=margin).unsqueeze(0)

    def check(self, data: DataFacts) -> str | None:
        check_unit_interval("bernoulli", data)
        if data.binary:
            return None
        binary = "; for binary data dataset.binarize=dynamic" if data.can_binarize else ""
        return GREY.format(better="gaussian" if data.step is None else "discretized_logistic") + binary
