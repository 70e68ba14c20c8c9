"""The versions of a key that are not the current one, as packed bytes sorted by id.

They stay bytes, because a write appends one and drops one, without looking at those in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom_file.store.format import VERSION, StoredVersion

__all__ = ["PENDING", "PREVIOUS", "added", "trimmed", "versions", "without"]

PENDING: Final = 0
PREVIOUS: Final = 1

_SIZE: Final = VERSION.size


def versions(packed: bytes) -> list[StoredVersion]:
    """Return them, oldest first."""
    return list(map(StoredVersion._make, VERSION.iter_unpack(packed)))


def added(packed: bytes, version: StoredVersion) -> bytes:
    """Return `packed` with one more, in its place."""
    place = len(packed)
    while place and _value(packed, place - _SIZE) > version.value:
        place -= _SIZE
    return packed[:place] + VERSION.pack(*version) + packed[place:]


def without(packed: bytes, value: int) -> bytes:
    """Return `packed` without the version in row `value`."""
    for place in _places(packed):
        if _value(packed, place) == value:
            return packed[:place] + packed[place + _SIZE :]
    return packed


def trimmed(packed: bytes, keep: int) -> tuple[bytes, list[int]]:
    """Return at most `keep` versions and the rows of those dropped: the oldest previous ones."""
    dropped: list[int] = []
    place = 0
    while len(packed) > keep * _SIZE and place < len(packed):
        if packed[place + _SIZE - 1] == PREVIOUS:
            dropped.append(_value(packed, place))
            packed = packed[:place] + packed[place + _SIZE :]
        else:
            place += _SIZE
    return packed, dropped


def _places(packed: bytes) -> Iterator[int]:
    return iter(range(0, len(packed), _SIZE))


def _value(packed: bytes, place: int) -> int:
    return int.from_bytes(packed[place + 4 : place + 12], "big")
