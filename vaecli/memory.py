"""Refuses what cannot fit into memory before any of it is taken."""

import os
import re
from pathlib import Path

from vaecli.errors import UserError


def available() -> int | None:
    """Bytes of memory that a new object could take; all that is installed, or None, where only that is known."""
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # not Linux; not Unix
        return None


def check_memory(needed: int, what: str, remedy: str) -> None:
    """UserError where `what` would take more bytes than there are."""
    room = available()
    if room is not None and needed > room:
        raise UserError(f"{what} would take {size(needed)} of memory, and {size(room)} are free: {remedy}")


def size(n: int) -> str:
    """A number of bytes, as in 3.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000  # type: ignore[assignment]
    return f"{n:,.0f} PB" if n < 1e6 else "more than 1,000,000 PB"
