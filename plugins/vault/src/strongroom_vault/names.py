"""Keys as paths of the KV engine and back: injective, and the identity wherever it can be.

The server refuses what is not printable. Each byte (UTF-8) of such a character becomes the marker `~x`
and two hexadecimal digits; a `~` before an `x` is escaped too, so no two keys share a path.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from strongroom.keys import escape, matching_key, unescape

MARKER = "~x"

_SPECIAL = re.compile("~(?=x)")


def path_of(text: str) -> str:
    """Return the path of a key, or of the beginning of one that ends with `/`."""
    if text.isprintable() and not _SPECIAL.search(text):
        return text
    visible = _SPECIAL.sub(lambda found: escape(MARKER, found.group()), text)
    return "".join(c if c.isprintable() else escape(MARKER, c) for c in visible)


# Names are not secrets, so they may be cached, to make reads faster.
@lru_cache(maxsize=8192)
def url_path(text: str) -> str:
    """Return `path_of(text)` quoted for a URL."""
    return quote(path_of(text))


def key_of(path: str) -> str | None:
    """Return the key kept at `path`, or None where no key has it (another tool's odd name)."""
    return matching_key(path, unescape(MARKER, path), path_of)
