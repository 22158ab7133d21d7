"""Takes a run's folder back to its last checkpoint."""

from __future__ import annotations

import json

from vaecli.runs import tensorboard as events
from vaecli.runs.folder import RunFolder
from vaecli.runs.read import Damaged
from vaecli.utils.errors import UserError
from vaecli.utils.files import remove_leftovers, replace_text
from vaecli.utils.memory import check_memory
from vaecli.utils.schema import is_number
from vaecli.utils.types import Values

PARSED_SIZE_FACTOR = 20  # lines of numbers take so many times their size as dicts and floats
FIGURES = ("step", "elbo", "bound", "log_px", "kl", "loss", "lr", "seconds")  # in every line of metrics.jsonl


def rewind(folder: RunFolder, epoch: int) -> list[Values]:
    """Remove what a run wrote after `epoch`, which will be written again; returns the rest of metrics.jsonl."""
    remove_leftovers(folder.path)
    path = folder.metrics
    if path.is_file():
        check_memory(PARSED_SIZE_FACTOR * path.stat().st_size, str(path), "use a copy of the run without it")
    try:
        kept = [line for line in folder.read_metrics(usable) if line["epoch"] <= epoch]
    except Damaged as error:
        raise UserError(f"{folder}: {error}; the run cannot be resumed from it") from None
    replace_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    events.rewind(folder, epoch)
    return kept


def usable(line: Values) -> bool:
    """Whether a line of metrics.jsonl has every entry that vaecli writes."""
    if type(line.get("epoch")) is not int or not isinstance(line.get("split"), str):
        return False
    return all(is_number(line.get(key)) for key in FIGURES)
