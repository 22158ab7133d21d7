"""The option that a configuration chooses in a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import PlainValidator

from vaecli.utils.types import Values


class Choice(Mapping[str, Any]):
    """The chosen option of a group: its name, its class, and the arguments of the class."""

    def __init__(self, entries: Values) -> None:
        self._entries = dict(entries)

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Choice({self._entries})"

    @property
    def name(self) -> str:
        return str(self.get("name"))

    def filled(self, **arguments: Any) -> Choice:
        return Choice({**self._entries, **arguments})


def as_choice(value: Any) -> Choice:
    if not isinstance(value, Mapping):
        raise ValueError("should be the name of an option of this group")
    return Choice(value)


Group = Annotated[Choice, PlainValidator(as_choice)]
