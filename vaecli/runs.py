"""From a run's folder back to its model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from vaecli.build import build_vae, pick_device
from vaecli.datasets.mnist import complete, default_root
from vaecli.errors import UserError
from vaecli.options import Config, check_trust, instantiate
from vaecli.run_table import natural
from vaecli.training import checkpoint
from vaecli.vae import VAE
from vaecli.validation import PositiveInt, check_value


class Run(NamedTuple):
    """A trained model and where it comes from."""

    folder: Path
    config: Config
    model: VAE  # in evaluation mode, on the device asked for
    dataset: Any  # made from the configuration, its data not yet loaded
    epoch: int
    checkpoint: str  # best or last


def load_run(run: str, which: str = "best", device: str = "auto", trust: Sequence[str] = ()) -> Run:
    """Rebuild the model of a run's checkpoint. Nothing but classes of vaecli's, and of `trust`'s packages, is built."""
    check_trust(trust)
    folder = find_run(run, which)
    path = folder / "checkpoints" / f"{which}.pt"
    if not path.is_file() and which == "best" and (folder / "checkpoints" / "last.pt").is_file():
        raise UserError(f"{folder} has no best checkpoint yet (no epoch was finished): use checkpoint=last")
    state, place = checkpoint.load(path), pick_device(device)
    try:
        model = rebuild(state, trust)
        dataset = instantiate(localise(state["config"]), "dataset", trusted=True, trust=trust)
    except UserError:
        raise
    except Exception as error:  # what a file claims can fail to fit together in any way
        raise UserError(f"{path} does not fit its own configuration: {checkpoint.summary(error)}") from None
    if not callable(getattr(dataset, "load", None)):
        raise UserError(f"{path}: its dataset is none that can be loaded")
    return Run(folder, state["config"], model.to(place).eval(), dataset, state["epoch"], which)


def rebuild(state: dict[str, Any], trust: Sequence[str] = ()) -> VAE:
    """The model that a checkpoint's configuration describes, with its weights; any exception where they do not fit.

    It is built on the meta device and then takes the file's tensors as its own: memory is used for what the file
    holds, not for what its configuration claims.
    """
    config, weights = state["config"], state["model"]
    latent_dim, room = check_value("latent_dim", config.get("latent_dim"), PositiveInt), numel(weights.values())
    if latent_dim > room:
        raise ValueError(f"latent_dim={latent_dim}, but there are only {room} weights")
    with torch.device("meta"), at_most(4 * len(weights) + 100):
        model = build_vae(config, tuple(state["x_shape"]), trusted=True, trust=trust)
    for name, expected in model.state_dict().items():
        found = weights.get(name)
        if found is not None and found.dtype != expected.dtype:
            raise ValueError(f"{name} is of type {found.dtype}, not {expected.dtype}")
        if found is not None and found.is_floating_point() and bool(found.isnan().any()):
            raise ValueError(f"{name} holds values that are not a number")
    model.load_state_dict(weights, assign=True)
    missing = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    if missing:
        raise ValueError(f"{missing[0]} is not in the file")
    return model


def numel(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


@contextmanager
def at_most(n: int) -> Iterator[None]:
    """Within it, making more than n parameters raises ValueError: a configuration can ask for billions of layers."""
    left = n

    def count(*args: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("it describes far more layers than the file has weights for")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def localise(config: Config) -> Config:
    """The configuration with a data folder that does not hold the files replaced by this machine's own.

    The folder that a file names is thereby read at most: what is missing is downloaded to a place of the user's.
    """
    dataset = config["dataset"]
    if not isinstance(dataset, dict) or dataset.get("root") is None:
        return config
    if not str(dataset.get("_target_")).startswith("vaecli."):  # a class that the user trusts keeps its own
        return config
    if complete(Path(str(dataset["root"]), str(dataset.get("source")), "raw")):
        return config
    return {**config, "dataset": {**dataset, "root": str(default_root())}}


def find_run(run: str, which: str = "best") -> Path:
    """The folder of a run; `latest` is the newest one with that checkpoint anywhere under outputs."""
    if run != "latest":
        folder = Path(run).expanduser()
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
    found = [path for path in found if path.parent.name == "checkpoints"]
    if not found:
        raise UserError(
            f"run=latest: no run with a checkpoint under {Path('outputs').absolute()}; train one: vae train"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent.parent


def runs_below(folder: Path) -> list[Path]:
    """The runs directly below a folder, such as a sweep's, that have a checkpoint; in the order of their numbers."""
    found = {path.parent.parent for path in folder.glob("*/checkpoints/*.pt")}
    return sorted(found, key=lambda path: natural(path.name))


def load(
    run: str | os.PathLike[str] = "latest", checkpoint: str = "best", device: str = "auto", trust: Sequence[str] = ()
) -> VAE:
    """The trained model of a run, ready for use: `encode`, `decode`, `sample`.

    trust: packages of your own whose classes the run may use; without it only vaecli's are built.
    """
    return load_run(os.fspath(run), checkpoint, device, trust).model
