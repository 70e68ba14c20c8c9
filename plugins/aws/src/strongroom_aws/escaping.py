"""Characters that a service's names cannot hold, as a marker and the hexadecimal digits of their bytes.

The marker is two characters. A key's own second character behind the first one is escaped too, so that the
marker stands in a name only where something was escaped, and no two keys share a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def escaper(marker: str, safe: str) -> Callable[[str], str]:
    """Return a function that escapes what is not in `safe` (the inside of a character class)."""
    first, second = marker[0], marker[1]
    unsafe = re.compile(f"(?<={re.escape(first)}){re.escape(second)}|[^{safe}]")

    def escape(text: str) -> str:
        return unsafe.sub(lambda found: escaped(marker, found.group()), text)

    return escape


def escaped(marker: str, text: str) -> str:
    """Return `text` with every byte of its UTF-8 escaped."""
    return "".join(f"{marker}{byte:02x}" for byte in text.encode())


def unescaper(marker: str) -> Callable[[str], str | None]:
    """Return the inverse of `escaper`: None for what it never makes of a text."""
    escapes = re.compile(f"(?:{re.escape(marker)}[0-9a-f]{{2}})+")

    def unescape(text: str) -> str | None:
        try:
            return escapes.sub(lambda found: bytes.fromhex(found.group().replace(marker, "")).decode(), text)
        except UnicodeDecodeError:
            return None

    return unescape
