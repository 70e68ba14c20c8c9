"""Core's middleware that encrypts, and its ciphers."""

# Annotations are not kept as text here: pydantic would compile each by itself.

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from strongroom.plugins.descriptors import Plugin
from strongroom.plugins.hookspecs import hookimpl

__all__ = ["strongroom_encryption", "strongroom_middleware"]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)


class CipherConfig(_Config):
    """Options of the ciphers."""

    key: str = Field(
        min_length=1, repr=False, description="A key of `strongroom keygen`, a Fernet key, or a passphrase."
    )


class EncryptionConfig(_Config):
    """Options of the encryption middleware: an algorithm with its keys, or a cipher of its own."""

    algorithm: Literal["aes-gcm", "chacha20", "fernet"] = Field(
        default="aes-gcm", description="The cipher of `key` and `older_keys`."
    )
    key: str | None = Field(
        default=None,
        repr=False,
        description="A key of `strongroom keygen`, a Fernet key, or a passphrase; else the variable "
        "STRONGROOM_ENCRYPTION_KEY.",
    )
    older_keys: list[str] = Field(default=[], repr=False, description="Keys that still decrypt.")
    cipher: Any = Field(
        default=None,
        json_schema_extra={"component": "encryption"},
        description="A cipher plugin with its own options, instead of algorithm and keys.",
    )
    migrate: bool = Field(
        default=False, description="Also read values that were stored before encryption, until rewritten."
    )

    rules_of_structure: ClassVar[frozenset[str]] = frozenset({"_one_cipher"})
    """Rules about which options are given, not about their text; see `strongroom.spec.recording`."""

    @model_validator(mode="after")
    def _one_cipher(self) -> Self:
        if self.cipher is not None and (self.key is not None or self.older_keys):
            message = "either key and older_keys, or a cipher with its own, not both"
            raise ValueError(message)
        return self


@hookimpl
def strongroom_encryption() -> Iterable[Plugin]:
    for name, summary, cls in (
        ("aes-gcm", "AES-256-GCM.", "AESGCMEncryption"),
        ("chacha20", "ChaCha20-Poly1305.", "ChaCha20Encryption"),
        ("fernet", "Fernet: AES-128-CBC with HMAC-SHA256.", "FernetEncryption"),
    ):
        factory = f"strongroom.encryption.ciphers:{cls}"
        yield Plugin(name=name, summary=summary, config=CipherConfig, factory=factory)


@hookimpl
def strongroom_middleware() -> Iterable[Plugin]:
    yield Plugin(
        name="encryption",
        summary="Encrypts values, each bound to its key's name and the tenant.",
        config=EncryptionConfig,
        factory="strongroom.middleware.encryption:make_encryption_middleware",
    )
