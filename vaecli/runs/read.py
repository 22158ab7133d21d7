"""Reads a run's YAML and JSON as plain values, within the limits of what vaecli writes, as it may be a stranger's."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from vaecli.utils.files import amount
from vaecli.utils.types import Values

MAX_TEXT_BYTES = 2**22  # bytes of a file; a config.yaml has under 100 kB, and 2 MB with the names of 100,000 columns
MAX_LINES = 400_000  # of metrics.jsonl, which has two for each epoch
MAX_LINE_LENGTH = 2000  # characters of one of them
MAX_BAD_LINES = 1000  # lines that may be unusable
MAX_DEPTH = 50  # mappings and lists within each other
MAX_VALUES = 250_000  # of a YAML text, which may be the names of so many columns
MAX_NUMBER_LENGTH = 40  # characters
INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,18})", re.ASCII)
REAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", re.ASCII)
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False,
         ".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}  # fmt: skip
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster
STRUCTURE = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)
Parse = Callable[[str], Any]


class Damaged(Exception):
    """Raised for a file of a run that cannot be read."""


def mapping(path: Path, parse: Parse) -> Values:
    """What `parse`, load_yaml or load_json, reads from a file; Damaged unless it is a mapping."""
    try:
        value = parse(read(path))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Damaged(f"{path.name} is damaged")
    return value


def read(path: Path) -> str:
    """The text of a regular file of no more than MAX_TEXT_BYTES bytes; Damaged otherwise."""
    try:
        if not path.is_file():  # a pipe, which would never end
            raise Damaged(f"{path.name} cannot be read (it is not a regular file)")
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None
    if len(content) > MAX_TEXT_BYTES:
        raise Damaged(f"{path.name} is too large (more than {amount(MAX_TEXT_BYTES)}, which no run of vaecli writes)")
    return content.decode(errors="replace")


def json_lines(path: Path, usable: Callable[[Values], bool]) -> Iterator[Values]:
    """The usable mappings in a file with one on each line; a few other lines, such as a half-written one, are skipped.

    Damaged if there are more than MAX_BAD_LINES of them, or more lines than any run has.
    """
    junk = 0
    try:
        if not path.is_file():
            raise Damaged(f"{path.name} cannot be read (it is not a regular file)")
        with path.open(encoding="utf-8", errors="replace") as file:
            for n, line in enumerate(iter(lambda: file.readline(MAX_LINE_LENGTH), "")):
                entry = line_of_json(line)
                if entry is not None and usable(entry):
                    yield entry
                else:
                    junk += 1
                if junk > MAX_BAD_LINES or n > MAX_LINES:
                    raise Damaged(f"{path.name} is " + ("damaged" if junk > MAX_BAD_LINES else "too large"))
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None


def line_of_json(line: str) -> Values | None:
    try:
        value = load_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def load_json(content: str) -> Any:
    """The value of a JSON text; ValueError if it is invalid or nested too deeply."""
    try:
        whole = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [whole]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level if isinstance(value, dict | list) for inner in entries(value)]
        if not level:
            return whole
    raise ValueError("nested too deeply")


def entries(value: dict[Any, Any] | list[Any]) -> Any:
    return value.values() if isinstance(value, dict) else value


def load_yaml(content: str) -> Any:
    """The value of a YAML text: mappings, lists, and scalars in the forms that `dump_yaml` writes.

    Raises ValueError for tags and aliases, by which a small file can stand for a huge value, for keys that are not
    text, for more than one document, deep nesting and more values than any run has.
    """
    try:
        events = limited(MAX_VALUES, yaml.parse(content, Loader))
        nodes = (event for event in events if not isinstance(event, STRUCTURE))
        documents = [value_of(event, nodes) for event in nodes]
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}: " if place else ""
        raise ValueError(where + str(getattr(error, "problem", None) or "no text")) from None
    if len(documents) > 1:
        raise ValueError("more than one document")
    return documents[0] if documents else None


def limited(n: int, events: Iterator[Any]) -> Iterator[Any]:
    for i, event in enumerate(events):
        if i > n:
            raise ValueError("more values than any run has")
        yield event


def value_of(event: Any, nodes: Iterator[Any], depth: int = 0) -> Any:
    """The value that begins with an event; its further events are taken from `nodes`."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
        raise ValueError("a tag or an alias")
    if isinstance(event, yaml.ScalarEvent):
        return scalar(event.value) if event.implicit[0] else event.value
    until_end = itertools.takewhile(lambda event: not isinstance(event, yaml.CollectionEndEvent), nodes)
    if isinstance(event, yaml.SequenceStartEvent):
        return [value_of(event, nodes, depth + 1) for event in until_end]
    return {key_of(event): value_of(next(nodes), nodes, depth + 1) for event in until_end}


def key_of(event: Any) -> str:
    if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
        raise ValueError("a key that is not text")
    return str(event.value)


def scalar(text: str) -> Any:
    """The value of a text without quotes: null, a truth value or a number in the usual form, or else the text."""
    if text in WORDS:
        return WORDS[text]
    if len(text) > MAX_NUMBER_LENGTH:
        return text
    return int(text) if INTEGER.fullmatch(text) else float(text) if REAL.fullmatch(text) else text


class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no annotations
    """Writes what load_yaml reads: no aliases, and quotes around a text that would be read as another value."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        style = '"' if not data.isprintable() else "'" if not isinstance(scalar(data), str) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


Dumper.add_representer(str, Dumper.represent_text)


def dump_yaml(values: Values) -> str:
    """Plain values as YAML, a key on each line, in their order."""
    text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return text
