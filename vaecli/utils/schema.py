"""Checks values against the annotations of the function or class that takes them."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

from vaecli.utils.errors import UserError, nearest
from vaecli.utils.text import printable
from vaecli.utils.types import Values

adapter = functools.cache(TypeAdapter)  # the validator of an annotation; making one takes a millisecond


def check_arguments(
    target: Callable[..., Any], values: Mapping[str, Any], prefix: str = "", supplied: Collection[str] = ()
) -> dict[str, Any]:
    """`values`, converted to the types of `target`'s parameters.

    `prefix` (`"decoder."`) makes the keys in messages those that the user typed; the parameters named in `supplied`
    come from the program and are neither expected nor allowed here. Raises UserError for a key that `target` does
    not take, a missing one, and a value of the wrong type or out of range.
    """
    try:
        parameters = {name: p for name, p in inspect.signature(target).parameters.items() if name not in supplied}
        annotated = target.__init__ if inspect.isclass(target) and not dataclasses.is_dataclass(target) else target
        hints = typing.get_type_hints(annotated, include_extras=True)  # of a dataclass, each base's in its own module
    except (TypeError, ValueError, NameError) as error:
        raise UserError(f"{prefix}_target_: its signature cannot be inspected ({error})") from None
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [key for key in values if key not in parameters]
    if unknown and not takes_any:
        raise UserError(unknown_key(prefix + unknown[0], [prefix + name for name in parameters]))
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        name for name, p in parameters.items() if p.default is p.empty and p.kind in named and name not in values
    ]
    if missing:
        raise UserError(f"{prefix}{missing[0]} has no value: give {prefix}{missing[0]}=...")
    return {key: check_value(prefix + key, value, hints.get(key, Any)) for key, value in values.items()}


def check_value(key: str, value: Any, hint: Any) -> Any:
    """`value`, converted to the annotation `hint`; UserError with the key, the value and what is allowed."""
    try:
        return adapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # branches of a Union and positions in lists are left out of the message; keys of nested groups are not
        inner = [str(part) for part in first["loc"] if isinstance(part, str) and isinstance(value, Mapping)]
        if first["type"] == "unexpected_keyword_argument":
            known = [f"{key}.{name}" for name in getattr(hint, "__annotations__", {})]
            raise UserError(unknown_key(".".join([key, *inner]), known)) from None
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
        shown = first["input"] if inner else value
        if "dataclass" in first["type"] and not inner:
            message = f"has keys of its own, as in {key}.{next(iter(hint.__annotations__))}=..."
        if first["type"] == "missing" and isinstance(value, list):
            message = f"should have {len(typing.get_args(hint))} values"
        if first["type"] == "list_type" and not isinstance(value, Mapping | None):
            message += f", as in {key}=[{as_typed(value)}]"
        raise UserError(f"{'.'.join([key, *inner])}={as_typed(shown)}: {message}") from None


def unknown_key(key: str, known: Collection[str]) -> str:
    """The message for an unknown key."""
    hint = nearest(key, known)
    return f"unknown key {key}{hint or '; known here: ' + (', '.join(sorted(known)) or 'none')}"


def as_typed(value: Any) -> str:
    """A configuration value as it is typed on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(as_typed(item) for item in value) + "]"
    return printable(str(value))


def flatten(config: Values) -> Values:
    """Nested mappings as one dict with dotted keys; a group's option is the value of the group's own key."""
    return dict(_flat(config, ""))


def _flat(config: Values, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{printable(str(key))}.")
        elif key == "name" and prefix:
            yield prefix[:-1], value
        elif key != "_target_":
            yield prefix + printable(str(key)), value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number; an integer that is too large for a float is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
