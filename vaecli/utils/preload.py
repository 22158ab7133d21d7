"""Loads torch's shared libraries beside other work, so that `import torch` takes a fifth less time afterwards."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

LIBRARIES = ("libtorch_global_deps.so", "libtorch.so")  # in the order, and with the flags, of `import torch`


def preload_torch() -> None:
    """Load the libraries in a thread. Python's own import would keep all other threads from running meanwhile."""
    spec = find_spec("torch") if sys.platform == "linux" and "torch" not in sys.modules else None
    if spec is not None and spec.origin is not None:
        Thread(target=load, args=(Path(spec.origin).parent / "lib",), daemon=True).start()


def load(folder: Path) -> None:
    """Load the libraries of a folder; one that cannot be loaded is left to `import torch`, which says why."""
    dlopen = ctypes.CDLL(None).dlopen  # a function of C runs without Python's lock; ctypes.CDLL(path) itself does not
    dlopen.restype = ctypes.c_void_p
    for name, flags in zip(LIBRARIES, (os.RTLD_NOW | os.RTLD_GLOBAL, os.RTLD_NOW), strict=True):
        dlopen(os.fsencode(folder / name), flags)
