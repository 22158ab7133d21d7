"""Random numbers for a share of a batch: those that one process with the whole batch would draw for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaecli.utils.ranks import Share

FILLED = (Tensor.normal_, Tensor.uniform_, Tensor.exponential_, Tensor.cauchy_, Tensor.log_normal_, Tensor.geometric_)
MADE = (torch.randn, torch.rand)
LIKE = (torch.randn_like, torch.rand_like)


class WholeNoise(TorchFunctionMode):
    """Draws the noise of the whole batch and returns the rows of the share, so that all generators stay alike.

    dim: the dimension of the observations in the draws
    """

    def __init__(self, share: Share, dim: int) -> None:
        super().__init__()
        self.share, self.dim = share, dim

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rest: Any = dict(kwargs or {})
        if func in (*FILLED, *LIKE) and self.is_shared(args[0].shape):
            noise = self.own(func(args[0].new_empty(self.whole(args[0].shape)), *args[1:], **rest))
            return args[0].copy_(noise) if func in FILLED else noise
        if func in MADE:
            shape = torch.Size(args[0] if isinstance(args[0], Sequence) else args)
            if self.is_shared(shape):
                return self.own(func(self.whole(shape), **rest))
        if func is torch.normal and isinstance(args[0], Tensor) and self.is_shared(args[0].shape):
            noise = args[0].new_empty(self.whole(args[0].shape)).normal_(generator=rest.get("generator"))
            return self.own(noise) * args[1] + args[0]
        return func(*args, **rest)

    def is_shared(self, shape: torch.Size) -> bool:
        """Whether a tensor of this shape has a row for each observation of the share."""
        return len(shape) > self.dim and shape[self.dim] == self.share.stop - self.share.start

    def whole(self, shape: torch.Size) -> torch.Size:
        return torch.Size([*shape[: self.dim], self.share.total, *shape[self.dim + 1 :]])

    def own(self, values: Tensor) -> Tensor:
        return values.narrow(self.dim, self.share.start, self.share.stop - self.share.start)
