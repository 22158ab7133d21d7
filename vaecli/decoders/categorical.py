"""Grey levels without an order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from vaecli.decoders.base import solve
from vaecli.decoders.grid import GreyDecoder, GreyLevels, GridDistribution


class LevelProbabilities(GridDistribution):
    """P(k) = e^a_k / sum_j e^a_j, from logits (..., levels)."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape[:-1], 1 / (logits.shape[-1] - 1), logits.shape[-1])
        self.logits = logits

    def log_prob(self, value: Tensor) -> Tensor:
        k = self.count(value).clamp(0, self.logits.shape[-1] - 1).to(torch.int64)
        shape = torch.broadcast_shapes(k.shape, self.batch_shape)
        chosen = self.logits.expand(*shape, -1).gather(-1, k.expand(shape).unsqueeze(-1)).squeeze(-1)
        return chosen - self.logits.logsumexp(-1)

    @property
    def values(self) -> Tensor:
        k = torch.arange(self.logits.shape[-1], dtype=self.logits.dtype, device=self.logits.device)
        return k * self.step

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1) * self.values).sum(-1)

    @property
    def variance(self) -> Tensor:
        return (self.logits.softmax(-1) * (self.values - self.mean.unsqueeze(-1)).square()).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        shape = self._extended_shape(torch.Size(sample_shape))
        chances = self.logits.softmax(-1).reshape(-1, self.logits.shape[-1])
        k = torch.multinomial(chances, max(torch.Size(sample_shape).numel(), 1), replacement=True)  # (N, S)
        return k.T.reshape(shape) * self.step


class Categorical(GreyDecoder):
    """Independent grey levels, each with a probability of its own: log p(x|z) = sum_i a_i,k(i) - log sum_j e^a_i,j.

    van den Oord et al. (2016). The network emits a logit for every level. Any distribution over the levels can be
    learned; nothing is assumed, not even that neighbouring levels are alike.

    levels: how many grey levels there are, from 0 to 1
    """

    option = "categorical"

    def __init__(self, x_shape: tuple[int, ...], levels: GreyLevels) -> None:
        super().__init__(x_shape, levels)
        self.n_params = levels

    def forward(self, *logits: Tensor) -> Distribution:
        pixels = LevelProbabilities(torch.stack(logits, -1))
        return Independent(pixels, len(self.x_shape), validate_args=False)

    def params_at_mean(self, mean: Tensor, margin: float = 1e-3) -> Tensor:
        """Of all distributions with the data's mean that of the largest entropy: logits that grow linearly."""
        values = torch.arange(self.levels, dtype=torch.float64) * (1 / (self.levels - 1))
        slope = solve(
            lambda t: LevelProbabilities(t.unsqueeze(-1) * values).mean, mean.clamp(margin, 1 - margin), reach=2000
        )
        return (slope.unsqueeze(-1) * values.to(slope)).movedim(-1, 0)
