"""Recognises plain calls of `get` without click, whose import costs more than the reading does.

Only what is beyond doubt is taken here; help, mistakes and unusual spellings are left to click, so
that there is one place that explains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strongroom.cli.frame import Settings

__all__ = ["QuickGet", "quick_get"]

_GLOBAL_VALUES = frozenset({"--spec", "--profile", "--pipeline"})
_FLAGS = frozenset({"--json", "--debug"})
_OWN_VALUES = frozenset({"--field", "--version"})


class QuickGet:
    """A call of `get` that was understood."""

    __slots__ = ("options", "settings")

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self.settings = settings
        self.options = options


def quick_get(args: Sequence[str]) -> QuickGet | None:
    """Return what a plain `[options] get KEY [options]` asks for; of anything else None."""
    chosen: dict[str, Any] = {}
    own: dict[str, Any] = {"field": None, "version": None}
    positional: list[str] = []
    words = iter(args)
    for word in words:
        if word in _FLAGS:
            chosen[word[2:]] = True
        elif word in (_OWN_VALUES if positional else _GLOBAL_VALUES):
            value = next(words, None)
            if value is None or value.startswith("-"):
                return None
            (own if positional else chosen)[word[2:]] = value
        elif not word or word.startswith("-") or (not positional and word != "get"):
            return None
        else:
            positional.append(word)
    if len(positional) != 2:  # noqa: PLR2004  # the command and its key
        return None
    return QuickGet(Settings(**chosen), {"key": positional[1], **own})
