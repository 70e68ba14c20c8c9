"""Keys as names of files and back: injective, and the identity wherever it can be.

A segment is the name of a folder, the last one that of the file, to which the suffix is added.

- The marker is `=_`. The first character of a segment that begins with a dot becomes `=_2e`, for files with
  such names are not looked at: `.hidden` is the file `=_2ehidden`. The `_` of a marker in the key is escaped
  too.
- A name that would be longer than 255 bytes is split: its first part is a folder whose name ends in `=_+`.
- `a` and `a/b` cannot both be a file and a file in a folder of that name. The one that comes second has a
  flat name: `/` becomes `=_2f`, and in a key of one segment its first character that is not escaped
  already is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from strongroom.keys import escape, matching_key, unescape

__all__ = ["Names", "forms_of", "key_of"]

_MARKER = "=_"
_GOES_ON = f"{_MARKER}+"
_LONGEST = 255
"""Bytes of the longest name that Linux and macOS file systems hold."""

Names = tuple[str, ...]
"""Names of folders, and of the file at the end, below the provider's folder."""


def forms_of(key: str, suffix: str) -> tuple[Names, Names]:
    """Return the names of a key, and those to use if a file or folder is in the way."""
    segments = key.split("/")
    last = len(segments) - 1
    plain = [
        name
        for number, segment in enumerate(segments)
        for name in _split(_characters(segment), suffix if number == last else "")
    ]
    flat = list(_characters(key))
    flat = [escape(_MARKER, one) if one == "/" else one for one in flat]
    if not last:
        first = next(number for number, one in enumerate(flat) if one == key[number])
        flat[first] = escape(_MARKER, key[first])
    return tuple(plain), tuple(_split(flat, suffix))


def key_of(names: Sequence[str], suffix: str) -> str | None:
    """Return the key that is kept under `names`, or None where no key is."""
    if not names or not names[-1].endswith(suffix):
        return None
    *folders, last = names
    last = last[: len(last) - len(suffix)]
    text = "/".join((*folders, last)).replace(f"{_GOES_ON}/", "")
    wanted = tuple(names)

    def name_of(key: str) -> str:
        return text if wanted in forms_of(key, suffix) else ""

    return matching_key(text, unescape(_MARKER, text), name_of)


def _characters(text: str) -> Iterator[str]:
    """Yield each character, escaped if names need that."""
    before = ""
    for number, one in enumerate(text):
        special = (one == "." and not number) or (one == _MARKER[-1] and before == _MARKER[:-1])
        yield escape(_MARKER, one) if special else one
        before = one


def _split(characters: Iterable[str], suffix: str) -> list[str]:
    """Return one name, or several if it is too long: folders, and the rest of the name."""
    pieces = list(characters)
    if len("".join((*pieces, suffix)).encode()) <= _LONGEST:
        return ["".join((*pieces, suffix))]
    room = _LONGEST - max(len(_GOES_ON), len(suffix.encode()))
    chunks: list[str] = []
    name, size = "", 0
    for part in pieces:
        if size + len(part.encode()) > room:
            chunks.append(name + _GOES_ON)
            name, size = "", 0
        # No part is a dot file either.
        piece = escape(_MARKER, part) if part == "." and not name else part
        name += piece
        size += len(piece.encode())
    return [*chunks, name + suffix]
