"""Networks that compute in bfloat16 while everything else stays in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bf16"]


@contextmanager
def in_bfloat16(*networks: nn.Module) -> Iterator[None]:
    """Within it these networks compute their products in bfloat16; weights, outputs and gradients stay float32.

    Densities, KL divergences and sums over dimensions are computed outside of the networks, and so in float32
    (Micikevicius et al., 2018, keep reductions in single precision for the same reason).
    """
    with ExitStack() as hooks:
        for network in networks:
            scopes: list[torch.autocast] = []
            hooks.enter_context(network.register_forward_pre_hook(partial(enter, scopes)))
            hooks.enter_context(network.register_forward_hook(partial(leave, scopes), always_call=True))
        yield


def enter(scopes: list[torch.autocast], network: nn.Module, args: tuple[Any, ...]) -> None:
    scopes.append(torch.autocast(next(network.parameters()).device.type, torch.bfloat16, cache_enabled=False))
    scopes[-1].__enter__()


def leave(scopes: list[torch.autocast], network: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
    """Also called if the network raises, with None as its output."""
    scopes.pop().__exit__(None, None, None)
    return out.float() if isinstance(out, Tensor) else out
