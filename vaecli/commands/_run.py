"""What every command that looks at a trained run begins with: the keys they share, the run, the file to write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field

from vaecli.models.load import Run, load_run
from vaecli.plots.view import View, view_of
from vaecli.utils.files import check_output, expanded
from vaecli.utils.schema import check_arguments

Checkpoint = Literal["best", "last", "ema"]


@dataclass
class DataPaths:
    """Where a run's data are, in the place of what the run says."""

    path: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    root: str | None = None

    @property
    def given(self) -> dict[str, str]:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(kw_only=True)
class RunKeys:
    """The keys of each command's `Config`; its own come on top."""

    run: str
    checkpoint: Checkpoint
    device: str
    output: str | None
    trust: list[str] = field(default_factory=list)
    dataset: DataPaths = field(default_factory=DataPaths)

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """From a command's configuration; UserError for what it does not allow."""
        return cls(**check_arguments(cls, values))

    def load(self, run: str | None = None, data: dict[str, str] | None = None) -> Run:
        """The run asked for, or another one; `data`: where its data are, otherwise as given on the command line."""
        given = self.dataset.given if data is None else data
        return load_run(self.run if run is None else run, self.checkpoint, self.device, self.trust, given)

    def output_path(self, run: Run, name: str, suffix: str) -> Path:
        """Where to write: `output`, or <name>.<suffix> in the run's folder; UserError where that is impossible."""
        default = run.folder / f"{name}.{suffix}"
        return check_output(expanded(self.output) if self.output else default, suffix)


Mode = Literal["mean", "draw"]


Part = Literal["train", "val", "test"]


Steps = Annotated[int, Field(strict=True, ge=2, le=100)]  # more than a picture shows


def run_view(run: Run) -> View:
    """The figures that suit a run's observations."""
    return view_of(run.dataset, run.model.x_shape)


def device_of(run: Run) -> torch.device:
    return next(run.model.parameters()).device
