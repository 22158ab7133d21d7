"""A run's folder: its files and their readers, its creation, and its lock, which only one process can hold."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vaecli.runs.names import (
    CHECKPOINTS,
    CONFIG,
    EVALUATION,
    EVENTS,
    IMAGES,
    LOCK,
    LOG,
    METRICS,
    OCCUPIED,
    SUMMARY,
    WRITTEN,
)
from vaecli.runs.read import Damaged, json_lines, load_yaml, mapping
from vaecli.runs.records import Evaluation, Summary
from vaecli.utils.command_line import command, setting
from vaecli.utils.errors import UserError
from vaecli.utils.files import check_writable
from vaecli.utils.types import Values

LOCK_ATTEMPTS = 5


def checkpoint_name(which: str) -> str:
    """The path of a checkpoint in its run's folder."""
    return f"{CHECKPOINTS}/{which}.safetensors"


@dataclass(frozen=True, order=True)
class RunFolder:
    """The paths of a run's files, and the readers of its text files."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        """A file of another name, which a command writes."""
        return self.path / name

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        """Its name and that of the folder around it, as in mnist/2026-01-31_12-00-00-000000."""
        return str(Path(*self.path.absolute().parts[-2:]))

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def summary(self) -> Path:
        return self.path / SUMMARY

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def evaluation(self) -> Path:
        return self.path / EVALUATION

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def lock(self) -> Path:
        return self.path / LOCK

    @property
    def events(self) -> list[Path]:
        """TensorBoard's event files, sorted: the one in use comes last, and in a resumed run an empty one before it."""
        return sorted(self.path.glob(EVENTS))

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def checkpoint(self, which: str) -> Path:
        """The checkpoint `best`, `last` or `ema`."""
        return self.path / checkpoint_name(which)

    def has(self, which: str) -> bool:
        """Whether there is such a checkpoint."""
        return self.checkpoint(which).is_file()

    @property
    def earlier_checkpoints(self) -> list[Path]:
        """Checkpoints of an earlier version, which this one does not read; none if there are any of this version."""
        return [] if any(self.checkpoints.glob("*.safetensors")) else sorted(self.checkpoints.glob("*.pt"))

    @property
    def has_any_checkpoint(self) -> bool:
        return any(self.checkpoints.glob("*.safetensors")) or bool(self.earlier_checkpoints)

    def image(self, name: str) -> Path:
        return self.path / IMAGES / f"{name}.png"

    def read_config(self) -> Values:
        """The content of config.yaml; Damaged if it is not a mapping."""
        return mapping(self.config, load_yaml)

    def read_summary(self) -> Summary:
        """The content of summary.json; Damaged if it is not a summary."""
        return Summary.read(self.summary)

    def read_evaluation(self) -> Evaluation:
        """The content of evaluation.json; Damaged if it is not an evaluation."""
        return Evaluation.read(self.evaluation)

    def read_metrics(self, usable: Callable[[Values], bool]) -> Iterator[Values]:
        """The usable lines of metrics.jsonl, none if there is no such file; Damaged if too many are unusable."""
        return json_lines(self.metrics, usable) if self.metrics.exists() else iter(())

    @property
    def is_locked(self) -> bool | None:
        """Whether a process of this machine trains the run; None if its lock cannot be seen."""
        try:
            import fcntl

            descriptor = os.open(self.path, os.O_RDONLY)
        except (ImportError, OSError):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a network file system that cannot lock folders
            return None
        finally:
            os.close(descriptor)
        return False

    def known_summary(self) -> Summary:
        """As `read_summary`, but an empty summary if the file is missing or damaged."""
        try:
            return self.read_summary()
        except Damaged:
            return Summary()


def folders_below(root: Path, name: str) -> Iterator[RunFolder]:
    """Every folder, `root` included, that has a file of this name."""
    return (RunFolder(Path(place)) for place, _, names in os.walk(root) if name in names)


def checkpoints_below(root: Path, name: str) -> Iterator[Path]:
    """The checkpoints of this file name in `root` and every folder below it; dangling links are left out."""
    paths = (folder / name for folder in folders_below(root, name) if folder.name == CHECKPOINTS)
    return (path for path in paths if path.is_file())


@contextmanager
def lock_run(folder: RunFolder) -> Iterator[None]:
    """Lock the folder for this process until it ends, however it ends; UserError if another one holds the lock."""
    with ExitStack() as locks:
        try:
            locks.enter_context(FileLock(folder.lock).acquire(timeout=0))
            locks.enter_context(folder_locked(folder))
        except (Timeout, BlockingIOError):
            raise UserError(f"{folder}: another process is training this run; wait for it or stop it") from None
        except OSError as error:
            raise UserError(f"cannot write into {folder}: {error.strerror or error}") from None
        yield


@contextmanager
def folder_locked(folder: RunFolder) -> Iterator[None]:
    """Lock the folder itself, if the system can, so that deleting the lock file does not release the run."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open cannot be deleted
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for attempts_left in reversed(range(LOCK_ATTEMPTS)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not attempts_left:
                    raise
                time.sleep(0.02)  # `is_locked` in another process holds the lock for microseconds
            except OSError:  # a network file system that cannot lock folders
                break
        yield
    finally:
        os.close(descriptor)


def check_no_links(folder: RunFolder, names: Sequence[str] = ("*",)) -> None:
    """UserError if a run's folder contains a pipe, or a link, through which training could write to any file.

    names: patterns of the entries to check
    """
    for path in sorted(path for path in folder.path.iterdir() if any(map(path.match, names))):
        if path.is_symlink():
            raise UserError(
                f"{folder}: {path.name} is a link, but a run writes only in its own folder; replace the link by a copy"
            )
        if not path.is_file() and not path.is_dir():
            raise UserError(f"{folder}: {path.name} is neither a file nor a folder; remove it")


def check_unoccupied(folder: RunFolder) -> None:
    """UserError if a folder holds a run already, cannot be written to, or holds links that lead elsewhere."""
    if any((folder / name).exists() for name in OCCUPIED):
        raise UserError(
            f"output={folder}: this folder already holds a run; choose another output, or resume that run: "
            + command(["vae-train", setting("resume", folder.path)])
        )
    if folder.path.is_dir():
        check_no_links(folder, WRITTEN)
    check_writable(folder.path)


def new_folder(output: str | None, dataset: str) -> RunFolder:
    """Create the run's folder: `output`, or a new one under outputs/<dataset>."""
    if output is not None:
        folder = RunFolder(Path(output))
        check_unoccupied(folder)
        return create_folder(folder, exist_ok=True)
    while True:
        try:
            return create_folder(timestamped_folder(dataset), exist_ok=False)
        except FileExistsError:  # a run that started in the same microsecond
            continue


def timestamped_folder(dataset: str) -> RunFolder:
    """The folder of a run that starts now."""
    return RunFolder(Path("outputs", dataset, datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")))


def create_folder(folder: RunFolder, exist_ok: bool) -> RunFolder:
    try:
        folder.path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"output={folder}: cannot be created ({error.strerror}); choose another output") from None
    return folder
