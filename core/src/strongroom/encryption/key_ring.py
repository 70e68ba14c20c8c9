"""Several keys at once: the first one encrypts, any decrypts."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from strongroom.encryption.ciphers import Encryption
from strongroom.encryption.keys import HoldsKey
from strongroom.encryption.third_party import guard_cipher
from strongroom.encryption.tokens import as_text, refused
from strongroom.errors import DecryptionError

__all__ = ["KeyRing"]


class KeyRing(HoldsKey):
    """Encrypts with `primary`, decrypts with any; itself an `Encryption`.

    Args:
        primary: The cipher that encrypts.
        older: Ciphers whose tokens still exist.
    """

    def __init__(self, primary: Encryption, *older: Encryption) -> None:
        self.primary: Encryption = guard_cipher(primary)
        self.older: tuple[Encryption, ...] = tuple(map(guard_cipher, older))

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        """Return a token of `plaintext`, made with the first key."""
        return self.primary.encrypt(plaintext, context=context)

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        """Return the plaintext of `token`, by the key that the token names.

        Raises:
            DecryptionError: No key of the ring decrypts it.
        """
        token = as_text(token)
        failures: list[DecryptionError] = []
        for cipher in (self.primary, *self.older):
            if _says_no(cipher, token):
                continue
            try:
                return cipher.decrypt(token, context=context)
            except DecryptionError as error:
                failures.append(error)
        raise failures[-1] if failures else refused()

    def needs_rekey(self, token: str) -> bool:
        """Return whether `token` was made with another key than the first, and should be encrypted again."""
        own = getattr(self.primary, "needs_rekey", None)
        if own is not None:
            return bool(own(token))
        wrote: Any = getattr(self.primary, "wrote", None)
        return wrote is None or not wrote(token)

    def wrote(self, token: str) -> bool:
        """Return whether a key of the ring made `token`, as far as its ciphers can tell."""
        return any(not _says_no(cipher, token) for cipher in (self.primary, *self.older))

    def close(self) -> None:
        """Close the ciphers that hold something open, such as a connection."""
        with ExitStack() as all_are_closed:
            for cipher in (self.primary, *self.older):
                if hasattr(cipher, "close"):
                    all_are_closed.callback(cipher.close)

    def __repr__(self) -> str:
        return f"<KeyRing of {1 + len(self.older)} keys>"


def _says_no(cipher: Any, token: str) -> bool:
    wrote = getattr(cipher, "wrote", None)
    return wrote is not None and not wrote(token)
