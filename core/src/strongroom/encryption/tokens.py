"""The text form of encrypted values: `srt1.ALGORITHM.KEYID.DATA`.

    srt1        the version of this format
    ALGORITHM   aes-gcm, chacha20 or fernet
    KEYID       16 hexadecimal digits, derived from the key by HMAC
    DATA        base64url without padding: key derivation, salt, and what the algorithm makes

The key derivation is one byte: 0 for a key that is used as it is; 1 for Argon2id, followed by the passes, the
memory in MiB (0 is 256) and the lanes, a byte each, and a salt of 16 bytes. From the 16 random bytes after it
the key for the data is derived (HKDF-Expand, RFC 5869).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from struct import Struct
from typing import Final

from strongroom.encryption.keys import SALT_BYTES, Argon2Parameters, check_parameters
from strongroom.errors import ConfigurationError, DecryptionError
from strongroom.runtime.frozen import NamedTuple

__all__ = [
    "ALGORITHMS",
    "PREFIX",
    "Token",
    "as_text",
    "decode",
    "derivation_head",
    "encoded",
    "looks_encrypted",
    "parse",
    "refused",
    "text_of",
]

PREFIX: Final = "srt1."
ALGORITHMS: Final = ("aes-gcm", "chacha20", "fernet")
_TOKEN = re.compile(r"srt1\.(aes-gcm|chacha20|fernet)\.([0-9a-f]{16})\.([A-Za-z0-9_-]+)")
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+")
_LAST: Final = {2: "AQgw", 3: "AEIMQUYcgkosw048"}
_LENGTH = Struct(">Q")
_KIB_IN_MIB: Final = 1024
_RAW, _ARGON2ID = 0, 1
_ARGON2_HEAD: Final = 4 + SALT_BYTES
_FERNET_START: Final = "gAAAA"
_TRANSIT_START: Final = "vault:v"


class Token(NamedTuple):
    """A token taken apart; nothing in it has been verified yet.

    Attributes:
        algorithm: Its name.
        key_id: The id of the key that it says it was made with.
        head: The bytes of the key derivation, which are authenticated.
        parameters: Argon2id's, within bounds; None for a key that is used as it is.
        kdf_salt: Argon2id's salt, empty without it.
        salt: The token's own.
        body: What the algorithm made.
    """

    algorithm: str
    key_id: str
    head: bytes
    parameters: Argon2Parameters | None
    kdf_salt: bytes
    salt: bytes
    body: bytes


def encoded(parts: Sequence[bytes]) -> bytes:
    """Return `parts` joined, each after its length, so that different sequences give different bytes."""
    return b"".join([_LENGTH.pack(len(part)) + part for part in parts])


def derivation_head(parameters: Argon2Parameters | None, salt: bytes) -> bytes:
    """Return the bytes that say how the key is derived from what the user gave."""
    if parameters is None:
        return bytes([_RAW])
    mib = parameters.memory_kib // _KIB_IN_MIB
    return bytes([_ARGON2ID, parameters.iterations, mib % 256, parameters.lanes]) + salt


def parse(token: str) -> Token:
    """Take a token apart.

    Raises:
        DecryptionError: It is not a token, not in the one form that encrypting writes, or asks for a key
            derivation that is too cheap or too dear; nothing has been derived then.
    """
    match = _TOKEN.fullmatch(token)
    data = _decoded(match[3]) if match else None
    if match is None or not data:
        raise refused()
    head = data[: 1 if data[0] == _RAW else _ARGON2_HEAD]
    rest = data[len(head) :]
    parameters = None
    if data[0] == _ARGON2ID:
        if len(head) < _ARGON2_HEAD:
            raise refused()
        parameters = _bounded(Argon2Parameters(head[1], (head[2] or 256) * _KIB_IN_MIB, head[3]))
    elif data[0] != _RAW:
        raise refused()
    if len(rest) <= SALT_BYTES:
        raise refused()
    return Token(match[1], match[2], head, parameters, head[4:], rest[:SALT_BYTES], rest[SALT_BYTES:])


def decode(text: str) -> bytes | None:
    """Return the bytes of base64url text without padding, None unless it is the one text of these bytes."""
    return _decoded(text) if _ALPHABET.fullmatch(text) else None


def _decoded(text: str) -> bytes | None:
    # Four characters are three bytes; a last group of two or three has spare bits, which must be zero.
    spare = len(text) % 4
    if spare == 1 or (spare and text[-1] not in _LAST[spare]):
        return None
    return base64.urlsafe_b64decode(text + "==="[: -spare % 4])


def refused(key: str | None = None) -> DecryptionError:
    """Return the one error for all that can be wrong with a token, which tells an attacker nothing."""
    return DecryptionError(
        "the value cannot be decrypted: another key, name or tenant, or it was changed",
        key=key,
        hint="check the key; keys that were replaced belong in `older_keys`",
    )


def as_text(token: str | bytes) -> str:
    """Return a token as text: Fernet's own are bytes.

    Raises:
        TypeError: It is neither text nor bytes.
        DecryptionError: Its bytes are not ASCII, so they are not a token.
    """
    if isinstance(token, str):
        return token
    if not isinstance(token, bytes | bytearray):
        message = f"a token is text or bytes, got {type(token).__name__}"
        raise TypeError(message)
    if not token.isascii():
        raise refused()
    return token.decode("ascii")


def text_of(plaintext: bytes) -> str:
    """Return the text that was encrypted.

    Raises:
        DecryptionError: It is not UTF-8: another tool encrypted something that is not text.
    """
    try:
        return plaintext.decode()
    except UnicodeDecodeError:
        pass  # raised below: the error's context would hold the plaintext
    raise DecryptionError(
        "what was encrypted is not UTF-8 text: another tool wrote it",
        hint="read it with that tool, and store it as text, such as base64",
    )


def looks_encrypted(text: str) -> bool:
    """Return whether `text` begins as what one of the ciphers writes, strongroom's own or a standard one."""
    return text.startswith((PREFIX, _FERNET_START, _TRANSIT_START))


def _bounded(parameters: Argon2Parameters) -> Argon2Parameters:
    try:
        return check_parameters(parameters)
    except ConfigurationError:
        pass  # raised below: to the caller this is a token like any other that is not valid
    raise refused()
