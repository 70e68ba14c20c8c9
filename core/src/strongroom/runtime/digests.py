"""SHA-256, BLAKE2b and HMAC, without OpenSSL where nothing else of the process has loaded it.

`hashlib` and `hmac` load OpenSSL: 4 of the 71 ms that a cold `get` takes, and 3.6 of its 28 MB.
Python has the same functions in small modules of its own, from which its `random` takes SHA-512 likewise. A
process that has loaded `hashlib` already, or a Python that was built without those modules, uses `hashlib`'s:
OpenSSL is faster with long texts.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _hashlib import HASH

if TYPE_CHECKING or "hashlib" in sys.modules:
    from hashlib import blake2b, sha256
    from hmac import compare_digest
else:
    try:
        from _blake2 import blake2b
        from _operator import _compare_digest as compare_digest

        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:
        from hashlib import blake2b, sha256
        from hmac import compare_digest

__all__ = ["blake2b", "compare_digest", "hmac_sha256", "hmac_states", "sha256"]

_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def hmac_states(key: bytes) -> tuple[HASH, HASH]:
    """Return the inner and outer states of HMAC-SHA256 (RFC 2104) with `key`, to copy for each text."""
    block = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\0")
    return sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the HMAC-SHA256 (RFC 2104) of `data`, 32 bytes."""
    inner, outer = hmac_states(key)
    inner.update(data)
    outer.update(inner.digest())
    return outer.digest()
