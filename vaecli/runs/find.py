"""Which folder a command means by run= or resume=."""

from __future__ import annotations

import os
from pathlib import Path

from vaecli.runs.table import natural
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded


def find_resumable(run: str) -> Path:
    """The folder of a run that has a configuration; `latest` is the one that has written last, anywhere in outputs."""
    if run == "latest":
        configured = (Path(place) for place, _, names in os.walk("outputs") if "config.yaml" in names)
        found = [folder for folder in configured if (folder / "config.yaml").is_file()]
        if not found:
            raise UserError(f"resume=latest: no run under {Path('outputs').absolute()}; start one: vae train")
        return max(found, key=last_written)
    folder = expanded(run)
    if not folder.is_dir():
        raise UserError(f"resume={run}: there is no such folder; give a run's folder or resume=latest")
    if not (folder / "config.yaml").is_file() and not (folder / "checkpoints" / "last.pt").is_file():
        raise UserError(f"resume={run}: this folder holds no run that could go on; start one there: output={run}")
    return folder


def last_written(folder: Path) -> float:
    """When a run has written its configuration, its summary or its last checkpoint."""
    paths = [folder / name for name in ("config.yaml", "summary.json", "checkpoints/last.pt")]
    return max(path.stat().st_mtime for path in paths if path.is_file())


def find_run(run: str, which: str = "best") -> Path:
    """The folder of a run; `latest` is the newest one with that checkpoint anywhere under outputs."""
    if run != "latest":
        folder = expanded(run)
        if folder.is_file():
            raise UserError(f"run={run}: is a file; give the run's folder")
        if not folder.is_dir():
            raise UserError(f"run={run}: there is no such folder; give a run's folder or run=latest")
        if not any((folder / "checkpoints").glob("*.pt")):
            below = runs_below(folder)
            hint = f"; there are {len(below)} runs below it, as {below[0]}" if below else ""
            raise UserError(f"run={run}: this folder holds no checkpoint (checkpoints/best.pt or last.pt){hint}")
        return folder
    found = [Path(place, f"{which}.pt") for place, _, names in os.walk("outputs") if f"{which}.pt" in names]
    found = [path for path in found if path.parent.name == "checkpoints" and path.is_file()]  # no link to nothing
    if not found:
        raise UserError(
            f"run=latest: no run with a checkpoint under {Path('outputs').absolute()}; train one: vae train"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent.parent


def runs_below(folder: Path) -> list[Path]:
    """The runs directly below a folder, such as a sweep's, that have a checkpoint; in the order of their numbers."""
    found = {path.parent.parent for path in folder.glob("*/checkpoints/*.pt")}
    return sorted(found, key=lambda path: natural(path.name))
