"""Placeholders, which somebody was to replace by a value."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["is_placeholder"]

# Whole values only, and only what nobody would choose: a false alarm stops an application from starting.
_PLACEHOLDER = (
    r"(?:change|replace|fill)[-_ ]?(?:me|this|it|in)"
    r"|todo|fixme|tbd|placeholder|example|redacted"
    r"|(?:your|my|insert|enter|some)[-_ ](?:[a-z0-9]+[-_ ])+here"
    r"|your[-_ ](?:[a-z0-9]+[-_ ])*(?:key|token|password|secret|id|url)"
    r"|xxx|x{3,}(?:[-_ ]x{3,})+|\*{3,}|\.{3,}|…"
    r"|<[^<>=\n]{1,64}>"
)
_BEGINNINGS = (
    "change", "replace", "fill", "todo", "fixme", "tbd", "placeholder", "example", "redacted", "your", "my",
    "insert", "enter", "some", "xxx", "***", "...", "…", "<",
)  # fmt: skip
"""What all of these begin with. Most values do not, and the pattern takes long to compile."""
_MAX_CHARACTERS = 128


def is_placeholder(text: str, further: Iterable[str] = ()) -> bool:
    """Return whether `text` is a placeholder: `changeme`, `TODO`, `your-token-here`, `<password>` and such.

    Case and surrounding blanks do not count.

    Args:
        text: The value.
        further: Other values that are placeholders too.
    """
    if len(text) > _MAX_CHARACTERS:
        return False
    plain = text.strip().casefold()
    if plain.startswith(_BEGINNINGS) and re.fullmatch(_PLACEHOLDER, plain):
        return True
    return plain in {one.strip().casefold() for one in further}
