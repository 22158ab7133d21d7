"""Curves of the Beta family: data whose two factors are known."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from vaecli.datasets.base import Dataset
from vaecli.datasets.split import Split, Splits, hold_out
from vaecli.utils.memory import check_memory
from vaecli.utils.types import NonNegativeInt, PositiveFloat, PositiveInt, Seed

TEST_SIZE = 1000


def log_pdf(alpha: Tensor, beta: Tensor, t: Tensor) -> Tensor:
    """log Beta(t; alpha, beta) = (alpha-1) log t + (beta-1) log(1-t) - log B(alpha, beta).

    alpha and beta (N,), t (P,) in (0, 1) -> (N, P), in the precision of the arguments.
    """
    a, b = alpha.unsqueeze(-1), beta.unsqueeze(-1)
    log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return (a - 1) * torch.log(t) + (b - 1) * torch.log1p(-t) - log_norm


class Beta(Dataset):
    """Curves of Beta(alpha, beta), both uniform on (0, max_parameter), on `points` points of [0.01, 0.99].

    `size` training curves, and `val_size` and 1,000 more from the same distribution for validation and test, from
    `seed`. The labels are (alpha, beta). space: log_pdf or pdf.
    """

    label_names = factors = ("alpha", "beta")
    recipe = "beta_curves"
    grid: Tensor

    def __init__(
        self,
        size: PositiveInt = 10_000,
        points: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 100,
        max_parameter: PositiveFloat = 5.0,
        space: Literal["log_pdf", "pdf"] = "log_pdf",
        seed: Seed = 0,
        val_size: NonNegativeInt = 1000,
        limit: PositiveInt | None = None,
    ) -> None:
        self.size, self.max_parameter, self.space, self.seed = size, max_parameter, space, seed
        self.val_size, self.limit = val_size, limit
        self.grid = torch.linspace(0.01, 0.99, points, dtype=torch.float64)
        self.label = "log p(t)" if space == "log_pdf" else "p(t)"

    def curves(self, alpha: Tensor, beta: Tensor) -> Tensor:
        """The curves (N, points) of the parameters (N,), float32."""
        y = log_pdf(alpha.double(), beta.double(), self.grid)
        return (y if self.space == "log_pdf" else y.exp()).float()

    def observation(self, **factors: float) -> Tensor:
        alpha, beta = (torch.tensor([factors[name]]) for name in self.factors)
        return self.curves(alpha, beta)[0]

    def load(self) -> Splits:
        n = self.size + self.val_size + TEST_SIZE
        check_memory(3 * 8 * n * (len(self.grid) + 2), f"dataset.size={self.size}", "ask for fewer curves or points")
        generator = torch.Generator().manual_seed(self.seed)
        # 1 - u turns [0, 1) into (0, 1]: a parameter of exactly 0 has no density
        y = self.max_parameter * (1 - torch.rand(n, 2, dtype=torch.float64, generator=generator))
        x = self.curves(y[:, 0], y[:, 1])
        y = y.float()
        train, val = hold_out(x[:-TEST_SIZE], y[:-TEST_SIZE], self.val_size)
        parts = [train, val, (x[-TEST_SIZE:], y[-TEST_SIZE:])]
        return Splits(*(None if part is None else Split(*part).head(self.limit) for part in parts))  # type: ignore[arg-type]
