"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from vaecli.errors import UserError


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a temporary file beside `path`, flush it to disk and put it in `path`'s place.

    Raises UserError where that cannot be done; what stood at `path` is then untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~current_umask())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"cannot write {path}: {error.strerror or error}") from None
        raise


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def replace_text(path: Path, text: str) -> None:
    replace_file(path, lambda file: file.write(text.encode()))


def check_output(path: Path, suffix: str) -> Path:
    """`path`, if a file of the kind `suffix` ("png") can be written there; UserError where it cannot."""
    known = {".png", ".npz", ".csv", ".json", ".onnx", ".pt2"}
    if path.suffix in known and path.suffix != f".{suffix}":
        wrong = f"the name ends in {path.suffix}, but .{suffix} is written"
        raise UserError(f"output={path}: {wrong}; change name or format")
    if path.is_dir():
        raise UserError(f"output={path}: is a folder; expected the name of a file")
    check_writable(path.parent)
    return path


def check_writable(folder: Path) -> None:
    """Raise UserError where `folder` is not one, or could not be made or written."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(f"output={folder}: {there} is a file, not a folder; choose another output")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"output={folder}: no permission to write in {there}; choose another output")
