"""The update of torch's fused Adam and AdamW without the Python code around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

KERNELS: dict[type, Callable[..., None]] = {
    torch.optim.Adam: torch._fused_adam_,
    torch.optim.AdamW: torch._fused_adamw_,
}
PLAIN = {"amsgrad": False, "maximize": False, "differentiable": False, "capturable": False, "fused": True}


class DirectStep:
    """Takes the steps of an optimizer: for a fused Adam or AdamW by calling its kernel, for others by their `step`.

    `step` collects parameters, gradients and moments anew each time, which for a small network takes longer than the
    update. Here they are collected only when the optimizer holds other ones. The results are the same to the last bit.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.kernel = KERNELS.get(type(optimizer))
        self.parameters: Sequence[Tensor] = ()
        self.means: Sequence[Tensor] = ()
        self.squares: Sequence[Tensor] = ()
        self.counts: Sequence[Tensor] = ()  # of the steps taken, views of `count`
        self.count = torch.empty(0)

    def __call__(self) -> None:
        if not self.collected():
            self.optimizer.step()
            self.collect()
            return
        group = self.optimizer.param_groups[0]
        gradients = [p.grad for p in self.parameters]
        if any(gradient is None for gradient in gradients):
            self.optimizer.step()
            return
        beta1, beta2 = group["betas"]
        assert self.kernel is not None
        with torch.no_grad():
            self.count += 1
            self.kernel(
                self.parameters, gradients, self.means, self.squares, [], self.counts, lr=group["lr"], beta1=beta1,
                beta2=beta2, weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
            )  # fmt: skip

    def collected(self) -> bool:
        """Whether the tensors are those that the optimizer holds now."""
        if not self.parameters:
            return False
        state = self.optimizer.state.get(self.parameters[0], {})
        return state.get("exp_avg") is self.means[0]

    def collect(self) -> None:
        """Look up the tensors after the optimizer's own step; none if there is no kernel for it."""
        groups, state = self.optimizer.param_groups, self.optimizer.state
        if self.kernel is None or len(groups) != 1 or any(groups[0].get(key) != is_ for key, is_ in PLAIN.items()):
            return
        trained = [p for p in groups[0]["params"] if p in state]
        if not trained or any(p.device.type != "cpu" or p.dtype != torch.float32 for p in trained):
            return
        self.means = [state[p]["exp_avg"] for p in trained]
        self.squares = [state[p]["exp_avg_sq"] for p in trained]
        self.count = torch.stack([state[p]["step"] for p in trained])
        self.counts = self.count.unbind()
        for p, count in zip(trained, self.counts, strict=True):
            state[p]["step"] = count
        self.parameters = trained
