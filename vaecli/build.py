"""Configuration to objects, and run folders back to models."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaecli.datasets.mnist import default_root
from vaecli.datasets.split import Split
from vaecli.decoders.base import DataFacts, Decoder
from vaecli.errors import UserError
from vaecli.evaluation import seeded
from vaecli.training import checkpoint
from vaecli.vae import VAE
from vaecli.validation import check_arguments

Config = dict[str, Any]  # a resolved configuration: nested dicts, lists and scalars


def instantiate(config: Config, group: str, trusted: bool = False, **supplied: Any) -> Any:
    """Call the `_target_` of `config[group]` with its other entries, checked, and what the program supplies.

    trusted: the configuration comes from a checkpoint, so that only the classes of vaecli's own group are built.
    """
    node: Any = config.get(group)
    target = option_class(node, group, trusted)
    values = {key: value for key, value in node.items() if key not in ("_target_", "name")}
    arguments = check_arguments(target, values, prefix=f"{group}.", supplied=supplied)
    try:
        return target(**arguments, **supplied)
    except ValueError as error:  # a combination that only the class itself can judge
        raise UserError(f"{group}={node.get('name', target.__name__)}: {error}") from None


def option_class(node: Any, group: str, trusted: bool = False) -> Callable[..., Any]:
    """What a group's entries name as their `_target_`."""
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{group} should name one of its options, as in {group}=NAME (see vae train --help)")
    return resolve(node["_target_"], f"vaecli.{group}s" if trusted else None)


def resolve(target: str, package: str | None) -> Callable[..., Any]:
    """The class or function that a dotted path names; with `package`, only one that is defined in its modules.

    A path is followed no further than one attribute of one module, and that must then be a class defined there: what a
    module merely imports cannot be reached through it.
    """
    module_name, _, name = target.rpartition(".")
    if package is not None and not re.fullmatch(re.escape(package) + r"(\.[a-z]\w*)*\.\w+", target):
        raise UserError(f"the configuration asks for {target!r}, which is not one of vaecli's own classes: refused")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"cannot import {target!r}: {error}") from None
    if package is not None and not (callable(found) and getattr(found, "__module__", None) == module_name):
        raise UserError(f"the configuration asks for {target!r}, which is not a class defined there: refused")
    return found


def build_vae(config: Config, x_shape: tuple[int, ...], trusted: bool = False) -> VAE:
    """The model that a configuration describes, for observations of x_shape, with fresh weights."""
    latent_dim = config["latent_dim"]
    architecture = instantiate(config, "architecture", trusted)
    posterior = instantiate(config, "posterior", trusted, latent_dim=latent_dim)
    decoder = instantiate(config, "decoder", trusted, x_shape=x_shape)
    return VAE(
        encoder_network=architecture.encoder(x_shape, posterior.n_features),
        posterior=posterior,
        decoder_network=architecture.decoder(latent_dim, decoder.n_params, x_shape),
        decoder=decoder,
        prior=instantiate(config, "prior", trusted, latent_dim=latent_dim, x_shape=x_shape),
        latent_dim=latent_dim,
        x_shape=x_shape,
    )


def start_at_mean(model: VAE, train: Split) -> None:
    """Begin with the decoder's output at the data's mean, where decoder and network both know how."""
    mean, start_at = train.mean(), getattr(model.decoder_network, "start_at", None)
    if model.decoder.start(mean) is not None and start_at is not None:
        start_at(mean, model.decoder.start)


def start_prior(model: VAE, train: Split) -> None:
    """Begin with a prior made from training data, drawn at random but always the same, where it wants any."""
    start_from = getattr(model.prior, "start_from", None)
    if start_from is None:
        return

    def draw(n: int) -> Tensor:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        with seeded(0, train.x.device):
            return train.batch(order[torch.arange(n) % len(train)].to(train.x.device))

    start_from(draw)


def settle(config: Config, train: Split, recipe: str | None = None, trusted: bool = False) -> Config:
    """The configuration with what the decoder takes from the data filled in: a model is rebuilt from it alone."""
    node = config["decoder"]
    fill = getattr(option_class(node, "decoder", trusted), "settle", None)
    if fill is None:  # an option of the user's own
        return config
    with or_recipe(recipe):
        return {**config, "decoder": fill(node, facts(train))}


def check_data(decoder: Decoder, train: Split, recipe: str | None) -> str | None:
    """Refuse data that the decoder cannot score; otherwise its warning about them, if it has one."""
    with or_recipe(recipe):
        return decoder.check(facts(train, decoder.step))


@contextmanager
def or_recipe(recipe: str | None) -> Iterator[None]:
    """What a decoder says of unsuitable data as a UserError, with the recipe for them where there is one."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error) + (f", or experiment={recipe}" if recipe else "")) from None


def facts(split: Split, step: float | None = None) -> DataFacts:
    """What a decoder needs to know of data; `step`: of a grid that they may lie on."""
    low, high = (float(v) / split.levels for v in (split.x.min(), split.x.max()))
    binary = split.redraw or (split.levels == 1 and bool(((split.x == 0) | (split.x == 1)).all()))
    if binary or split.levels > 1:
        return DataFacts(low, high, binary, 1.0 if binary else 1 / split.levels)
    steps = (1.0, 1 / 255) if step is None else (1.0, step, 1 / 255)  # 8-bit images are often kept as real numbers
    return DataFacts(low, high, binary, next((s for s in steps if lies_on(split.x, s)), None))


def lies_on(x: Tensor, step: float, tolerance: float = 1e-3) -> bool:
    """Whether all values are multiples of `step`, but for `tolerance` of it."""
    return all(bool((part / step - (part / step).round()).abs().max() < tolerance) for part in x.split(4096))


def pick_device(name: str) -> torch.device:
    """`auto` (the fastest there is), cpu, cuda, cuda:1 ... or mps."""
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise UserError(f"device={name}: not available on this machine; allowed here: auto, {', '.join(available)}")
    return torch.device(name)


class Run(NamedTuple):
    """A trained model and where it comes from."""

    folder: Path
    config: Config
    model: VAE  # in evaluation mode, on the device asked for
    dataset: Any  # made from the configuration, its data not yet loaded
    epoch: int
    checkpoint: str  # best or last


def load_run(run: str, which: str = "best", device: str = "auto") -> Run:
    """Rebuild the model of a run's checkpoint. Nothing but vaecli's own classes is built."""
    folder = find_run(run, which)
    path = folder / "checkpoints" / f"{which}.pt"
    if not path.is_file() and which == "best" and (folder / "checkpoints" / "last.pt").is_file():
        raise UserError(f"{folder} has no best checkpoint yet (no epoch was finished): use checkpoint=last")
    state = checkpoint.load(path)
    config, place = state["config"], pick_device(device)
    try:
        with torch.device("meta"):  # shapes only: memory is taken for what the file holds, not for what it claims
            model = build_vae(config, tuple(state["x_shape"]), trusted=True)
        model.load_state_dict(state["model"], assign=True)
        dataset = instantiate(localise(config), "dataset", trusted=True)
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0][:150]
        raise UserError(f"{path} does not fit its own configuration: {reason}") from None
    return Run(folder, config, model.to(place).eval(), dataset, state["epoch"], which)


def absolute_paths(config: Config) -> Config:
    """The configuration with its data folder as every later command will find it, from whichever folder it is typed."""
    root = config["dataset"].get("root")
    if not isinstance(root, str):
        return config
    return {**config, "dataset": {**config["dataset"], "root": str(Path(root).expanduser().absolute())}}


def localise(config: Config) -> Config:
    """The configuration with a data folder that is not on this machine replaced by this machine's own."""
    root = config["dataset"].get("root")
    if root is None or Path(root).exists():
        return config
    return {**config, "dataset": {**config["dataset"], "root": str(default_root())}}


def find_run(run: str, which: str = "best") -> Path:
    """The folder of a run; `latest` is the newest one with that checkpoint anywhere under outputs."""
    if run != "latest":
        folder = Path(run).expanduser()
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
    return sorted(
        found, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
    )


def load(run: str | os.PathLike[str] = "latest", checkpoint: str = "best", device: str = "auto") -> VAE:
    """The trained model of a run, ready for use: `encode`, `decode`, `sample`."""
    return load_run(os.fspath(run), checkpoint, device).model
