"""Words of a command line for a user to copy: right for Hydra, which reads the value, and for the shell before it."""

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
)  # words that stand for something else than a file's name
UNQUOTED = re.compile(r"/[\w./-]*|[a-z_.][\w.-]*/[\w./-]*|[a-z_][\w.-]*", re.ASCII | re.IGNORECASE)


def setting(key: str, path: str | Path) -> str:
    """`key=path`, in quotes where Hydra would not read the path's very text; a name that means more gets ./ before."""
    text = str(path)
    if UNQUOTED.fullmatch(text) and text.lower() not in RESERVED_WORDS:
        return f"{key}={text}"
    text = text if Path(text).is_absolute() or text.startswith(("./", "../")) else f"./{text}"
    return f"{key}={within_quotes(text)}"


def command(words: Iterable[str]) -> str:
    """Words as one types them in a shell."""
    return " ".join(map(quoted, words))


def tensorboard(folder: Path) -> str:
    """What to type to see a run's curves."""
    return command(["tensorboard", "--logdir", str(folder)])


def quoted(word: str) -> str:
    """A word in quotes where a shell needs them; what cannot be printed is written as in $'\\n'."""
    if word.isprintable():
        return shlex.quote(word)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in os.fsencode(word))
    return f"$'{''.join(plain)}'"


def word(key: str, value: str | Sequence[str]) -> str:
    """`key=value`, or `key=[a,b]`, for a shell: each text in quotes where Hydra would take it for something else."""
    text = item(value) if isinstance(value, str) else f"[{','.join(map(item, value))}]"
    return quoted(f"{key}={text}")


def item(text: str) -> str:
    """A text as Hydra reads it as that very text, alone or in a list."""
    if re.fullmatch(r"[a-z_][\w.-]*", text, re.ASCII | re.IGNORECASE) and text.lower() not in RESERVED_WORDS:
        return text
    plain = text.isprintable() and not re.search(r'["\\]|\$\{', text)  # double quotes spare the shell's own
    return f'"{text}"' if plain else within_quotes(text)


def within_quotes(text: str) -> str:
    """A text in Hydra's quotes."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    text = re.sub(r"(\\+)\Z", r"\1\1", text)
    return f"'{text}'"
