"""The ciphers beside the primitives that they compose, with a short value."""

from __future__ import annotations

import os
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from strongroom import AESGCMEncryption, FernetEncryption, generate_key
from timing import medians, row

VALUE = "my-secret-value"


def rows() -> list[dict[str, Any]]:
    """Return the rows: encrypting and decrypting once."""
    bare, ours = AESGCM(os.urandom(32)), AESGCMEncryption(generate_key())
    key = Fernet.generate_key()
    fernet, wrapped = Fernet(key), FernetEncryption(key)

    def primitive() -> bytes:
        nonce = os.urandom(12)
        return bare.decrypt(nonce, bare.encrypt(nonce, VALUE.encode(), b""), b"")

    aes = medians(200, lambda: ours.decrypt(ours.encrypt(VALUE)), primitive, times=100)
    both = medians(
        200,
        lambda: wrapped.decrypt(wrapped.encrypt(VALUE)),
        lambda: fernet.decrypt(fernet.encrypt(VALUE.encode())),
        times=50,
    )
    return [
        row("AES-GCM encrypt and decrypt / the bare primitive", *aes, 6, unit="µs"),
        row("Fernet encrypt and decrypt / cryptography's", *both, 1.3, unit="µs"),
    ]
