"""The processes of one run that torchrun has started: their ranks, their shares of a batch, and sums over all of them.

Without torchrun there is a single process: it leads, has all of each batch, and every function here costs nothing.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaecli.utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

GONE = "another process of this run has ended; see its message"


def world() -> int:
    """How many processes work on the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ["RANK"]) if world() > 1 else 0


def leads() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def restarted() -> bool:
    """Whether torchrun has started the processes again, after one of them had failed."""
    return world() > 1 and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def open_group() -> None:
    """Connect the processes: gloo for tensors in memory, nccl for those on GPUs. Once, before the first job."""
    import torch
    from torch import distributed

    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")


def scratch_folder() -> Path:
    """A new folder for the files of a process that does not lead; it is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="vaecli-rank-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class Share(NamedTuple):
    """The observations of a batch of `total` that this process works on: those from start to stop.

    counts: whether they count. If a batch has fewer observations than there are processes, some work on an observation
        of another process, because networks need at least one, but leave it out of all sums.
    apart: whether sums are over these observations alone, because the caller adds the parts up
    """

    start: int
    stop: int
    total: int
    counts: bool = True
    apart: bool = False

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)


def share_of(total: int) -> Share:
    """This process's share of a batch; the sizes of the shares differ by at most one."""
    start, stop = total * rank() // world(), total * (rank() + 1) // world()
    return Share(start, stop, total) if start < stop else Share(0, 1, total, counts=False)


_current: Share | None = None


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Within it, means over a batch are over the whole batch, and noise is drawn for the whole batch."""
    global _current
    before, _current = _current, share
    try:
        yield
    finally:
        _current = before


def current_share() -> Share | None:
    """The share that `sharing` has set; None: this process has the whole batch."""
    return _current


def without_repeats(values: Tensor, dim: int = 0) -> Tensor:
    """The values, along `dim`, of those observations of this process that count."""
    return values if _current is None or _current.counts else values.narrow(dim, 0, 0)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Replace the values by their sum over all processes, without gradient."""
    if world() > 1:
        from torch import distributed

        with connection_errors():
            distributed.all_reduce(values)
    return values


def all_reduce_max(value: int) -> int:
    """The maximum of a number over all processes, on which they so agree."""
    if world() == 1:
        return value
    import torch
    from torch import distributed

    agreed = torch.tensor(value)
    with connection_errors():
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
    return int(agreed)


def broadcast_text(text: str | None) -> str | None:
    """The text that the leading process passes, in all processes."""
    if world() == 1:
        return text
    from torch import distributed

    box = [text]
    with connection_errors():
        distributed.broadcast_object_list(box, 0)
    return box[0]


def barrier(seconds: float = 10.0) -> None:
    """Wait for all processes after a failure; SystemExit if not all arrive in time: then only some have failed."""
    if world() > 1:
        from datetime import timedelta

        from torch import distributed

        try:
            distributed.monitored_barrier(timeout=timedelta(seconds=seconds))
        except RuntimeError:
            raise SystemExit(1) from None


def gather_columns(parts: Sequence[tuple[int, Tensor]], n: int) -> Tensor:
    """A matrix (M, n) of whose columns each process has some: (first column, values (M, B))."""
    import torch

    if world() == 1:
        return torch.cat([values for _, values in parts], 1)
    rows = all_reduce_max(len(parts[0][1]) if parts else 0)
    double = all_reduce_max(int(bool(parts) and parts[0][1].dtype == torch.float64))
    whole = torch.zeros(rows, n, dtype=torch.float64 if double else torch.float32)
    for start, values in parts:
        whole[:, start : start + values.shape[1]] = values
    return all_reduce_sum(whole)


def broadcast_tensors(values: Sequence[Tensor]) -> None:
    """Copy the values of these tensors from the leading process to all others."""
    if world() > 1:
        from torch import distributed

        with connection_errors():
            for value in values:
                distributed.broadcast(value, 0)


@contextmanager
def connection_errors() -> Iterator[None]:
    """Turns the error of a connection to a process that has ended into a UserError."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(GONE) from error
