"""Components of core that many specs use; they come through the same hooks as those of any plugin.

Others are in modules of their own, since each model takes as long to make as two modules to import:
`builtins_encryption`, `builtins_keys` and `builtins_rotation`.
"""

# Annotations are not kept as text here: pydantic would compile each by itself.

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from strongroom.plugins.descriptors import Plugin
from strongroom.plugins.hookspecs import hookimpl
from strongroom.plugins.patterns import compiled, schema_validator

__all__ = ["strongroom_hooks", "strongroom_middleware"]


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
def strongroom_hooks() -> Iterable[Plugin]:
    yield Plugin(
        name="audit",
        summary="Records every operation, in a log that reveals changes.",
        config=AuditConfig,
        factory="strongroom.audit.hook:AuditLoggingHook",
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
        name="validation",
        summary="Refuses keys and values that break the rules given.",
        config=ValidationConfig,
        factory="strongroom.middleware.validation:ValidationMiddleware",
    )
