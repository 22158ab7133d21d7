"""Quotes the words of command lines that users copy: for the shell, and for Hydra, which parses the values."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

RESERVED_WORDS = (
    "null",
    "true",
    "false",
    "nan",
    "inf",
    "latest",
)  # not read as a file's name
UNQUOTED = re.compile(r"/[\w./-]*|[a-z_.][\w.-]*/[\w./-]*|[a-z_][\w.-]*", re.ASCII | re.IGNORECASE)


def setting(key: str, path: str | Path) -> str:
    """`key=path`, quoted where Hydra would not read the path literally; a reserved word gets `./` before it."""
    text = str(path)
    if UNQUOTED.fullmatch(text) and text.lower() not in RESERVED_WORDS:
        return f"{key}={text}"
    text = text if Path(text).is_absolute() or text.startswith(("./", "../")) else f"./{text}"
    return f"{key}={within_quotes(text)}"


def command(words: Iterable[str]) -> str:
    """Words as they are typed in a shell."""
    return " ".join(map(quoted, words))


def tensorboard_command(folder: Path) -> str:
    """The command that shows a run's curves."""
    return command(["tensorboard", "--logdir", str(folder)])


def quoted(word: str) -> str:
    """A word in quotes where a shell needs them; what cannot be printed is written as in $'\\n'."""
    if word.isprintable():
        return shlex.quote(word)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in os.fsencode(word))
    return f"$'{''.join(plain)}'"


def word(key: str, value: str | Sequence[str]) -> str:
    """`key=value`, or `key=[a,b]`, for a shell, each text quoted where Hydra would not read it literally."""
    text = item(value) if isinstance(value, str) else f"[{','.join(map(item, value))}]"
    return quoted(f"{key}={text}")


def item(text: str) -> str:
    """A text quoted so that Hydra reads it literally, alone or in a list."""
    if re.fullmatch(r"[a-z_][\w.-]*", text, re.ASCII | re.IGNORECASE) and text.lower() not in RESERVED_WORDS:
        return text
    plain = text.isprintable() and not re.search(
        r'["\\]|\$\{', text
    )  # double quotes, so that the shell's quotes can be single ones
    return f'"{text}"' if plain else within_quotes(text)


def within_quotes(text: str) -> str:
    """A text in Hydra's quotes."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    text = re.sub(r"(\\+)\Z", r"\1\1", text)
    return f"'{text}'"
