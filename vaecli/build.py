"""Configuration to objects, and run folders back to models."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from vaecli.datasets.checks import refuse_infinite
from vaecli.datasets.mnist import complete, default_root
from vaecli.datasets.split import Split
from vaecli.decoders.base import DataFacts, Decoder
from vaecli.decoders.wrapped import Masked, Standardized
from vaecli.errors import UserError
from vaecli.evaluation import seeded
from vaecli.memory import check_memory
from vaecli.training import checkpoint
from vaecli.units import Filler, Standardizer
from vaecli.vae import VAE
from vaecli.validation import PositiveInt, check_arguments, check_value, plain

NEVER_TRUSTED = {
    *sys.stdlib_module_names, "vaecli", "torch", "torchvision", "hydra", "omegaconf", "tensorboard", "numpy", "scipy",
    "sklearn", "matplotlib", "pyarrow", "PIL", "pydantic", "rich", "yaml", "onnx", "onnxruntime", "pip", "setuptools",
}  # fmt: skip

Config = dict[str, Any]  # a resolved configuration: nested dicts, lists and scalars
PATHS = ("root", "path", "val_path", "test_path")  # the keys of data sets that name files and folders


def instantiate(config: Config, group: str, trusted: bool = False, trust: Sequence[str] = (), **supplied: Any) -> Any:
    """Call the `_target_` of `config[group]` with its other entries, checked, and what the program supplies.

    trusted: the configuration comes from a checkpoint, so that only vaecli's own classes are built, and those of the
        packages that the user names in `trust`.
    """
    node: Any = config.get(group)
    target = option_class(node, group, trusted, trust)
    values = {key: value for key, value in node.items() if key not in ("_target_", "name")}
    arguments = check_arguments(target, values, prefix=f"{group}.", supplied=supplied)
    if not isinstance(node.get("name"), str) or not re.fullmatch(r"\w[\w.-]{0,99}", node["name"]):
        # it becomes part of file names
        raise UserError(f"{group}.name={plain(node.get('name'))}: should be a name of letters, digits, . - and _")
    try:
        return target(**arguments, **supplied)
    except ValueError as error:  # a combination that only the class itself can judge
        raise UserError(f"{group}={node['name']}: {error}") from None


def option_class(node: Any, group: str, trusted: bool = False, trust: Sequence[str] = ()) -> Callable[..., Any]:
    """What a group's entries name as their `_target_`."""
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise UserError(f"{group} should name one of its options, as in {group}=NAME (see vae train --help)")
    return resolve(node["_target_"], f"vaecli.{group}s" if trusted else None, trust)


def resolve(target: str, package: str | None, trust: Sequence[str] = ()) -> Callable[..., Any]:
    """The class or function that a dotted path names; with `package`, only one that is defined there.

    A path is followed no further than one attribute of one module, and that must then be a class defined in the module
    (or a function, where the package is a single module): what a module merely imports cannot be reached through it.
    trust: packages of the user's whose classes and functions are accepted too, from whichever of their modules.
    """
    module = target.rpartition(".")[0]
    if package is None:
        return imported(target)
    own = re.fullmatch(re.escape(package) + r"(\.[a-z]\w*)*\.[a-zA-Z]\w*", target, re.ASCII)
    theirs = [trusted for trusted in trust if target.startswith(f"{trusted}.")]
    if not own and not theirs:
        raise UserError(f"the configuration asks for {target!r}, which is not one of vaecli's own classes: refused"
                        + how_to_trust(target))  # fmt: skip
    found = imported(target)
    place = str(getattr(found, "__module__", None))
    if theirs:
        fits = callable(found) and any(f"{place}.".startswith(f"{trusted}.") for trusted in theirs)
    else:
        fits = place == module and (inspect.isclass(found) or (inspect.isfunction(found) and module == package))
    if not fits:
        raise UserError(f"the configuration asks for {target!r}, which is not a class defined there: refused")
    return found


def imported(target: str) -> Any:
    """One attribute of one module; a package of the user's may lie in the working folder."""
    module, _, name = target.rpartition(".")
    try:
        if not module.startswith("vaecli.") and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # at the end: nothing there stands in for what is installed
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of the user's own can fail in any way
        kind = "" if isinstance(error, ImportError | AttributeError | ValueError) else f"{type(error).__name__}: "
        raise UserError(f"cannot import {target!r}: {kind}{error}") from None


def how_to_trust(target: str) -> str:
    """The remedy for a class that may be the user's own; none for what no user writes."""
    package = target.partition(".")[0]
    if package in NEVER_TRUSTED or not re.fullmatch(r"\w+(\.\w+)+", target, re.ASCII):
        return ""
    return f".\nIf {package} is a package that you trust to run code on this machine, add trust=[{package}]"


def check_trust(trust: Sequence[str]) -> None:
    """UserError for what cannot be a package of the user's own."""
    for name in trust:
        if not re.fullmatch(r"[a-zA-Z_]\w*(\.\w+)*", name, re.ASCII):
            raise UserError(f"trust={plain(name)}: should be names of packages, as in trust=[mypackage]")
        if name.partition(".")[0] in NEVER_TRUSTED:
            raise UserError(f"trust={name}: not a package with classes for vaecli; name one of your own")


def build_vae(config: Config, x_shape: tuple[int, ...], trusted: bool = False, trust: Sequence[str] = ()) -> VAE:
    """The model that a configuration describes, for observations of x_shape, with fresh weights.

    UserError where they would not fit into memory; on the meta device none is taken.
    """
    if torch.get_default_device().type != "meta":
        refuse_too_large(config, x_shape, trusted, trust)
    latent_dim = config["latent_dim"]
    make = functools.partial(instantiate, config, trusted=trusted, trust=trust)
    architecture = make("architecture")
    posterior = make("posterior", latent_dim=latent_dim)
    decoder = make("decoder", x_shape=x_shape)
    vae = VAE(
        encoder_network=architecture.encoder(x_shape, posterior.n_features),
        posterior=posterior,
        decoder_network=architecture.decoder(latent_dim, decoder.n_params, x_shape),
        decoder=decoder,
        prior=make("prior", latent_dim=latent_dim, x_shape=x_shape),
        latent_dim=latent_dim,
        x_shape=x_shape,
    )
    return suit(vae, config.get("dataset", {}))


def suit(model: VAE, dataset: Config) -> VAE:
    """The model, made to take the data as the data set's configuration says: standardised, or with gaps."""
    if dataset.get("standardize"):
        units = Standardizer(model.x_shape)
        model.encoder_network = nn.Sequential(units, model.encoder_network)
        model.decoder = Standardized(model.decoder, units)
    if has_gaps({"dataset": dataset}):
        if model.decoder.calibrate is not None:
            raise UserError("dataset.missing=mask: this decoder takes its scale from all numbers of a batch, of which "
                            "some are missing: use decoder=gaussian")  # fmt: skip
        filler = Filler(model.x_shape)
        model.encoder_network = nn.Sequential(filler, model.encoder_network)
        model.decoder = Masked(model.decoder, filler)
    return model


def learn_units(model: VAE, train: Split) -> None:
    """Let those of the model's parts that know the data's units learn them from the training split."""
    parts = [part for part in model.modules() if isinstance(part, Standardizer | Filler)]
    if parts:
        moments = train.moments
        for part in parts:
            part.learn(moments.mean, moments.scale)


def refuse_too_large(config: Config, x_shape: tuple[int, ...], trusted: bool, trust: Sequence[str]) -> None:
    """UserError where the model's weights would not fit into memory."""
    try:
        with torch.device("meta"):
            model = build_vae(config, x_shape, trusted, trust)
        needed = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    except UserError:
        raise
    except RuntimeError as error:
        if "overflow" not in str(error):  # a class that cannot be built without memory
            return
        needed = 2**63
    check_memory(needed, "the model's weights", "make latent_dim or the architecture smaller")


def refuse_too_many_densities(model: VAE, draws: int) -> None:
    """UserError where the densities of q(z|x) that the prior asks for at a step's draws would not fit into memory."""
    densities, numbers = getattr(model.prior, "densities", 0), getattr(model.posterior, "density_numbers", 0)
    check_memory(
        4 * draws * densities * numbers, "the densities under this posterior that the prior adds up",
        "use posterior.kind=coupling, fewer prior.components or a smaller batch_size",
    )  # fmt: skip


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
        with seeded(0, train.device):
            x = train.batch(order[torch.arange(n) % len(train)].to(train.device))
        return torch.where(x.isnan(), train.mean().to(x), x)

    start_from(draw)


def settle(
    config: Config, train: Split, recipe: str | None = None, trusted: bool = False, trust: Sequence[str] = ()
) -> Config:
    """The configuration with what the decoder takes from the data filled in: a model is rebuilt from it alone."""
    node = config["decoder"]
    refuse_unusable(train, gaps=has_gaps(config))
    fill = getattr(option_class(node, "decoder", trusted, trust), "settle", None)
    if fill is None:  # an option of the user's own
        return config
    with or_recipe(recipe):
        return {**config, "decoder": fill(node, facts(train))}


def check_data(decoder: Decoder, train: Split, recipe: str | None) -> str | None:
    """Refuse data that no decoder or this one cannot score; otherwise its warning about them, if it has one."""
    refuse_unusable(train, decoder.takes_gaps)
    with or_recipe(recipe):
        return decoder.check(facts(train, decoder.step))


@contextmanager
def or_recipe(recipe: str | None) -> Iterator[None]:
    """What a decoder says of unsuitable data as a UserError, with the recipe for them where there is one."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error) + (f", or experiment={recipe}" if recipe else "")) from None


def has_gaps(config: Config) -> bool:
    """Whether NaN stands for what is missing."""
    return bool(config.get("dataset", {}).get("missing") == "mask")


def refuse_unusable(train: Split, gaps: bool = False) -> None:
    """UserError for data that are not finite, or the same everywhere; with `gaps` NaN is allowed."""
    refuse_infinite("the training data", train, gaps, remedy=": mend or remove them")
    low, high, _ = train.range
    if low == high:
        raise UserError(f"every value of the training data is {low:g}: there is nothing to learn; check the files")


def facts(split: Split, step: float | None = None) -> DataFacts:
    """What a decoder needs to know of data; `step`: of a grid that they may lie on."""
    low, high, binary = split.range
    if binary or split.levels > 1:
        return DataFacts(low, high, binary, 1.0 if binary else 1 / split.levels)
    steps = (1.0, 1 / 255) if step is None else (1.0, step, 1 / 255)  # 8-bit images are often kept as real numbers
    return DataFacts(low, high, binary, next((s for s in steps if lies_on(split, s)), None))


def lies_on(split: Split, step: float, tolerance: float = 1e-3) -> bool:
    """Whether all values that are not missing are multiples of `step`, but for `tolerance` of it."""
    parts = (chunk.to(torch.float32) / step for chunk in split.chunks())
    return not any(bool(((part - part.round()).abs() >= tolerance).any()) for part in parts)


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


def absolute_paths(config: Config) -> Config:
    """The configuration with the data's paths as every later command will find them, from whichever folder."""
    dataset = config["dataset"]
    paths = {key: dataset[key] for key in PATHS if isinstance(dataset.get(key), str)}
    paths = {key: str(Path(path).expanduser().absolute()) for key, path in paths.items()}
    return {**config, "dataset": {**dataset, **paths}}


def localise(config: Config) -> Config:
    """The configuration with a data folder that does not hold the files replaced by this machine's own.

    The folder that a file names is thereby read at most: what is missing is downloaded to a place of the user's.
    """
    dataset = config["dataset"]
    if not isinstance(dataset, dict) or dataset.get("root") is None:
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
    return sorted(
        found, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
    )


def load(
    run: str | os.PathLike[str] = "latest", checkpoint: str = "best", device: str = "auto", trust: Sequence[str] = ()
) -> VAE:
    """The trained model of a run, ready for use: `encode`, `decode`, `sample`.

    trust: packages of your own whose classes the run may use; without it only vaecli's are built.
    """
    return load_run(os.fspath(run), checkpoint, device, trust).model
