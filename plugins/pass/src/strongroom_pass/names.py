"""Keys as names of a password store's entries and back: injective, and the identity wherever it can be.

An entry is a file `NAME.gpg` below the store; `/` in a name is a folder, and `a` and `a/b` may both be there.
The marker is `=_`. Escaped are the first character of a segment that begins with a dot or a dash, which would
be a hidden file or an option, a `~` at the beginning, blanks at the ends of a segment, and the end `.gpg` or
`.git` of one. A segment that a file system could not hold is split: its first part is a folder whose name
ends in `=_+`.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom.keys import escape, matching_key, unescape

__all__ = ["key_of", "name_of"]

_MARKER: Final = "=_"
_UNSAFE: Final = re.compile(r"(?<==)_|^[.~-]|^ +| +$|\.(?=(?:gpg|git|age)$)")
_GOES_ON: Final = f"{_MARKER}+"
_LONGEST: Final = 250
"""Bytes of the longest segment, with room for the ending."""


def name_of(key: str) -> str:
    """Return the name of the entry that is `key`."""
    return "/".join(_split(_UNSAFE.sub(_escaped, segment)) for segment in key.split("/"))


def key_of(name: str) -> str | None:
    """Return the key of the entry `name`; None if there is none."""
    return matching_key(name, unescape(_MARKER, name.replace(f"{_GOES_ON}/", "")), name_of)


def _escaped(found: re.Match[str]) -> str:
    return escape(_MARKER, found.group())


def _split(segment: str) -> str:
    """Return a segment as it is, or in parts where it is too long, each of which is safe at its beginning."""
    if len(segment.encode()) <= _LONGEST:
        return segment
    parts = [""]
    for character in segment:
        if len((parts[-1] + character).encode()) > _LONGEST - len(_GOES_ON):
            parts.append(_UNSAFE.sub(_escaped, character))
        else:
            parts[-1] += character
    return f"{_GOES_ON}/".join(parts)
