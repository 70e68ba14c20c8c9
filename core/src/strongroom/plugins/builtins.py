"""The components of core itself, which come through the same hooks as those of any plugin."""

# Annotations are not kept as text here: pydantic would compile each by itself.

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from strongroom.plugins.descriptors import Plugin, RotatorPlugin
from strongroom.plugins.hookspecs import hookimpl
from strongroom.plugins.patterns import compiled, schema_validator
from strongroom.plugins.webhook_key import signing_key

__all__ = ["strongroom_encryption", "strongroom_hooks", "strongroom_middleware", "strongroom_providers"]

_RESERVED = ".rotation"
_IS_RESERVED = "the segment '.rotation' is reserved"


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)


class AuditConfig(_Config):
    """Options of the audit hook."""

    log_reads: bool = Field(
        default=True, description="Record reads that succeeded or found nothing; refused ones always are."
    )
    log_writes: bool = Field(
        default=True, description="Record writes that succeeded or found nothing; refused ones always are."
    )
    path: Path | Annotated[list[Path], Field(min_length=1)] | None = Field(
        default=None,
        description="The log, or several, each with its own chain; without it lines go to a logger.",
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="The key of the chain; else that of `key_file`, else of the variable "
        "STRONGROOM_AUDIT_KEY, else `<path>.key`, made at the first use.",
    )
    key_file: Path | None = Field(default=None, description="The file that holds the key.")
    logger: str | None = Field(
        default=None,
        min_length=1,
        description="The logger that lines go to, at INFO, besides a path; without a path, strongroom.audit.",
    )
    fail_closed: bool = Field(
        default=True, description="Refuse an operation that cannot be recorded; otherwise warn and go on."
    )
    reason: str | None = Field(
        default=None, description="Why this program reads secrets, if no other reason is given."
    )
    require_reason: bool = Field(default=False, description="Refuse operations without a reason.")
    fsync: bool = Field(default=False, description="Answer only when the line is on the disk.")
    intents: bool = Field(default=False, description="Add a line ahead of each write.")
    require: Literal["all", "one"] = Field(
        default="all", description="Whether all logs and the logger must take a line, or one of them."
    )
    timeout: float = Field(default=10.0, gt=0, description="Seconds to wait for other writers of a log.")


class CachingConfig(_Config):
    """Options of the caching middleware."""

    ttl_seconds: float = Field(default=300, ge=0, description="How long a value is fresh in this process.")
    max_entries: int = Field(default=10_000, ge=1, description="Maximum number of entries in this process.")
    negative_ttl_seconds: float = Field(
        default=0, ge=0, description="How long `not found` is remembered; 0 is not at all."
    )
    stale_if_error_seconds: float = Field(
        default=0,
        ge=0,
        description="How long an expired value is served while the backend is unavailable.",
    )
    refresh_ahead: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction at the end of a value's life in which a read starts a fetch in the background.",
    )
    jitter: float = Field(
        default=0.0, ge=0, le=1, description="Fraction by which a value's life may be shortened, at random."
    )
    fetch_timeout_seconds: float | None = Field(
        default=60, gt=0, description="How long a caller waits for a fetch; null waits without end."
    )
    l2: Any = Field(
        default=None,
        json_schema_extra={"component": "cache"},
        description="A store that processes share: redis, file.cache, or a third party's.",
    )
    l2_ttl_seconds: float | None = Field(
        default=None, ge=0, description="How long a value is fresh in `l2`; by default as in this process."
    )
    encryption: Any = Field(
        default=None,
        json_schema_extra={"component": "encryption"},
        description="What encrypts for `l2`; by default the key in STRONGROOM_ENCRYPTION_KEY.",
    )
    l2_timeout_seconds: float = Field(default=0.5, gt=0, description="How long `l2` may take for an answer.")
    offline: bool = Field(default=False, description="Answer only from `l2`, and never ask the backend.")
    max_age_seconds: float | None = Field(
        default=None, ge=0, description="How old a value may be that is returned while offline."
    )


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


class HttpRotatorConfig(_Config):
    """Options of the rotator `http`."""

    url: str = Field(
        pattern=r"^https?://[^/?#@\s]+([/?][^#\s]*)?$",
        description="Where each step is posted: https, or http on the loopback address.",
    )
    hmac_key: str = Field(
        min_length=8,
        repr=False,
        description="The key that signs requests: text, or `whsec_` and base64.",
    )
    allow_http: bool = Field(
        default=False, description="Send values unencrypted to an address that is not loopback."
    )
    ca_file: Path | None = Field(default=None, description="The CA of the server's certificate, PEM.")
    cert_file: Path | None = Field(default=None, description="The client's certificate, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    timeout_seconds: float = Field(
        default=30, gt=0, le=300, description="Seconds for one step, with connecting and the answer."
    )

    @field_validator("hmac_key")
    @classmethod
    def _signs(cls, hmac_key: str) -> str:
        signing_key(hmac_key)
        return hmac_key


class PrefixConfig(_Config):
    """Options of the prefix middleware."""

    prefix: str = Field(
        min_length=1,
        max_length=511,
        description="Put before every key; it ends with a slash.",
        json_schema_extra={"pattern": r"(/|\})$"},  # a reference may bring the slash in
    )

    @field_validator("prefix")
    @classmethod
    def _ends_a_segment(cls, prefix: str) -> str:
        if not prefix.endswith("/"):
            message = "it does not end with '/'"
            raise ValueError(message)
        if not {"", ".", ".."}.isdisjoint(prefix[:-1].split("/")):
            message = "it has an empty, '.' or '..' segment, which no key may have"
            raise ValueError(message)
        if _RESERVED in prefix.split("/"):
            raise ValueError(_IS_RESERVED)
        return prefix


class ReadOnlyConfig(_Config):
    """The read-only middleware has no options."""


class RetryConfig(_Config):
    """Options of the retry middleware."""

    attempts: int = Field(default=3, ge=1, le=100, description="Number of calls, including the first.")
    base_seconds: float = Field(
        default=0.1, ge=0, description="The upper bound of the first wait; it doubles."
    )
    max_seconds: float = Field(default=5.0, ge=0, description="The upper bound of every wait.")
    deadline_seconds: float = Field(
        default=30.0, ge=0, description="No attempt begins later than this after the first one."
    )


class TenantConfig(_Config):
    """Options of the tenant middleware."""

    template: str = Field(
        default="tenants/{tenant}/{key}",
        description="Where a tenant's secrets are: segments, of which one is {tenant} and the last is {key}.",
    )

    @field_validator("template")
    @classmethod
    def _is_template(cls, template: str) -> str:
        *before, last = template.split("/")
        others = [one for one in before if one != "{tenant}"]
        wrong = len(before) - len(others) != 1 or last != "{key}" or not {"", ".", ".."}.isdisjoint(others)
        if wrong or any("{" in one or "}" in one for one in others):
            placeholders = {"default": "tenants/{tenant}/{key}", "tenant": "{tenant}", "key": "{key}"}
            message = "expected segments of which one is {tenant} and the last {key}, as in {default}"
            raise PydanticCustomError("asked_for", message, placeholders)
        if _RESERVED in others:
            raise ValueError(_IS_RESERVED)
        return template


class ValidationConfig(_Config):
    """Options of the validation middleware."""

    key_pattern: str | None = Field(
        default=None, description="A regular expression that the whole key must match."
    )
    min_length: int | None = Field(
        default=None, ge=0, description="Minimum length of a value, in characters."
    )
    max_length: int | None = Field(
        default=None, ge=0, description="Maximum length of a value, in characters."
    )
    forbid: list[str] = Field(default=[], description="Values that are refused, whatever their case.")
    json_schema: dict[str, Any] | None = Field(
        default=None,
        description="A JSON Schema that accepts the value, which must be JSON text; a `$ref` stays inside.",
    )

    rules_of_structure: ClassVar[frozenset[str]] = frozenset({"_least_and_most"})

    @model_validator(mode="after")
    def _least_and_most(self) -> Self:
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            message = "min_length is above max_length"
            raise ValueError(message)
        return self

    @field_validator("key_pattern")
    @classmethod
    def _is_pattern(cls, key_pattern: str | None) -> str | None:
        if key_pattern is not None:
            try:
                compiled(key_pattern)
            except ValueError as error:
                message = f"not a regular expression that the package regex takes: {error}"
                raise ValueError(message) from None
        return key_pattern

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, json_schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if json_schema is not None:
            try:
                schema_validator(json_schema)
            except ImportError:
                return json_schema  # the middleware raises it; a spec is checked elsewhere, too
            except ValueError as error:
                raise PydanticCustomError("asked_for", "{why}", {"why": str(error)}) from None
        return json_schema


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
def strongroom_hooks() -> Iterable[Plugin]:
    yield Plugin(
        name="audit",
        summary="Records every operation, in a log that reveals changes.",
        config=AuditConfig,
        factory="strongroom.audit.hook:AuditLoggingHook",
    )


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    yield RotatorPlugin(
        name="http",
        summary="Posts each step of a rotation to your own service, signed as Standard Webhooks.",
        config=HttpRotatorConfig,
        factory="strongroom.rotation.http:HttpRotator",
    )


@hookimpl
def strongroom_middleware() -> Iterable[Plugin]:
    yield Plugin(
        name="caching",
        summary="Remembers values, even through an outage, and fetches once for all callers.",
        config=CachingConfig,
        factory="strongroom.middleware.caching:make_caching_middleware",
    )
    yield Plugin(
        name="encryption",
        summary="Encrypts values, each bound to its key's name and the tenant.",
        config=EncryptionConfig,
        factory="strongroom.middleware.encryption:make_encryption_middleware",
    )
    yield Plugin(
        name="prefix",
        summary="Puts a prefix before every key.",
        config=PrefixConfig,
        factory="strongroom.middleware.prefix:PrefixMiddleware",
    )
    yield Plugin(
        name="read-only",
        summary="Refuses every write.",
        config=ReadOnlyConfig,
        factory="strongroom.middleware.read_only:ReadOnlyMiddleware",
    )
    yield Plugin(
        name="retry",
        summary="Asks again if the backend is unavailable or throttles.",
        config=RetryConfig,
        factory="strongroom.middleware.retry:RetryMiddleware",
    )
    yield Plugin(
        name="tenant",
        summary="Keeps each tenant's secrets under a prefix of its own.",
        config=TenantConfig,
        factory="strongroom.middleware.tenant:TenantMiddleware",
    )
    yield Plugin(
        name="validation",
        summary="Refuses keys and values that break the rules given.",
        config=ValidationConfig,
        factory="strongroom.middleware.validation:ValidationMiddleware",
    )
