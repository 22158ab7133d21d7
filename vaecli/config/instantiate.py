"""Builds an option from the name of its class, and decides which names are trusted."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaecli.config.bases import as_option, check_made
from vaecli.utils.errors import UserError
from vaecli.utils.schema import as_typed, check_arguments, check_value
from vaecli.utils.types import Values

NEVER_TRUSTED = {
    *sys.stdlib_module_names, "vaecli", "torch", "torchvision", "hydra", "omegaconf", "tensorboard", "numpy", "scipy",
    "sklearn", "matplotlib", "pyarrow", "PIL", "tifffile", "imagecodecs", "pydantic", "rich", "yaml", "onnx",
    "onnxruntime", "pip", "setuptools",
}  # fmt: skip


REQUIRED_ATTRIBUTES = {  # attributes that objects of torch's classes must have; for the other groups see `bases`
    "optimizer": ("step", "param_groups"),
    "scheduler": ("step", "state_dict"),
}


@dataclass(frozen=True)
class Trust:
    """Whose classes a configuration may name.

    packages: the user's own, whose classes may be built like vaecli's; UserError for a name that cannot be one
    typed_here: the configuration was typed, not read from a file, and may name any class
    """

    packages: tuple[str, ...] = ()
    typed_here: bool = False

    def __post_init__(self) -> None:
        for name in self.packages:
            if not re.fullmatch(r"[a-zA-Z_]\w*(\.\w+)*", name, re.ASCII):
                raise UserError(f"trust={as_typed(name)}: should be names of packages, as in trust=[mypackage]")
            if name.partition(".")[0] in NEVER_TRUSTED:
                raise UserError(f"trust={name}: not a package with classes for vaecli; name one of your own")


TYPED_HERE = Trust(typed_here=True)


@dataclass(frozen=True)
class OptionFactory:
    """Builds the object that each group of a configuration names as its `_target_`, if that is trusted."""

    options: Values  # of each group, by the group's name; a stranger's file can hold any value
    trust: Trust

    def make(self, group: str, **supplied: Any) -> Any:
        """Call a group's `_target_` with its other entries, checked, and what the program supplies."""
        target, node = self.option_class(group), self.options[group]
        values = {key: value for key, value in node.items() if key not in ("_target_", "name")}
        given = {key: values.pop(key) for key in getattr(target, "settable", ()) if key in values}
        for key, value in given.items():
            check_value(f"{group}.{key}", value, str | None)
        arguments = check_arguments(target, values, prefix=f"{group}.", supplied=supplied)
        if not isinstance(node.get("name"), str) or not re.fullmatch(r"\w[\w.-]{0,99}", node["name"]):
            # it is used in file names
            raise UserError(
                f"{group}.name={as_typed(node.get('name'))}: should be a name of letters, digits, . - and _"
            )
        try:
            made = target(**arguments, **supplied)
        except ValueError as error:  # a combination that only the class itself can judge
            raise UserError(f"{group}={node['name']}: {error}") from None
        except Exception as error:  # a class of vaecli that is not an option can fail in any way
            if self.trust.typed_here or isinstance(error, UserError | MemoryError):
                raise
            raise UserError(f"{group}._target_={node['_target_']}: cannot be used ({error})") from None
        missing = [name for name in REQUIRED_ATTRIBUTES.get(group, ()) if not hasattr(made, name)]
        if missing:
            raise UserError(f"{group}._target_={node['_target_']}: is not a {group}: it has no {missing[0]}")
        check_made(made, group)
        for key, value in given.items():
            setattr(made, key, value)
        return made

    def option_class(self, group: str) -> Callable[..., Any]:
        """The class or function that a group names as its `_target_`."""
        node: Any = self.options.get(group)
        if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
            raise UserError(f"{group} should name one of its options, as in {group}=NAME (see vae train --help)")
        target = node["_target_"]
        named: Callable[..., Any] = (
            imported(target) if self.trust.typed_here else resolve(target, f"vaecli.{group}s", self.trust.packages)
        )
        try:
            return as_option(named, group)
        except UserError as error:
            raise UserError(f"{group}._target_={target}: {error}") from None


def resolve(target: str, package: str, trust: Sequence[str] = ()) -> Callable[..., Any]:
    """The class or function that a dotted path names, where it is defined in `package`.

    A path is followed no further than one attribute of one module, and that must then be a class defined in the module
    (or a function, where the package is a single module): what a module merely imports cannot be reached through it.
    trust: packages of the user's whose classes and functions are accepted too, from whichever of their modules.
    """
    module = target.rpartition(".")[0]
    own = re.fullmatch(re.escape(package) + r"(\.[a-z]\w*)*\.[a-zA-Z]\w*", target, re.ASCII)
    theirs = [trusted for trusted in trust if target.startswith(f"{trusted}.")]
    if not own and not theirs:
        raise UserError(f"the configuration asks for {target!r}, which is not one of vaecli's own classes: refused"
                        + how_to_trust(target))  # fmt: skip
    named: Callable[..., Any] = imported(target)
    defined_in = str(getattr(named, "__module__", None))
    if theirs:
        fits = callable(named) and any(f"{defined_in}.".startswith(f"{trusted}.") for trusted in theirs)
    else:
        fits = defined_in == module and (inspect.isclass(named) or (inspect.isfunction(named) and module == package))
    if not fits:
        raise UserError(f"the configuration asks for {target!r}, which is not a class defined in that module: refused")
    return named


def imported(target: str) -> Any:
    """One attribute of one module; a package of the user's may lie in the working folder."""
    module, _, name = target.rpartition(".")
    try:
        if not module.startswith("vaecli.") and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # at the end, so that nothing there hides an installed package
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module can fail in any way
        plain_kinds = ImportError | AttributeError | ValueError | UserError
        kind = "" if isinstance(error, plain_kinds) else f"{type(error).__name__}: "
        raise UserError(f"cannot import {target!r}: {kind}{error}") from None


def how_to_trust(target: str) -> str:
    """The remedy for a class that may be the user's own; empty for a known library's."""
    package = target.partition(".")[0]
    if package in NEVER_TRUSTED or not re.fullmatch(r"\w+(\.\w+)+", target, re.ASCII):
        return ""
    return f".\nIf {package} is a package that you trust to run code on this machine, add trust=[{package}]"
