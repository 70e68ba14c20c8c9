"""The regular expressions of a spec, tried on values and keys in bounded time.

Python's own `re` takes time that doubles with each character for patterns such as `(a|aa)+$`, and cannot be
stopped. The package `regex` takes the same patterns, recognises the commonest of these, and gives up in
time on the rest (`docs/decisions/0047-patterns.md`).
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Any, Final

__all__ = ["LONGEST_TEXT", "compiled", "mismatch"]

LONGEST_TEXT = 65_536
"""Characters up to which a pattern is tried on a text."""
_SECONDS = 1.0
_PIECE: Final = r"(?:[A-Za-z0-9_:/@%=-]|\\[.+*?()|^$/-]|\[[A-Za-z0-9_.:/@+=-]+\])([+*?]|\{\d+(,\d*)?\})?"


@lru_cache(maxsize=256)
def _matching(pattern: str) -> Any:
    """Return what matches a whole text in bounded time; `regex` is imported only where `re` would not do."""
    if _is_plain(pattern):
        try:
            return re.compile(pattern).fullmatch
        except (re.error, OverflowError):
            pass  # `regex` says what is wrong with it
    return partial(compiled(pattern).fullmatch, timeout=_SECONDS)


def _is_plain(pattern: str) -> bool:
    """Return whether `re` matches a whole text in one pass, and as `regex` does: `[A-Z]{2}-[0-9]+`.

    That is one character after the other, of which one at most may occur a varying number of times.
    """
    end = varying = 0
    while end < len(pattern):
        piece = re.compile(_PIECE).match(pattern, end)
        if piece is None:
            return False
        end = piece.end()
        varying += piece[2] is not None or piece[1] in {"+", "*", "?"}
    return varying <= 1 and "--" not in pattern


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """Return `pattern` as an object of the package `regex`.

    Raises:
        ValueError: It is not a regular expression.
    """
    import regex  # few specs have a pattern, and a command is to start fast

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        problem = str(error)
    raise ValueError(problem)


def mismatch(pattern: str, text: str, *, anywhere: bool = False) -> str | None:
    """Return why the whole of `text` does not match `pattern`, or None where it does.

    Args:
        pattern: A pattern that `compiled` takes.
        text: What it is tried on.
        anywhere: A part of `text` that matches is enough, as in a JSON Schema.
    """
    if len(text) > LONGEST_TEXT:
        return f"it has {len(text)} characters, and a pattern is tried on {LONGEST_TEXT} at most"
    try:
        found = compiled(pattern).search(text, timeout=_SECONDS) if anywhere else _matching(pattern)(text)
    except TimeoutError:
        return f"the pattern {pattern} takes more than {_SECONDS:g} s on it; write it without nested repeats"
    return None if found is not None else f"it does not match the pattern {pattern}"
