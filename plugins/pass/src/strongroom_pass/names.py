"""Keys as names of a password store's entries and back: injective, and the identity wherever it can be.

An entry is a file `NAME.gpg` below the store; `/` in a name is a folder, and `a` and `a/b` may both be there.
The marker is `=_`. Escaped are the first character of a segment that begins with a dot or a dash, which would
be a hidden file or an option, a `~` at the beginning, blanks at the ends of a segment, and the end `.gpg` or
`.git` of one. What is too long for a file system is not a name.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom.keys import escaped, matching_key, unescaped

__all__ = ["LONGEST", "key_of", "name_of"]

_MARKER: Final = "=_"
_UNSAFE: Final = re.compile(r"(?<==)_|^[.~-]|^ +| +$|\.(?=(?:gpg|git|age)$)")
LONGEST: Final = 250
"""Bytes of the longest segment, with room for the ending."""


def name_of(key: str) -> str:
    """Return the name of the entry that is `key`."""
    return "/".join(
        _UNSAFE.sub(lambda found: escaped(_MARKER, found.group()), segment) for segment in key.split("/")
    )


def key_of(name: str) -> str | None:
    """Return the key whose entry `name` is, or None where no key is."""
    return matching_key(name, unescaped(_MARKER, name), name_of)
