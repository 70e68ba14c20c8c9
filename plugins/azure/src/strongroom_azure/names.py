"""Keys as names of Key Vault and back: injective, and the identity wherever it can be.

A name is 1-127 of `[0-9a-zA-Z-]`, and the service does not tell capitals from small letters
(https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates).

- The marker is `-0x`. Each byte (UTF-8) of a character that a name cannot hold, capitals included, becomes
  `-0x` and two hexadecimal digits: `db/password` is kept as `db-0x2fpassword`.
- The `x` of a marker in the key itself is escaped too, so no two keys share a name.
- What is then longer than 127 characters is kept as `-0xh` and the SHA-256 of the key, 64 hexadecimal digits.
- The whole key of an escaped or hashed name is in the tag `strongroom.key`, continued in
  `strongroom.key.2` and so on where it is too long for one, and is compared at each use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from strongroom.keys import Name, NameCodec

MARKER = "-0x"
MAX_TAG = 256
"""The longest value of a tag, in UTF-16 code units, which is what the service counts."""
MOST_KEY_TAGS = 5
"""How many tags the longest key fills: 512 characters of two units each, cut between characters."""
TAG = "strongroom.key"
OWN_TAGS = "strongroom."
"""What the names of strongroom's own tags begin with."""

_NAMES = NameCodec(MARKER, "a-z0-9-", longest=127)


# Names are not secrets, so they may be cached, to make reads faster.
@lru_cache(maxsize=8192)
def name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    return _NAMES.name_of(key)


def key_of(name: str, tags: Mapping[str, str] | None) -> str | None:
    """Return the key whose name is `name`, or None where no key has it (another tool's odd name)."""
    name = name.lower()
    tagged_key = key_in(tags)
    key = _NAMES.key_for(name, tagged_key)
    return None if MARKER in name and tagged_key is not None and tagged_key != key else key


def belongs(key: str, name: Name, tags: Mapping[str, str] | None) -> bool:
    """Return whether the secret with these tags under the name of `key` is that of `key`.

    An escaped name tells its key by itself, so the tag may be missing there: somebody made it by hand.
    """
    if name.text == key:
        return True
    tagged_key = key_in(tags)
    return tagged_key == key or (tagged_key is None and not name.hashed)


def tags_for(key: str, name: Name) -> dict[str, str]:
    """Return the tags that keep `key` beside a name that is not the key itself."""
    if name.text == key:
        return {}
    return {
        TAG if number == 1 else f"{TAG}.{number}": part for number, part in enumerate(_parts(key), start=1)
    }


def key_in(tags: Mapping[str, str] | None) -> str | None:
    """Return the key that tags keep, or None where there is none in them."""
    if not tags or TAG not in tags:
        return None
    parts = [tags[TAG]]
    while (part := tags.get(f"{TAG}.{len(parts) + 1}")) is not None:
        parts.append(part)
    return "".join(parts)


def units(text: str) -> int:
    """Return the length of `text` as the service counts it, in UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def _parts(key: str) -> Iterator[str]:
    start = size = 0
    for place, character in enumerate(key):
        wide = units(character)
        if size + wide > MAX_TAG:
            yield key[start:place]
            start, size = place, 0
        size += wide
    yield key[start:]
