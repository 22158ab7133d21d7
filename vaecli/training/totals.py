"""Exact means over a data set: sums over observations, divided by their number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaecli.datasets.split import Split
from vaecli.models.inference import evaluating, inference_batch_size, shared_batches
from vaecli.models.vae import VAE
from vaecli.objectives.base import Estimate, Objective
from vaecli.utils.ranks import all_reduce_sum, leads, without_repeats
from vaecli.utils.types import StateDict

FIRST_ROWS = 256  # batches for which there is room at first


class Totals:
    """Sums of an objective's metrics and loss over each batch, kept on the device, so that adding never waits for it.

    They lie in one tensor: a small tensor for each step would keep glibc from using the memory around it again.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self.held = torch.empty(0, 0)  # the rows, and room for more

    @property
    def rows(self) -> Tensor:
        """(N, M): M sums of each of N batches."""
        return self.held[: len(self.counts)]

    def add(self, estimate: Estimate) -> None:
        self.names = [*estimate.metrics, "loss"]
        sums = without_repeats(torch.stack(list(estimate.metrics.values())).detach(), -1).sum(-1)
        count = len(without_repeats(estimate.metrics["elbo"]))
        self.extend(torch.cat([sums, estimate.loss.detach().reshape(1) * count]).unsqueeze(0), [count])

    def extend(self, rows: Tensor, counts: Sequence[int]) -> None:
        """Add the rows (N, M) of N batches, which had so many observations."""
        before, after = len(self.counts), len(self.counts) + len(counts)
        if after > len(self.held):
            larger = rows.new_empty(max(FIRST_ROWS, 2 * after), rows.shape[1])
            if before:
                larger[:before] = self.rows
            self.held = larger
        self.held[before:after] = rows
        self.counts += counts

    def means(self) -> dict[str, float]:
        """Each metric's mean over the observations that all processes of the run have added so far."""
        sums = self.rows.cpu().double().sum(0)
        total = all_reduce_sum(sums) / int(all_reduce_sum(torch.tensor(sum(self.counts))))
        return dict(zip(self.names, total.tolist(), strict=True))

    def latest(self) -> dict[str, float]:
        """Each metric's mean over the last batch added; waits for the device."""
        return dict(zip(self.names, (self.rows[-1] / max(1, self.counts[-1])).tolist(), strict=True))

    def first_broken(self) -> tuple[int, dict[str, float]] | None:
        """The first batch with a sum that is not finite, counted from 0, and those sums by name; waits for the device.

        None where all are finite.
        """
        rows = self.rows.cpu()
        bad = (~rows.isfinite()).nonzero()
        if not len(bad):
            return None
        first = int(bad[0, 0])
        named = zip(self.names, rows[first].tolist(), strict=True)
        return first, {name: value for name, value in named if not math.isfinite(value)}

    def state_dict(self) -> StateDict:
        """Plain containers and tensors, from which `load_state_dict` restores the sums bit for bit."""
        rows, counts = all_reduce_sum(self.rows.cpu().clone()), all_reduce_sum(torch.tensor(self.counts))
        return {"names": self.names, "rows": rows, "counts": counts.tolist()}

    def load_state_dict(self, state: StateDict, device: torch.device) -> None:
        names, counts, rows = list(state["names"]), list(state["counts"]), state["rows"]
        if rows.shape != (len(counts), len(names)) or not all(type(n) is int and n > 0 for n in counts):
            raise ValueError("the sums of the unfinished epoch do not fit together")
        if not leads():  # they are sums over all processes
            rows, counts = torch.zeros_like(rows), [0] * len(counts)
        self.names, self.counts, self.held = names, counts, rows.to(device)


def mean_metrics(model: VAE, objective: Objective, split: Split, step: int = 0, seed: int = 0) -> dict[str, float]:
    """The mean of each of the objective's metrics, and of its loss, over a split; nats per observation.

    The processes of a run share each batch.
    """
    totals, draws = Totals(), objective.n_samples * objective.k
    at = torch.tensor(step, device=split.device)
    with evaluating(model, seed):
        for x in shared_batches(split, inference_batch_size(model, draws)):
            totals.add(objective(model, x, at))
    return totals.means()
