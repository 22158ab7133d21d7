"""Exact means over a data set: sums over observations, divided by their number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaecli.datasets.split import Split
from vaecli.models.inference import evaluating, inference_batch_size, shared_batches
from vaecli.models.vae import VAE
from vaecli.objectives.base import Estimate, Objective
from vaecli.utils.ranks import all_reduce_sum, leads, without_repeats
from vaecli.utils.types import StateDict


class Totals:
    """Running sums of an objective's metrics and loss, kept on the device, so that adding never waits for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[Tensor] = []
        self.counts: list[int] = []

    def add(self, estimate: Estimate) -> None:
        self.names = [*estimate.metrics, "loss"]
        sums = without_repeats(torch.stack(list(estimate.metrics.values())).detach(), -1).sum(-1)
        count = len(without_repeats(estimate.metrics["elbo"]))
        self.rows.append(torch.cat([sums, estimate.loss.detach().reshape(1) * count]))
        self.counts.append(count)

    def means(self) -> dict[str, float]:
        """Each metric's mean over the observations that all processes of the run have added so far."""
        sums = torch.stack(self.rows).cpu().double().sum(0)
        total = all_reduce_sum(sums) / int(all_reduce_sum(torch.tensor(sum(self.counts))))
        return dict(zip(self.names, total.tolist(), strict=True))

    def latest(self) -> dict[str, float]:
        """Each metric's mean over the last batch added; waits for the device."""
        return dict(zip(self.names, (self.rows[-1] / max(1, self.counts[-1])).tolist(), strict=True))

    def first_broken(self) -> tuple[int, dict[str, float]] | None:
        """The first batch with a sum that is not finite, counted from 0, and those sums by name; waits for the device.

        None where all are finite.
        """
        rows = torch.stack(self.rows).cpu()
        bad = (~rows.isfinite()).nonzero()
        if not len(bad):
            return None
        first = int(bad[0, 0])
        named = zip(self.names, rows[first].tolist(), strict=True)
        return first, {name: value for name, value in named if not math.isfinite(value)}

    def state_dict(self) -> StateDict:
        """Plain containers and tensors, from which `load_state_dict` restores the sums bit for bit."""
        rows, counts = all_reduce_sum(torch.stack(self.rows).cpu()), all_reduce_sum(torch.tensor(self.counts))
        return {"names": self.names, "rows": rows, "counts": counts.tolist()}

    def load_state_dict(self, state: StateDict, device: torch.device) -> None:
        self.names, self.counts, rows = list(state["names"]), list(state["counts"]), state["rows"]
        if rows.shape != (len(self.counts), len(self.names)) or not all(type(n) is int and n > 0 for n in self.counts):
            raise ValueError("the sums of the unfinished epoch do not fit together")
        if not leads():  # they are sums over all processes
            rows, self.counts = torch.zeros_like(rows), [0] * len(self.counts)
        self.rows = list(rows.to(device))


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
