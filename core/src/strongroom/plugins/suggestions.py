"""The nearest valid name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that somebody who typed `word` most likely meant, whatever its case."""
    import difflib  # most names are right

    known = sorted(words)
    in_lower_case = {one.lower(): one for one in known}
    if word.lower() in in_lower_case:
        return in_lower_case[word.lower()]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return close[0]
    close = difflib.get_close_matches(word.lower(), in_lower_case, n=1, cutoff=0.6)
    return in_lower_case[close[0]] if close else None


def did_you_mean(word: str, words: Iterable[str], otherwise: str | None = None) -> str:
    """Ask for the word most likely meant; if none is near, return `otherwise`, or a list of `words`."""
    known = list(words)
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    return otherwise if otherwise is not None else f"there are: {', '.join(known) or 'none'}"
