"""The nearest valid name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that somebody who typed `word` most likely meant."""
    import difflib  # most names are right

    close = difflib.get_close_matches(word, sorted(words), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, words: Iterable[str], otherwise: str | None = None) -> str:
    """Ask for the word most likely meant; if none is near, return `otherwise`, or a list of `words`."""
    known = list(words)
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    return otherwise if otherwise is not None else f"there are: {', '.join(known) or 'none'}"
