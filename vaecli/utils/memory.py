"""Checks that data fit into memory before any memory is taken."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vaecli.utils.errors import UserError

if TYPE_CHECKING:
    import torch

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
VERSIONS = (  # of control groups: folder below CGROUPS, limit, what is taken of it, prefix in memory.stat
    ("", "memory.max", "memory.current", ""),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)


def available() -> int | None:
    """Bytes of memory that a new object could take; None if this is not known.

    This is the free memory of the machine, or less if the limits of a container leave less.
    """
    rooms = [room for room in (free_here(), *limits_left()) if room is not None]
    return max(0, min(rooms)) if rooms else None


def free_here() -> int | None:
    """The machine's free memory; where that is not known its installed memory, or None."""
    try:
        match = re.search(r"^MemAvailable: +(\d+) kB", (PROC / "meminfo").read_text(), re.MULTILINE)
        return int(match[1]) * 1024 if match else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # not Linux; not Unix
        return None


def limits_left() -> Iterator[int]:
    """The memory left within the limit of each control group of this process, its parent groups included."""
    for below, limit, taken, prefix in VERSIONS:
        for folder in groups(below):
            most, used = number(folder / limit), number(folder / taken)
            if most is not None and used is not None:
                yield most - used + file_cache(folder / "memory.stat", prefix)


def groups(below: str) -> list[Path]:
    """The folders of this process's memory group and of its parent groups.

    In a container the path may be that of the host, which does not exist there: the root is then the container's group.
    """
    try:
        lines = [line.split(":", 2) for line in (PROC / "self" / "cgroup").read_text().splitlines()]
    except OSError:
        return []
    paths = [line[2] for line in lines if len(line) == 3 and (below in line[1].split(","))]
    own = [Path(path.lstrip("/")) for path in paths]
    folders = {CGROUPS / below / part for path in own for part in (path, *path.parents)}
    return [folder for folder in folders if folder.is_dir()]


def number(path: Path) -> int | None:
    """The number in a file; None if there is no file, or it contains `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def file_cache(path: Path, prefix: str) -> int:
    """The bytes of a group's file cache, which the kernel frees when memory is needed."""
    try:
        sizes = re.findall(rf"^{prefix}(?:in)?active_file (\d+)$", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return sum(map(int, sizes))


def check_memory(needed: int, what: str, remedy: str) -> None:
    """UserError if `what` would take more bytes than are available."""
    room = available()
    if room is not None and needed > room:
        raise too_much(needed, room, what, remedy)


def too_much(needed: int, room: int, what: str, remedy: str) -> UserError:
    return UserError(f"{what} would take {size(needed)} of memory, and {size(room)} are free: {remedy}")


class MemoryBudget:
    """Memory that threads share: a thread waits until others have released enough."""

    def __init__(self, reserved: int = 0) -> None:
        """All memory that is available now, except the `reserved` bytes that something else will take."""
        room = available()
        self.most: float = float("inf") if room is None else max(0, room - reserved)
        self.free, self.changed = self.most, threading.Condition()

    @contextmanager
    def taken(self, needed: int, what: str, remedy: str) -> Iterator[None]:
        """Reserve `needed` bytes within the block; UserError if the whole budget is smaller."""
        if needed > self.most:
            raise too_much(needed, int(self.most), what, remedy)
        with self.changed:
            self.changed.wait_for(lambda: needed <= self.free)
            self.free -= needed
        try:
            yield
        finally:
            with self.changed:
                self.free += needed
                self.changed.notify_all()


def size(n: int) -> str:
    """A number of bytes, as in 3.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000  # type: ignore[assignment]
    return f"{n:,.0f} PB" if n < 1e6 else "more than 1,000,000 PB"


def peak_memory(device: torch.device) -> int | None:
    """The largest number of bytes that this process has held, or on a GPU that its tensors have taken there."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
