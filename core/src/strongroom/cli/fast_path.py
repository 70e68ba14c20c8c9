"""Recognises plain calls of `get` and `run` without click, whose import costs more than the reading does.

Only what is beyond doubt is taken here; help, mistakes and unusual spellings are left to click, so
that there is one place that explains them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from strongroom.cli.context import GlobalOptions

__all__ = ["FastCall", "parse_fast_call"]

_GLOBAL_VALUES = frozenset({"--spec", "--profile", "--pipeline"})
_FLAGS = frozenset({"--json", "--debug", "--quiet"})
_GET_VALUES = frozenset({"--field", "--version"})
_RUN_VALUES = frozenset({"--group", "--only"})
_RUN_FLAGS = frozenset({"--allow-empty", "--no-mask"})


class FastCall:
    """A call of `get` or `run` that was understood."""

    __slots__ = ("command", "options", "settings")

    def __init__(self, command: str, settings: GlobalOptions, options: dict[str, Any]) -> None:
        self.command = command
        self.settings = settings
        self.options = options


def parse_fast_call(args: Sequence[str]) -> FastCall | None:
    """Return what a plain `get KEY` or `run -- CMD` with options asks for; of anything else None."""
    chosen: dict[str, Any] = {}
    words = iter(args)
    for word in words:
        if word in {"get", "run"}:
            options = (_get if word == "get" else _run)(words, chosen)
            return None if options is None else FastCall(word, GlobalOptions(**chosen), options)
        if not _take_option(word, words, _GLOBAL_VALUES, _FLAGS, chosen):
            return None
    return None


def _take_option(
    word: str, words: Iterator[str], values: frozenset[str], flags: frozenset[str], options: dict[str, Any]
) -> bool:
    """Put the option `word` into `options`, with its value from `words`, and return whether it was one."""
    name = word[2:].replace("-", "_")
    if word in flags:
        options[name] = True
        return True
    value = next(words, None) if word in values else None
    if value is None or value.startswith("-"):
        return False
    options[name] = value
    return True


def _get(words: Iterator[str], chosen: dict[str, Any]) -> dict[str, Any] | None:
    options: dict[str, Any] = {"field": None, "version": None}
    key = None
    for word in words:
        if word in _FLAGS:
            chosen[word[2:]] = True
        elif word.startswith("-") and key is not None:
            if not _take_option(word, words, _GET_VALUES, frozenset(), options):
                return None
        elif not word or word.startswith("-") or key is not None:
            return None
        else:
            key = word
    return None if key is None else {"key": key, **options}


def _run(words: Iterator[str], chosen: dict[str, Any]) -> dict[str, Any] | None:
    options: dict[str, Any] = {"group": None, "only": None, "no_mask": False, "allow_empty": False}
    for word in words:
        if word == "--":
            command = list(words)
            return {**options, "words": command} if command else None
        if word in _FLAGS:
            chosen[word[2:]] = True
        elif not _take_option(word, words, _RUN_VALUES, _RUN_FLAGS, options):
            return None
    return None
