"""Writes everything in the folder of a training run except its checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from rich.console import Console

from vaecli.runs.folder import RunFolder
from vaecli.runs.records import Summary
from vaecli.runs.tensorboard import VIEW_TAG, EventFile
from vaecli.utils.files import AppendedFile, replace_bytes, replace_text
from vaecli.utils.text import printable, printable_lines, say
from vaecli.utils.types import Values

TENSORBOARD_TERMS = ("elbo", "bound", "log_px", "kl", "loss")


class RunLogger:
    """Writes metrics.jsonl, summary.json, images/, train.log and the TensorBoard events of one run.

    history, summary: what the run has written already, when it is resumed
    """

    def __init__(
        self,
        folder: RunFolder,
        console: Console,
        history: Sequence[Values] = (),
        summary: Summary | None = None,
    ) -> None:
        self.folder = folder
        self.console = console
        self.history: list[Values] = list(history)
        self.summary = summary or Summary()
        self.before = self.summary.seconds or 0.0  # seconds of the run until it was resumed
        self.started = time.perf_counter()
        self.events = EventFile(folder)
        self.log, self.lines = AppendedFile(folder.log), AppendedFile(folder.metrics)

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between an interruption and its resumption."""
        return self.before + time.perf_counter() - self.started

    def say(self, text: str, style: str = "") -> None:
        """Print a line, and write it to train.log."""
        say(text, self.console, style)
        self.note(text)

    def note(self, text: str) -> None:
        """Write a line to train.log only."""
        line = printable(text.replace("\n", " "))  # a message may have two lines
        self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n".encode(errors="backslashreplace"))

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        """One split's figures of one epoch, to metrics.jsonl and TensorBoard."""
        line = {"epoch": epoch, "step": step, "split": split, **means, "lr": lr, "seconds": round(seconds, 4)}
        self.history.append(line)
        self.lines.write(json.dumps(line).encode() + b"\n")
        for term in TENSORBOARD_TERMS:
            self.events.scalar(f"{split}/{term}", means[term], epoch)
        if split == "train":
            self.events.scalar("train/lr", lr, epoch)

    def picture(self, name: str, content: bytes, size: tuple[int, int], epoch: int, numbered: bool = True) -> None:
        """A .png file's content, size = (height, width), to images/<name>[_epoch_<epoch>].png and to TensorBoard."""
        file_name = f"{name}_epoch_{epoch:04d}" if numbered else name
        replace_bytes(self.folder.image(file_name), content)
        self.events.image(f"{VIEW_TAG}{name}", content, *size, epoch)

    def config(self, yaml: str) -> None:
        """The resolved configuration to TensorBoard's text page."""
        self.events.text("config", "    " + printable_lines(yaml).replace("\n", "\n    "))

    def summarise(self, *parts: Summary, **entries: object) -> None:
        """Update summary.json with the entries of `parts`, and those given by name."""
        for part in (*parts, Summary.model_validate(entries)):
            self.summary = self.summary.with_entries(part)
        replace_text(self.folder.summary, self.summary.text())

    def hparams(
        self,
        values: dict[str, bool | int | float | str],
        metrics: dict[str, float],
        epoch: int,
        swept: Collection[str] = (),
    ) -> None:
        """The configuration and the final metrics for TensorBoard's HParams page, in the run's own event file.

        swept: the keys that vary in the run's sweep, with which the page begins; in other runs it begins with those
        of the command line
        """
        words = (self.summary.command or "").split()
        self.events.hparams(values, metrics, swept or {word.lstrip("'+").partition("=")[0] for word in words})
        for name, value in metrics.items():
            self.events.scalar(name, value, epoch)

    def flush(self) -> None:
        """Hand everything to the operating system, so that it survives a crash of the process."""
        self.events.flush()
        self.lines.sync()

    def close(self) -> None:
        for file in (self.events, self.lines, self.log):
            with suppress(OSError):  # a full disk: the loss has been reported already
                file.close()
