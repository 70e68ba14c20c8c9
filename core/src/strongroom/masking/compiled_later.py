"""Regular expressions that are compiled at their first use: most of what is masked needs few of them."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["compiled_later"]


class _Later:
    """Stands for a compiled regular expression; each method is looked up once."""

    def __init__(self, text: str | bytes) -> None:
        self._text = text

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._text), name)
        setattr(self, name, method)
        return method


def compiled_later(text: AnyStr) -> re.Pattern[AnyStr]:
    """Return what can be used as `re.compile(text)` can."""
    return cast("re.Pattern[AnyStr]", _Later(text))
