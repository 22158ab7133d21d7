"""A run's folder taken back to its last checkpoint."""

from __future__ import annotations

from vaecli.runs import tensorboard as events
from vaecli.runs.folder import RunFolder
from vaecli.runs.read import Damaged
from vaecli.utils.errors import UserError
from vaecli.utils.files import remove_leftovers
from vaecli.utils.memory import check_memory
from vaecli.utils.schema import is_number
from vaecli.utils.types import Values

PARSED_SIZE_FACTOR = 20  # times its size is what a text of numbers takes as dicts and floats
FIGURES = ("step", "elbo", "bound", "log_px", "kl", "loss", "lr", "seconds")  # in every line of metrics.jsonl


def rewind(folder: RunFolder, epoch: int) -> list[Values]:
    """Take away what a run has written after `epoch`, to be written again; its lines of metrics.jsonl until then."""
    remove_leftovers(folder.path)
    path = folder.metrics
    if path.is_file():
        check_memory(PARSED_SIZE_FACTOR * path.stat().st_size, str(path), "use a copy of the run without it")
    try:
        kept = [line for line in folder.read_metrics(usable) if line["epoch"] <= epoch]
    except Damaged as error:
        raise UserError(f"{folder}: {error}; a run cannot go on from it") from None
    folder.write_metrics(kept)
    events.rewind(folder, epoch)
    return kept


def usable(line: Values) -> bool:
    """Whether a line of metrics.jsonl is one of ours."""
    if type(line.get("epoch")) is not int or not isinstance(line.get("split"), str):
        return False
    return all(is_number(line.get(key)) for key in FIGURES)
