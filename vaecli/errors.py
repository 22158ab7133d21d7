"""The one exception that a user sees as a message instead of a traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user can mend: one or two lines that say what was wrong, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten("\n".join(map(printable, message.split("\n")))))


def printable(text: str) -> str:
    """`text` with what would move the cursor, colour the terminal or break the line written out, as in \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, most: int = 3000) -> str:
    """`text`, its middle left out where it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def nearest(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean X?` for the candidate closest to `word`, or nothing where none is close."""
    candidates = list(candidates)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    last = word.rsplit(".", 1)[-1]  # a key that was given without its group: sigma for decoder.sigma
    close = close or [c for c in candidates if c.rsplit(".", 1)[-1] == last]
    return f"; did you mean {close[0]}?" if close else ""
