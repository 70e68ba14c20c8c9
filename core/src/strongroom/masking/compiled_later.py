"""Regular expressions that are compiled at their first use, since most text needs few of them."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AnyStr

__all__ = ["compiled_later"]


class _CompiledAtUse:
    """Stands for a compiled regular expression; looks each method up once."""

    def __init__(self, text: str | bytes) -> None:
        self._text = text

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._text), name)
        setattr(self, name, method)
        return method


def compiled_later(text: AnyStr) -> re.Pattern[AnyStr]:
    """Return an object that can be used like `re.compile(text)`, which is called when a method is used."""
    return _CompiledAtUse(text)  # type: ignore[return-value]  # has each of its methods
