"""The one exception that a user sees as a message instead of a traceback."""

import difflib
from collections.abc import Iterable

from vaecli.utils.text import printable, shorten

SAID = "the user has been told"  # a note of an exception


class UserError(Exception):
    """An error that the user can correct: one or two lines say what was wrong, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten("\n".join(map(printable, message.split("\n", 1)))))


def nearest(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean X?` for the candidate closest to `word`, or nothing where none is close."""
    candidates = list(candidates)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    last = word.rsplit(".", 1)[-1]  # a key that was given without its group: sigma for decoder.sigma
    close = close or [c for c in candidates if c.rsplit(".", 1)[-1] == last]
    return f"; did you mean {printable(close[0])}?" if close else ""
