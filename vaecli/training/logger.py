"""Everything that a training run leaves in its folder, checkpoints apart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO

import torch
from matplotlib.figure import Figure
from rich.console import Console

from vaecli.errors import UserError
from vaecli.files import replace_file, replace_text
from vaecli.plots.view import figure_array

TENSORBOARD_TERMS = ("elbo", "bound", "log_px", "kl", "loss")


class RunLogger:
    """Writes metrics.jsonl, summary.json, images/, train.log and the TensorBoard events of one run."""

    def __init__(self, folder: Path, console: Console) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self.console = folder, console
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.started = time.perf_counter()
        try:
            self.log: TextIO = open(folder / "train.log", "a", buffering=1)  # noqa: SIM115  (open as long as the run)
            self.lines: TextIO = open(folder / "metrics.jsonl", "a", buffering=1)  # noqa: SIM115
            self.events = SummaryWriter(str(folder))
        except OSError as error:
            raise UserError(f"cannot write into {folder}: {error.strerror or error}") from None

    @property
    def seconds(self) -> float:
        """Since the run's folder was opened."""
        return time.perf_counter() - self.started

    def say(self, text: str, style: str | None = None) -> None:
        """A line for the user and for train.log."""
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
        self.note(text)

    def note(self, text: str) -> None:
        """A line for train.log alone."""
        self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def metrics(self, split: str, epoch: int, step: int, means: dict[str, float], lr: float, seconds: float) -> None:
        """One split's figures of one epoch, to metrics.jsonl and TensorBoard."""
        line = {"epoch": epoch, "step": step, "split": split, **means, "lr": lr, "seconds": round(seconds, 4)}
        self.history.append(line)
        self.lines.write(json.dumps(line) + "\n")
        for term in TENSORBOARD_TERMS:
            self.events.add_scalar(f"{split}/{term}", means[term], epoch)
        if split == "train":
            self.events.add_scalar("train/lr", lr, epoch)

    def kl_histogram(self, kl: torch.Tensor, epoch: int) -> None:
        """The KL of each latent dimension (D,), nats."""
        self.events.add_histogram("kl_per_dim", kl, epoch)

    def picture(self, name: str, figure: Figure, epoch: int, numbered: bool = True) -> None:
        """A figure to images/<name>_epoch_<epoch>.png, or images/<name>.png, and to TensorBoard."""
        file_name = f"{name}_epoch_{epoch:04d}" if numbered else name
        save_figure(self.folder / "images" / f"{file_name}.png", figure)
        self.events.add_image(name, figure_array(figure), epoch, dataformats="HWC")

    def config(self, yaml: str) -> None:
        """The resolved configuration to config.yaml and TensorBoard's text page."""
        replace_text(self.folder / "config.yaml", yaml)
        self.events.add_text("config", "    " + yaml.replace("\n", "\n    "))

    def summarise(self, **entries: Any) -> None:
        """Update summary.json."""
        self.summary.update(entries)
        replace_text(self.folder / "summary.json", json.dumps(self.summary, indent=2) + "\n")

    def hparams(self, values: dict[str, bool | int | float | str], metrics: dict[str, float], epoch: int) -> None:
        """The configuration and the final metrics for TensorBoard's HParams page, in the run's own event file."""
        from torch.utils.tensorboard.summary import hparams

        for event in hparams(values, metrics):
            self.events._get_file_writer().add_summary(event)
        for name, value in metrics.items():
            self.events.add_scalar(name, value, epoch)

    def close(self) -> None:
        self.events.close()
        self.lines.close()
        self.log.close()


def save_figure(path: Path, figure: Figure, dpi: int = 100) -> None:
    """Write a figure as PNG, whole or not at all."""
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=dpi))
