"""Makes a class an option of its group: gives it the group's base class, or checks that it has it."""

from __future__ import annotations

import functools
import importlib
import inspect
import types
from collections.abc import Callable
from typing import Any

from vaecli.utils.errors import UserError

GROUPS = ("architecture", "dataset", "decoder", "objective", "posterior", "prior")


def as_option(given: Callable[..., Any], group: str) -> Callable[..., Any]:
    """The class `given` as an option of a group; UserError if it cannot be one.

    A user's own class need not inherit from the group's base class. If it has the methods, it gets the base class as a
    second parent, and with it the defaults and checks.
    """
    if group not in GROUPS:  # optimizers and schedules are torch's
        return given
    base = getattr(importlib.import_module(f"vaecli.{group}s.base"), group.capitalize())
    where = f"derive a class from {qualified_name(base)}"
    option: Any = given
    if not inspect.isclass(option):
        raise UserError(f"{group} cannot be {qualified_name(given)}, which is not a class: {where}")
    if not issubclass(option, base):
        if option.__module__.partition(".")[0] == "vaecli":
            raise UserError(f"{qualified_name(given)} is not a {group}")
        option = with_parent(option, base)  # type: ignore[arg-type]
    if option.abstract:
        raise UserError(f"{qualified_name(given)} is an abstract class; name a class derived from it")
    result: Callable[..., Any] = option
    return result


@functools.cache
def with_parent(cls: Any, base: Any) -> type:
    """A class like `cls`, with the same name, that also derives from `base`."""
    missing = [one for one in base.__bases__ if one.__module__.startswith("torch.") and not issubclass(cls, one)]
    if missing:
        raise UserError(f"{qualified_name(cls)} is not a {missing[0].__name__}: derive it from {qualified_name(base)}")
    same = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    try:
        return types.new_class(cls.__name__, (cls, base), {}, lambda names: names.update(same))
    except (TypeError, ValueError) as error:  # incompatible layouts or metaclasses
        raise UserError(
            f"{qualified_name(cls)} cannot be used: derive it from {qualified_name(base)} ({error})"
        ) from None


def check_made(made: Any, group: str) -> None:
    """UserError if an option's object lacks an attribute that its class should have set."""
    for name in getattr(type(made), "attributes", ()) if group in GROUPS else ():
        if not hasattr(made, name):
            raise UserError(f"{group}: {qualified_name(type(made))} does not set {name} in its __init__")


def qualified_name(cls: Any) -> str:
    return f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', '?')}"
