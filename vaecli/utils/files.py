"""Writes files atomically, and recognises pipes, devices and the like, whose reading could block or never end."""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from vaecli.utils.errors import UserError

TEMPORARY = ".tmp"  # how a file's name ends while it is written
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORMATS = {  # suffixes that say what is in a file
    "bmp", "csv", "dat", "gif", "gz", "h5", "hdf5", "htm", "html", "jpeg", "jpg", "json", "md", "npy", "npz", "onnx",
    "parquet", "pb", "pdf", "pkl", "png", "pt", "pt2", "pth", "safetensors", "svg", "tflite", "tif", "tiff", "tsv",
    "txt", "webp", "xlsx", "yaml", "yml", "zip",
}  # fmt: skip
IRREGULAR = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def irregular(path: Path) -> str | None:
    """The kind of a path that is not a regular file ("a pipe"), and whose reading could block or never end.

    None for a regular file, and for a path that leads nowhere. The file is not opened.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return next(
        (kind for is_kind, kind in IRREGULAR if is_kind(mode)), None if stat.S_ISREG(mode) else "a special file"
    )


def replace_file(path: Path, write: Callable[[IO[bytes]], object], size: int | None = None) -> None:
    """Write a temporary file next to `path`, flush it to disk and move it to `path`.

    size: how many bytes `write` will write, if known, for the message about a full disk.
    UserError if the file cannot be written; a file that was at `path` is then unchanged.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.parent / f".{path.name}.{os.urandom(4).hex()}{TEMPORARY}", "x+b") as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error, size) from None
        raise


class AppendedFile:
    """A file to which text is appended; UserError if it cannot be written.

    What has been flushed has reached the operating system and survives a crash of the process.
    buffered: nothing is written before `flush`; otherwise at each `write`
    """

    def __init__(self, path: Path, buffered: bool = False) -> None:
        self.path = path
        try:
            self.file: IO[bytes] = open(path, "ab", -1 if buffered else 0)  # noqa: SIM115  (open until `close`)
        except OSError as error:
            raise cannot_write(path, error) from None

    def write(self, content: bytes) -> None:
        try:
            self.file.write(content)
        except OSError as error:
            raise cannot_write(self.path, error, len(content)) from None

    def flush(self) -> None:
        unwritten = self.file.tell() - self.path.stat().st_size
        try:
            self.file.flush()
        except OSError as error:
            raise cannot_write(self.path, error, unwritten) from None

    def sync(self) -> None:
        """Flush it to the disk."""
        self.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()


def replace_bytes(path: Path, content: bytes | memoryview) -> None:
    """`replace_file` for content that is already in memory."""
    replace_file(path, lambda file: file.write(content), len(content))


def replace_text(path: Path, text: str) -> None:
    replace_bytes(path, text.encode())


def expanded(path: str) -> Path:
    """`path` with ~ replaced by a home folder; UserError if there is none, and for characters that no path can have."""
    return Path(at_home(path))


def at_home(path: str) -> str:
    """`path` with ~ replaced, as text: Path() would make ./latest the word latest, which means another run."""
    found = os.path.expanduser(path)
    if "\0" in path:
        raise UserError(f"{path}: a path cannot contain the character \\0")
    if found.startswith("~"):
        user = found.split(os.sep)[0]
        raise UserError(f"{path}: this machine has no home folder {user}; write a name that begins with ~ as ./~...")
    return found


def check_utf8_name(what: str, path: str | os.PathLike[str]) -> None:
    """UserError for a name that is not UTF-8: YAML cannot hold it, and some libraries cannot open it."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{what}: the name is not valid UTF-8; rename the file or its folder") from None


def flush_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk, so that a new file survives a power failure."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def cannot_write(path: Path, error: OSError, size: int | None = None) -> UserError:
    """The error for a failed write; if the disk is full, with the space that is needed and free."""
    reason = error.strerror or str(error)
    if error.errno not in NO_SPACE:
        return UserError(f"cannot write {path}: {reason}")
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    needed = f"{amount(size)} needed, " if size is not None else ""
    return UserError(f"cannot write {path}: {reason} ({needed}{amount(shutil.disk_usage(there).free)} free)")


def amount(size: int) -> str:
    if size < 100_000:
        return f"{size:,} bytes"
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of interrupted writes below a folder."""
    for path in folder.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def check_output(path: Path, suffix: str, remedy: str = "change the name") -> Path:
    """`path`, if a file with the suffix `suffix` ("png") can be written there; UserError otherwise."""
    if path.suffix.lower().removeprefix(".") in FORMATS - {suffix}:
        wrong = f"the name ends in {path.suffix}, but .{suffix} is written"
        raise UserError(f"output={path}: {wrong}; {remedy}")
    if path.is_dir():
        raise UserError(f"output={path}: is a folder; expected the name of a file")
    check_writable(path.parent)
    return path


def check_unread(target: Path, sources: Iterable[str]) -> None:
    """UserError if a file that a command reads would be replaced by what it writes."""
    for source in sources:
        path = expanded(source)
        if path.exists() and target.exists() and target.samefile(path):
            raise UserError(f"output={target}: this file is read, and would be replaced; choose another output")


def check_writable(folder: Path) -> None:
    """UserError if `folder` is a file, or could not be created or written."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(f"output={folder}: {there} is a file, not a folder; choose another output")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"output={folder}: no permission to write in {there}; choose another output")
