"""The key that requests of the rotator `http` are signed with, as a spec has it.

Source: https://www.standardwebhooks.com, on signing secrets.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import Final

__all__ = ["signing_key"]

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 8
"""Bytes; as many as the characters that a key in plain text has at least."""


def signing_key(text: str) -> bytes:
    """Return the bytes of a key: those of the text, or the base64 after `whsec_`.

    Raises:
        ValueError: It begins with `whsec_`, and what follows is not base64, or is too short. The message
            shows nothing of it.
    """
    if not text.startswith(_PREFIX):
        return text.encode()
    key: bytes | None = None
    with suppress(ValueError, binascii.Error):
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    if key is None:
        message = "what follows `whsec_` is not base64"
        raise ValueError(message)
    if len(key) < _SHORTEST:
        message = f"what follows `whsec_` stands for {len(key)} bytes, and a key has {_SHORTEST} at least"
        raise ValueError(message)
    return key
